"""Proves the cut line: campaigns on two nodes are stopped at drawn moments, with drawn kills and outages.

``python -m tests.system.cut_lines --runs 50 --seed 1``. Each run prints its plan, its cut line and what the twins say.
The law: accepted <= the twins' ledgers <= accepted + may have it; both are equal where nothing was killed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from broadside.api.audience_request import AudienceRequest, TagConditions
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.v1 import table
from broadside.errors import ApiError, NodeUnreachable
from campaigns.message import Message
from tests.cluster.ledger_tail import LedgerTail
from tests.cluster.ring import Ring
from tests.cluster.ring import Run as Walk

PHONES = 16_000
LATENCY = 50
"""Milliseconds before a twin's answer."""
TWINS = "streams = 20\n"
"""With LATENCY: 400 pushes a second and connection, so that a campaign lasts for seconds."""
WITHIN = 1.0
"""Seconds from the press to the last push begun, where every node can be told."""
FAR = 0.1
"""Seconds between the servers where a campaign goes to some: so the press comes before the walk's end."""
TAG = "sport"
SOME = FireRequest(message=Message(title="t", body="b"), audience=AudienceRequest(tags=TagConditions(none=[TAG])))
FAULTS = ("nothing", "nothing", "worker", "twin", "queue", "store", "node", "wire")
SECOND = "node-2"


@dataclass(frozen=True)
class Plan:
    """One run. ``at``: the share of the base that is accepted when the fault comes."""

    seed: int
    fault: str
    at: float
    before: float
    """Seconds from the fault to the press on Stop; below 0: the press comes first."""
    away: float
    """Seconds for which what was killed, or cut, stays away."""
    then: str
    """``resume`` or ``cancel``."""
    some: bool = False
    """It goes to those without a tag, four of five: then the line counts those who were not walked."""


def draw(seed: int) -> Plan:
    """The plan of ``seed``."""
    chance = random.Random(seed)
    fault = chance.choice(FAULTS)
    at, before = round(chance.uniform(0.03, 0.8), 2), round(chance.uniform(-0.3, 0.5), 2)
    away, then = round(chance.uniform(0.5, 3.0), 1), chance.choice(("resume", "cancel"))
    return Plan(seed, fault, at, before, away, then, chance.random() < 0.3)


@dataclass
class Found:
    """What a run has shown."""

    plan: Plan
    accepted: int = 0
    may_have_it: int = 0
    ledger: int = 0
    last_begun: float = 0.0
    """Seconds from the press to the last push that a twin accepted, less its latency."""
    paused: float = 0.0
    """Seconds from the press until the campaign was paused."""
    not_walked: int = 0
    nodes: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


