"""``broadside herd``: the load of the newsroom's site; and the options of ``fire`` about people a second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from broadside.api.campaign_report import FireRequest
from broadside.api.outward_records import LoadRequest
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import say, say_json
from broadside.errors import UsageError
from campaigns.duration import EXAMPLES, parse_duration

_EPILOGUE = """\
Examples:
    broadside herd show
    broadside herd load 0.62
    broadside fire --title Goal --body 2:1 --rate 1500 --ramp 30s
    broadside campaign rate 2qbsgz3kxm4ta 500

Everybody who gets a push may open it, and the newsroom's own site must bear
them. A campaign with a rate reaches so many people a second. With [herd]
health_url, or if the newsroom posts its load, it is slower while the site is
loaded, and goes on as fast as the site can bear. docs/trust.md says more."""


def register(app: App) -> None:
    """Add the group."""
    group = App(name="herd", help="Show or say how loaded the newsroom's own site is.", help_epilogue=_EPILOGUE)
    group.command(show)
    group.command(load)
    app.command(group)


def show(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Show what is known of the load, and what campaigns have left of their rate."""
    with client(config, data) as node:
        herd = node.call(routes.HERD)
    if json:
        say_json(herd)
    elif not herd.governed:
        say("the load of the site is not heeded: [herd] has no health_url, and not posted = true")
    elif not herd.campaigns:
        say(f"no campaign with a rate is under way; the load to keep is {herd.target:.0%}")
    elif herd.share is None:
        say(f"no node governs yet, so {', '.join(herd.campaigns)} is slow out of care")
    else:
        load = "nobody tells the load" if herd.load is None else f"the site is loaded by {herd.load:.0%}"
        share = f"{', '.join(herd.campaigns)}: {herd.share:.0%} of the rate"
        say(f"{load} (the goal is {herd.target:.0%}), it {herd.text}; {share}")
    return 0


def load(
    load: Annotated[float, Parameter(help="0 to 1: 1 is all that the site bears; more: it is overloaded.")],
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Say how loaded the site is. It counts for five seconds, so say it each second."""
    if not 0 <= load <= 2:
        raise UsageError(f"LOAD: {load:g} is not a load (0 to 1; up to 2 for one that is overloaded)")
    with client(config, data) as node:
        noted = node.call(routes.LOAD, LoadRequest(load=load))
    if json:
        say_json(noted)
    else:
        say(f"noted: {noted.load:.0%}")
    return 0


@Parameter(name="*")
@dataclass(frozen=True)
class PaceOptions:
    """The options of ``fire`` as they were typed."""

    rate: Annotated[
        float | None,
        Parameter(
            help="Reach at most so many people a second, over the whole ring, so that the newsroom's own site bears "
            "those who open it; 0: as fast as the providers take it. Default: as the kind or [herd] says."
        ),
    ] = None
    ramp: Annotated[
        str | None, Parameter(help=f"The time from the start over which it rises to this rate: {EXAMPLES}.")
    ] = None

    def of(self, request: FireRequest) -> FireRequest:
        """The request with these options (raises ``UsageError``)."""
        if self.rate is not None:
            if not 0 <= self.rate <= 1e7:
                raise UsageError(f"--rate: {self.rate:g} is not a rate (people a second; 0 for no limit)")
            request = msgspec.structs.replace(request, rate=self.rate)
        if self.ramp is not None:
            seconds = parse_duration(self.ramp)
            if seconds is None or seconds > 3600:
                raise UsageError(f"--ramp: {self.ramp} is not a duration of at most an hour (write {EXAMPLES})")
            request = msgspec.structs.replace(request, ramp_seconds=float(seconds))
        return request
