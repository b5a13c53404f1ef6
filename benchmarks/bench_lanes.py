"""How soon breaking news passes a digest under way: python -m benchmarks.bench_lanes [--subscribers N] [--json].

A digest to the whole base is fired, and while every hand of both channels is busy with it, breaking news. The time is
from before the request to Fire until the twin of each channel has accepted the first breaking push, by the twin's own
ledger. Then both are cancelled, and it begins again: first on channels without a rate, then on channels with one.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.rig import CHANNELS, MESSAGE, Rig
from benchmarks.progress import say
from broadside.api.api_client import Client
from broadside.api.campaign_report import FireRequest
from broadside.api.v1 import table
from simulators.ledger import Entry

RATE = 1_000
GOAL = 1_000
"""Milliseconds."""
WITHIN = 30.0
"""Seconds in which each step must have happened."""
LOOK_EVERY = 0.02
DIGEST = FireRequest(message=MESSAGE, kind="digest")
BREAKING = FireRequest(message=MESSAGE, kind="breaking")


@dataclass
class Row:
    """One breaking campaign."""

    rate: int | None
    """Pushes a second of each channel; None: as many as the twins take."""
    walked: bool
    """Whether all of the digest was on the tubes when the breaking news was fired, or its walk went on."""
    digest_left: int
    """Pushes of the digest without an outcome once the first breaking pushes were accepted."""
    first_ms: int
    """Until both channels' first breaking push was accepted."""


def measure(rig: Rig, client: Client, subscribers: int, rounds: int, *, walked: bool) -> Iterator[Row]:
    """Fire digests and breaking news. ``walked``: wait until all of the digest is on the tubes."""
    for _ in range(rounds):
        for ledger in rig.data.twins.glob("*.ledger"):
            os.truncate(ledger, 0)
        digest = client.fire(DIGEST).id
        _until(partial(_under_way, client, digest, walked))
        on_tubes = client.call(table.CAMPAIGN, id=digest).walked
        began = time.time_ns() // 1_000_000
        ledgers = _sizes(rig)
        breaking = client.fire(BREAKING).id
        first = FirstPush(ledgers, breaking)
        _until(first.everywhere)
        left = subscribers - _settled(client, digest)
        row = Row(rig.rate, on_tubes, left, max(first.times.values()) - began)
        say(f"first breaking push after {row.first_ms} ms, {left:,} of the digest left")
        yield row
        for id in (breaking, digest):
            client.call(table.CANCEL, id=id)
        _until(partial(_ended, client, breaking, digest))


def _under_way(client: Client, digest: str, walked: bool) -> bool:
    report = client.call(table.CAMPAIGN, id=digest)
    return any(tally.settled for tally in report.channels.values()) and (report.walked or not walked)


def _ended(client: Client, *campaigns: str) -> bool:
    return all(client.call(table.CAMPAIGN, id=campaign).ended for campaign in campaigns)


def _sizes(rig: Rig) -> dict[Path, int]:
    return {ledger: ledger.stat().st_size for ledger in rig.data.twins.glob("*.ledger")}


def _settled(client: Client, id: str) -> int:
    return sum(tally.settled for tally in client.call(table.CAMPAIGN, id=id).channels.values())


class Watched:
    """Looks for words in a twin's ledger, among what was written after a given place."""

    def __init__(self, path: Path, start: int) -> None:
        self._path = path
        self._read_to = start
        self.time = 0
        """Of the entry that was found, ms UTC."""

    def has(self, mark: bytes) -> bool:
        """Whether an entry with these words has come by now."""
        with self._path.open("rb") as file:
            file.seek(self._read_to)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        at = whole.find(mark)
        if at < 0:
            self._read_to += len(whole)
            return False
        line = whole[whole.rfind(b"\n", 0, at) + 1 : whole.index(b"\n", at)]
        self.time = msgspec.json.decode(line, type=Entry).time
        return True


class FirstPush:
    """Looks for the first push of a campaign in each twin's ledger, as these grow."""

    def __init__(self, ledgers: dict[Path, int], campaign: str) -> None:
        """``ledgers``: each with its size before the campaign was fired."""
        self._mark = f'"{campaign}"'.encode()
        self._ledgers = {path: Watched(path, size) for path, size in ledgers.items()}
        self.times: dict[Path, int] = {}
        """Ledger → ms UTC."""

    def everywhere(self) -> bool:
        """Whether every ledger has one by now."""
        for path, ledger in self._ledgers.items():
            if path not in self.times and ledger.has(self._mark):
                self.times[path] = ledger.time
        return len(self.times) == len(CHANNELS)


def _until(happened: Callable[[], object]) -> None:
    """Wait until this returns something true. Raises ``RuntimeError`` if it takes longer than ``WITHIN``."""
    end = time.monotonic() + WITHIN
    while not happened():
        if time.monotonic() > end:
            raise RuntimeError(f"it did not happen within {WITHIN:g} s")
        time.sleep(LOOK_EVERY)


@dataclass
class Found:
    """All breaking campaigns in one situation."""

    what: str
    rows: list[Row]

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(row.first_ms for row in self.rows)

    @property
    def longest(self) -> int:
        """Milliseconds."""
        return max(row.first_ms for row in self.rows)

    @property
    def met(self) -> bool:
        """Whether none took longer than the goal."""
        return self.longest <= GOAL

    @property
    def line(self) -> str:
        """The row of the table, for a person."""
        least = min(row.digest_left for row in self.rows)
        verdict = f"goal ≤ {GOAL:,}: {'met' if self.met else 'MISSED'}"
        return f"{self.what:44} {self.median:>9,.0f} {self.longest:>10,} {least:>12,}  {verdict}"

    def plain(self) -> list[dict[str, Any]]:
        """For ``--json``."""
        return [
            {"what": f"{self.what}: first push, median", "value": self.median, "unit": "ms"},
            {
                "what": f"{self.what}: longest",
                "value": self.longest,
                "unit": "ms",
                "goal": f"≤ {GOAL}",
                "met": self.met,
            },
        ]


def grouped(rows: list[Row]) -> list[Found]:
    """Put the rows together by what is the same."""
    found: dict[str, Found] = {}
    for row in rows:
        rate = "no rate" if row.rate is None else f"rate = {row.rate:,}"
        what = f"{rate}, the digest {'is on the tubes' if row.walked else 'is being walked'}"
        found.setdefault(what, Found(what, [])).rows.append(row)
    return list(found.values())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench lanes", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1_000_000, help="size of the base")
    parser.add_argument("--rounds", type=int, default=5, help="breaking campaigns for each state of the digest")
    parser.add_argument("--rate", type=int, default=RATE, help="pushes a second, of the channels with a rate")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
        rig = Rig(Path(folder), None)
        for rate in (None, options.rate):
            rig.rate = rate
            with rig.node(None) as client:
                say(f"{options.subscribers:,} subscribers, {'no rate' if rate is None else f'rate = {rate:,}'}")
                rig.fill(client, options.subscribers)
                for walked in (False, True):
                    rows += measure(rig, client, options.subscribers, options.rounds, walked=walked)
    found = grouped(rows)
    if options.json:
        print(json.dumps([figure for each in found for figure in each.plain()], ensure_ascii=False))
        return
    print(f"{'Fire → first breaking push accepted':44} {'median ms':>9} {'longest ms':>10} {'digest left':>12}")
    print("\n".join(each.line for each in found))


if __name__ == "__main__":
    main()