class Stops:
    """Runs on one ring, one after the other."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._dead = {row.token for row in ring.rows} - ring.live
        self.ledgers = LedgerTail(node.data.twins for node in ring.cluster.nodes)

    def run(self, plan: Plan) -> Found:
        """One campaign: fire, fault, stop, look, and go on or cancel."""
        found = Found(plan)
        self.ring.far(FAR if plan.some else 0.0)
        run = self.ring.sent(SOME) if plan.some else self.ring.fire()
        due = plan.at * len(self._live(plan))
        run.until(lambda: len(self._times(run)) >= due or run.state() == "done", f"{due:.0f} pushes", 60)
        undo = self._strike(plan) if plan.before >= 0 else None
        time.sleep(max(0.0, plan.before))
        pressed = self._press(run, found)
        if plan.before < 0:
            time.sleep(-plan.before)
            undo = self._strike(plan)
        if self._paused(run, found, pressed):
            self._judge(run, plan, found, pressed)
        if undo is not None:
            undo()
            if found.nodes:
                run.until(lambda: not self._report(run).cut.nodes, "report of node-2", 60)  # type: ignore[union-attr]
                self._judge(run, plan, found, pressed)
        self._end(run, plan, found)
        return found

    def _live(self, plan: Plan) -> set[str]:
        if not plan.some:
            return self.ring.live
        return self.ring.live.difference(row.token for row in self.ring.rows if TAG in row.tags)

    def _strike(self, plan: Plan) -> Callable[[], Any] | None:
        """Do the fault; answers what waits until its end, and what brings a lost node back."""
        node, ring = self.ring.node(2), self.ring
        match plan.fault:
            case "worker":
                os.kill(node.children("broadside.worker")[0], signal.SIGKILL)
            case "twin":
                for pid in node.children("simulators.twin"):
                    os.kill(pid, signal.SIGKILL)
            case "queue":
                os.kill(node.children("embedded.lua")[0], signal.SIGKILL)
            case "store":
                ring.cluster.master.kill()
                return _later(plan.away, ring.cluster.master.begin)
            case "wire":
                ring.cut()
                return _later(plan.away, ring.heal)
            case "node":
                node.kill()
                time.sleep(0.2)
                return lambda: node.begin(60)
        return None

    def _press(self, run: Walk, found: Any) -> int:
        """Press Stop until the store has written it; answers when that began, ms UTC."""
        deadline = time.monotonic() + 30
        while True:
            pressed = round(time.time() * 1000)
            try:
                with self.ring.node(1).client() as client:
                    client.call(table.PAUSE, id=run.campaign)
                return pressed
            except (NodeUnreachable, ApiError) as error:
                if "done" in str(error):
                    return pressed
                if time.monotonic() > deadline:
                    found.broken.append(f"Stop fails: {error}")
                    return pressed
                time.sleep(0.05)

    def _paused(self, run: Walk, found: Found, pressed: int) -> bool:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            state = run.state()
            if state == "paused":
                found.paused = round(time.time() - pressed / 1000, 2)
                return True
            if state == "done":
                return False  # it was over before the press
            time.sleep(0.05)
        found.broken.append(f"not paused within 60 s: {run.state()}, {self._report(run).cut}")
        return False

    def _report(self, run: Walk) -> CampaignReport:
        deadline = time.monotonic() + 30
        while True:
            try:
                with self.ring.node(1).client() as client:
                    return client.call(table.CAMPAIGN, id=run.campaign, query=table.CampaignQuery(exact=True))
            except (NodeUnreachable, ApiError):
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def _judge(self, run: Walk, plan: Plan, found: Found, pressed: int) -> None:
        cut = self._report(run).cut
        assert cut is not None
        times = self._times(run)
        people = len(times)
        found.accepted, found.may_have_it, found.ledger, found.nodes = cut.accepted, cut.may_have_it, people, cut.nodes
        found.last_begun = (
            round((max(max(each) for each in times.values()) - pressed - LATENCY) / 1000, 2) if times else 0
        )
        found.not_walked = cut.not_walked
        meant = sum(TAG not in row.tags for row in self.ring.rows) if plan.some else self.ring.subscribers
        drawn = cut.accepted + cut.refused + cut.may_have_it + cut.on_tubes + cut.not_walked
        gone = len(self._dead - {row.token for row in self.ring.rows if plan.some and TAG in row.tags})
        if plan.fault == "nothing" and not meant - gone <= drawn <= meant:
            found.broken.append(f"the line has {drawn} people, and {meant} are meant, of whom {gone} may have left")
        if not cut.accepted <= people <= cut.accepted + cut.may_have_it:
            found.broken.append(f"{cut.accepted} accepted, {cut.may_have_it} may have it, {people} in the ledgers")
        if plan.fault == "nothing" and cut.accepted != people:
            found.broken.append(f"nothing was killed: {cut.accepted} accepted, {people} in the ledgers")
        if plan.fault in ("nothing", "worker", "twin") and found.last_begun >= WITHIN:
            found.broken.append(f"the last push was begun {found.last_begun} s after the press")
        time.sleep(0.3)
        if plan.fault != "wire" and self._times(run).keys() != times.keys():
            found.broken.append("something was sent while it was paused")

    def _end(self, run: Walk, plan: Plan, found: Found) -> None:
        act = table.RESUME if plan.then == "resume" else table.CANCEL
        if run.state() == "paused":
            with self.ring.node(1).client() as client:
                client.call(act, id=run.campaign)
        goal = ("done",) if plan.then == "resume" else ("cancelled", "done")
        run.until(lambda: run.state() in goal, plan.then, 120)
        times = self._times(run)
        if run.state() == "done" and (lost := self._live(plan) - times.keys()):
            found.broken.append(f"{len(lost)} were lost")
        if others := times.keys() - self._live(plan):
            found.broken.append(f"{len(others)} got it who are not in its audience")
        if plan.fault == "nothing" and any(len(each) > 1 for each in times.values()):
            found.broken.append("somebody got it twice, and nothing was killed")

    def _times(self, run: Walk) -> dict[str, list[int]]:
        """Token → when the twins accepted the campaign's pushes to it, ms UTC."""
        times: dict[str, list[int]] = {}
        for entry in self.ledgers.entries(run.campaign):
            times.setdefault(entry.token, []).append(entry.time)
        return times


def _later(seconds: float, do: Callable[[], Any]) -> Callable[[], Any]:
    timer = threading.Timer(seconds, do)
    timer.start()
    return timer.join


def runs(folder: Path, plans: list[Plan], phones: int = PHONES) -> Iterator[Found]:
    """Start a ring and run all plans on it."""
    ring = Ring(folder, phones, stores=1, workers=1, latency_ms=LATENCY, twins=TWINS)
    try:
        stops = Stops(ring.start())
        for plan in plans:
            yield stops.run(plan)
    finally:
        ring.end()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.cut_lines", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first plan's seed")
    parser.add_argument("--runs", type=int, default=50, help="so many plans, of seeds that follow each other")
    parser.add_argument("--phones", type=int, default=PHONES)
    parser.add_argument("--json", action="store_true", help="the results as JSON on stdout")
    given = parser.parse_args()
    plans = [draw(given.seed + n) for n in range(given.runs)]
    all_found = []
    with tempfile.TemporaryDirectory(prefix="cut-lines-") as folder:
        for found in runs(Path(folder) / "ring", plans, given.phones):
            all_found.append(found)
            print(json.dumps(asdict(found)), file=sys.stderr, flush=True)
    broken = [found for found in all_found if found.broken]
    stopped = sum(found.paused > 0 for found in all_found)
    calm = sorted(found.last_begun for found in all_found if found.plan.fault == "nothing")
    if given.json:
        print(json.dumps([asdict(found) for found in all_found]))
    print(f"{len(all_found)} runs, {stopped} stopped under way, {len(broken)} broken")
    print(f"seconds from the press to the last push begun, where nothing was killed: {calm}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
