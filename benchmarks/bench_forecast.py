"""Is the forecast right? python -m benchmarks.bench_forecast [--seed N] [--first N] [--count N] [--json].

Drawn campaigns on a whole node of this machine: to twins, and to a sink far away, with drawn latencies, windows, rates,
dead tokens, audiences and bodies. Before each a smaller campaign with another body teaches the node what it is to know;
its own forecast, without any experience, is the second row.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.ending import end_at_sigterm
from benchmarks.forecast.situations import Situation, draw
from benchmarks.networks.sink import distant_sink
from benchmarks.pipeline.rig import Rig
from benchmarks.progress import say
from benchmarks.transport.sinks import Files, nginx
from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.subscriber import Subscriber
from broadside.api.v1 import table as routes
from broadside.machine_limits import cores

GOAL = 0.2
"""The median error."""
COUNT = 20
LOOK_EVERY = 0.1
LEARNT = 6.2
"""Seconds after which what a campaign has taught is in the store."""
TOO_LONG = 90.0
"""Seconds after which a campaign is given up."""
_TAGS: tuple[list[str], ...] = (["sport"], ["sport", "weather"], ["weather"], ["culture"], [])


@dataclass(kw_only=True)
class Foreseen:
    """One campaign, as it was foreseen and as it went."""

    number: int
    words: str
    taught: bool
    """Whether the node knew the provider."""
    phones: int
    foreseen: float | None
    """Seconds."""
    took: float
    """Seconds from Fire to the last outcome."""
    bottleneck: str
    sentence: str

    @property
    def error(self) -> float:
        """Of the forecast, as a share of the fact."""
        return 1.0 if self.foreseen is None else abs(self.foreseen - self.took) / self.took

    def plain(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**self.__dict__, "error": round(self.error, 3)}


def phone(situation: Situation) -> Any:
    """Make the n-th subscriber of a situation."""

    def make(n: int) -> Subscriber:
        android = len(situation.channels) > 1 and n % 2 == 1
        token = f"{n:022d}:APA91b{n:0134x}" if android else f"{n:064x}"
        channel = situation.channels[1] if android else situation.channels[0]
        return Subscriber(channel=channel, token=token, locale="de", country="DE", tags=_TAGS[n // 2 % len(_TAGS)])

    return make


_APPS = {"ios-news": ("apns", "com.example.news"), "android-news": ("fcm", "news-1a2b3")}


def measure(situations: list[Situation]) -> Iterator[Foreseen]:
    """Yield two campaigns of each situation: the one that teaches, and the one that is foreseen."""
    for situation in situations:
        with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
            channels = {name: _APPS[name] for name in situation.channels}
            rig = Rig(Path(folder), None, situation.connections, phone(situation), channels)
            rig.rate = situation.rate
            with _provider(Path(folder), rig, situation) as sink, rig.node(sink) as client:
                rig.fill(client, situation.subscribers)
                for taught, request in ((False, situation.taught), (True, situation.request)):
                    if taught:
                        time.sleep(LEARNT)
                    row = _campaign(client, situation, request, taught)
                    say(line(row))
                    yield row


@contextlib.contextmanager
def _provider(folder: Path, rig: Rig, situation: Situation) -> Iterator[tuple[Files, int] | None]:
    if situation.network is None:
        rig.data.create()
        for platform in ("apns", "fcm"):
            (rig.data.twins / f"{platform}.script.toml").write_text(situation.script)
        yield None
        return
    with nginx(folder, core=None) as (files, _), distant_sink(folder, situation.network) as sink:
        yield files, sink.port


def _campaign(client: Client, situation: Situation, request: FireRequest, taught: bool) -> Foreseen:
    forecast = client.call(routes.FORECAST, request)
    report = ended(client, client.fire(request))
    assert report.forecast is not None, "a campaign keeps its forecast"
    return Foreseen(
        number=situation.number,
        words=situation.words(),
        taught=taught,
        phones=sum(tally.settled for tally in report.channels.values()),
        foreseen=forecast.seconds,
        took=report.seconds or 0.0,
        bottleneck=forecast.bottleneck,
        sentence=forecast.sentence,
    )


def ended(client: Client, report: CampaignReport) -> CampaignReport:
    """Wait for the end of a campaign."""
    deadline = time.monotonic() + TOO_LONG
    while not report.ended and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)
        report = client.call(routes.CAMPAIGN, id=report.id)
    return report


def table(rows: list[Foreseen]) -> Iterator[str]:
    """The lines of the table, for a person."""
    yield f"{'':>3} {'phones':>8} {'foreseen':>9} {'took':>7} {'error':>7}  {'bottleneck':10} situation"
    yield from map(line, rows)


def line(row: Foreseen) -> str:
    """One row of the table."""
    foreseen = "nobody" if row.foreseen is None else f"{row.foreseen:.1f} s"
    new = "" if row.taught else " (no experience)"
    return (
        f"{row.number:>3} {row.phones:>8,} {foreseen:>9} {row.took:>6.1f}s {row.error:>7.0%}"
        f"  {row.bottleneck:10} {row.words}{new}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench forecast", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="another seed draws other campaigns")
    parser.add_argument("--first", type=int, default=1, help="number of the first campaign (default 1)")
    parser.add_argument("--count", type=int, default=COUNT, help=f"campaigns (default {COUNT})")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    numbers = range(options.first, options.first + options.count)
    rows = list(measure([draw(options.seed, number) for number in numbers]))
    if options.json:
        print(json.dumps([row.plain() for row in rows], ensure_ascii=False))
        return
    print("\n".join(table(rows)))
    error = statistics.median(row.error for row in rows if row.taught)
    new = statistics.median(row.error for row in rows if not row.taught)
    print(f"\n{cores()} cores for all of it, the providers too. Without experience the median error is {new:.0%}.\n")
    met = "met   " if error <= GOAL else "MISSED"
    print(f"{met} median error of {len(rows) // 2} forecasts <= {GOAL:.0%}: {error:.0%}")


if __name__ == "__main__":
    main()
