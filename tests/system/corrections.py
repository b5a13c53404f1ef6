"""Proves corrections: campaigns on two nodes get another text at drawn moments, with drawn kills and outages.

``python -m tests.system.corrections --runs 30 --seed 1``. The law, by the twins' ledgers: each phone is shown the new
text, and no old one after it; each text once, and twice only where somebody was killed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from broadside.api.campaign_report import CorrectionRequest
from broadside.api.v1 import table
from broadside.errors import ApiError, NodeUnreachable
from campaigns.message import Message
from simulators.ledger import read_ledger
from tests.cluster.ring import IN_FLIGHT, Ring
from tests.cluster.ring import Run as Walk
from tests.system.cut_lines import LATENCY, PHONES, TWINS, Stops
from tests.system.cut_lines import Plan as Stop

NEW = "corrected"
FAULTS = ("nothing", "nothing", "worker", "twin", "queue", "store", "node", "wire", "console")
WHEN = ("firing", "firing", "firing", "paused", "done")
TRIES = 90.0
"""Seconds until a correction must be written: a node that is away holds its lease for 11."""


@dataclass(frozen=True)
class Plan:
    """One run. ``at``: the share of the base that is accepted before; ``after``: seconds from press to fault."""

    seed: int
    when: str
    fault: str
    at: float
    after: float
    away: float
    twice: bool
    """A second correction follows the first."""


def draw(seed: int) -> Plan:
    """The plan of ``seed``."""
    chance = random.Random(seed)
    when, fault = chance.choice(WHEN), chance.choice(FAULTS)
    at, after, away = round(chance.uniform(0.03, 0.7), 2), round(chance.uniform(-0.4, 1.5), 2), chance.uniform(0.5, 3.0)
    return Plan(seed, when, fault, at, after, round(away, 1), chance.random() < 0.2)


@dataclass
class Found:
    """What a run has shown."""

    plan: Plan
    written: float = 0.0
    """Seconds from the press until the correction was written."""
    old: int = 0
    """Phones that had got the old text."""
    repeats: int = 0
    broken: list[str] = field(default_factory=list)


class Corrections(Stops):
    """Runs on one ring, one after the other."""

    def corrected(self, plan: Plan) -> Found:
        """One campaign: fire, correct with a fault beside, and look when both walks are done."""
        found = Found(plan)
        run = self.ring.fire()
        due = plan.at * len(self.ring.live) if plan.when != "done" else len(self.ring.live)
        run.until(lambda: len(self._times(run)) >= due or run.state() == "done", f"{due:.0f} pushes", 90)
        if plan.when == "paused":
            self._press(run, found)
            run.until(lambda: run.state() in ("paused", "done"), "pause", 60)
        elif plan.when == "done":
            run.done()
        undo: list[object] = []
        strike = threading.Thread(target=lambda: undo.append(self._strike_for(plan)))
        if plan.after < 0:
            strike.start()
            time.sleep(-plan.after)
        else:
            timer = threading.Timer(plan.after, strike.start)
            timer.start()
        began = time.monotonic()
        self._correct(run, NEW, found)
        if plan.after >= 0:
            timer.join()
        strike.join()
        found.written = round(time.monotonic() - began, 2)
        if undo and callable(undo[0]):
            undo[0]()
        texts = [NEW]
        if plan.twice:
            texts.append(NEW + " again")
            self._correct(run, texts[-1], found)
        if run.state() == "paused":
            self._move(table.RESUME, run.campaign)
        run.until(lambda: run.state() == "done", "end", 120)
        second = self._report(run).corrected_by
        run.until(lambda: second is not None and self._state(second) == "done", "end of the second walk", 120)
        self._look(run, plan, texts, found)
        for id in (run.campaign, str(second)):
            with self.ring.node(1).client() as client:
                found.broken += client.call(table.VERIFY, id=id, timeout=60.0).problems
        return found

    def _strike_for(self, plan: Plan) -> object:
        if plan.fault == "console":
            node = self.ring.node(1)
            node.kill()
            time.sleep(plan.away)
            return lambda: node.begin(60)
        return self._strike(Stop(plan.seed, plan.fault, plan.at, 0.0, plan.away, ""))

    def _correct(self, run: Walk, title: str, found: Found) -> None:
        deadline, number, said = time.monotonic() + TRIES, 0, ""
        while time.monotonic() < deadline:
            number += 1
            node = self.ring.node(1 + number % 2)
            try:
                with node.client() as client:
                    wanted = CorrectionRequest(message=Message(title=title, body="b"))
                    client.call(table.CORRECT, wanted, id=run.campaign, timeout=60.0)
                return
            except (NodeUnreachable, ApiError, OSError) as error:
                said = str(error)
                time.sleep(0.3)
        found.broken.append(f"no correction within {TRIES:g} s: {said}")

    def _move(self, route: object, id: str) -> None:
        with self.ring.node(1).client() as client:
            client.call(route, id=id)  # type: ignore[arg-type]

    def _state(self, id: str) -> str:
        try:
            with self.ring.node(1).client() as client:
                return client.call(table.CAMPAIGN, id=id).state
        except (NodeUnreachable, ApiError) as error:
            return str(error)

    def _look(self, run: Walk, plan: Plan, texts: list[str], found: Found) -> None:
        shown: dict[str, list[tuple[int, str]]] = {}
        for node in self.ring.cluster.nodes:
            for path in node.data.twins.glob("*.ledger"):
                for entry in read_ledger(path):
                    if entry.collapse == run.campaign and entry.body is not None:
                        title = next((text for text in reversed(texts) if f'"{text}"' in entry.body), "old")
                        shown.setdefault(entry.token, []).append((entry.time, title))
        order = {"old": 0} | {text: n for n, text in enumerate(texts, 1)}
        last, backwards, repeats = Counter[str](), 0, 0
        for each in shown.values():
            versions = [order[title] for _, title in sorted(each)]
            last[texts[versions[-1] - 1] if versions[-1] else "old"] += 1
            backwards += versions != sorted(versions)
            repeats += len(versions) - len(set(versions))
            found.old += 0 in versions
        found.repeats = repeats
        if missing := self.ring.live - shown.keys():
            found.broken.append(f"{len(missing)} got nothing")
        if wrong := len(shown) - last[texts[-1]]:
            found.broken.append(f"{wrong} are left with an earlier text: {dict(last)}")
        if backwards:
            found.broken.append(f"{backwards} were shown an earlier text after a later one")
        most = 0 if plan.fault in ("nothing", "store") else IN_FLIGHT
        if repeats > most:
            found.broken.append(f"{repeats} texts were shown twice, {most} at most")


def runs(folder: Path, plans: list[Plan], phones: int = PHONES) -> Iterator[Found]:
    """Start a ring and run all plans on it."""
    ring = Ring(folder, phones, stores=1, workers=1, latency_ms=LATENCY, twins=f"{TWINS}bodies = true\n")
    try:
        corrections = Corrections(ring.start())
        for plan in plans:
            yield corrections.corrected(plan)
    finally:
        ring.end()


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.corrections", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first plan's seed")
    parser.add_argument("--runs", type=int, default=30, help="so many plans, of seeds that follow each other")
    parser.add_argument("--phones", type=int, default=PHONES)
    given = parser.parse_args()
    plans = [draw(given.seed + n) for n in range(given.runs)]
    all_found = []
    with tempfile.TemporaryDirectory(prefix="corrections-") as folder:
        for found in runs(Path(folder) / "ring", plans, given.phones):
            all_found.append(found)
            print(json.dumps(asdict(found)), file=sys.stderr, flush=True)
    broken = [found for found in all_found if found.broken]
    print(f"{len(all_found)} runs, {len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
