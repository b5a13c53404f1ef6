"""``broadside audience``: says how many phones an audience has."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from broadside.api.audience_request import AudienceRequest, CountRequest
from broadside.api.report_text import written
from broadside.api.v1 import table as routes
from broadside.cli.audience_options import AudienceOptions
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import say, say_json, table
from broadside.errors import UsageError

_EPILOGUE = """\
Examples:
    broadside audience count
    broadside audience count --tag sport --country DE --country AT
    broadside audience count --locale pt --app-version ">=4.2,<5" --exact
    broadside audience count --audience audience.json --json

`broadside fire` takes the same options."""


def register(app: App) -> None:
    """Add the group."""
    group = App(name="audience", help="Count the phones that an audience has.", help_epilogue=_EPILOGUE)
    group.command(count)
    app.command(group)


def count(
    *,
    channel: Annotated[list[str] | None, Parameter(help="Only this channel; repeat the option for several.")] = None,
    who: AudienceOptions = AudienceOptions(),  # noqa: B008, it is frozen
    exact: Annotated[bool, Parameter(help="Look at every phone: a second or two for millions.")] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Say how many phones are in an audience: exactly for whole channels, else by an estimate with its error."""
    audience = who.request() or AudienceRequest()
    if channel:
        if audience.channels is not None:
            raise UsageError("--channel: the file of --audience has channels already (leave one of them out)")
        audience = msgspec.structs.replace(audience, channels=list(dict.fromkeys(channel)))
    with client(config, data) as node:
        # an exact count of a large base takes seconds
        wanted = CountRequest(audience=audience, exact=exact)
        found = node.call(routes.AUDIENCE, wanted, timeout=600.0 if exact else 30.0)
    if json:
        say_json(found)
        return 0
    table(("channel", "phones"), [[name, written(each)] for name, each in found.channels.items()])
    say(f"\n{written(found)} of {found.of:,} phones")
    return 0
