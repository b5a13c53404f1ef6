"""Proves corrections and retractions: campaigns on two nodes get another text, or are taken back, at drawn moments,
with drawn kills and outages.

``python -m tests.system.corrections --runs 30 --seed 1``. A plan draws how much of the base has the old text by then;
where the second node is far away, a part is not walked yet. In some plans a part of the base sleeps, and is held. The
law, by the twins' ledgers: whoever has got an old text is shown the new one after it; of a correction, everybody else
gets only the new one; of a retraction, nobody else gets anything. Each text comes once, and twice only where somebody
was killed.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from broadside.api.campaign_report import CorrectionRequest, FireRequest, RetractionRequest
from broadside.api.subscriber import Subscriber
from broadside.api.v1 import table
from broadside.demo import samples
from broadside.errors import ApiError, NodeUnreachable
from campaigns.message import Message
from simulators.ledger import Entry
from tests.cluster.ring import IN_FLIGHT, PLATFORMS, Ring
from tests.cluster.ring import Run as Walk
from tests.system.cut_lines import LATENCY, PHONES, TWINS, Stops
from tests.system.cut_lines import Plan as Stop

OLD, NEW = "old", "corrected"
FAULTS = ("nothing", "nothing", "worker", "twin", "queue", "store", "node", "wire", "console")
KILLS = ("worker", "twin", "queue", "node", "wire", "console")
"""Faults after which a push may be repeated, or its answer may never come."""
WHEN = ("firing", "firing", "firing", "paused", "done")
ACTS = ("correct", "correct", "correct", "retract", "stop")
FAR = 0.15
"""Seconds between the servers: a page of the walk takes some of them, so that the press comes before its end."""
ASLEEP, AWAKE = "Etc/GMT-8", "Etc/GMT+3"
"""Where the night ends a minute or two after Fire, and where it is day by then."""
NIGHT = timedelta(hours=3)
LEAST_NIGHT = 35.0
"""Seconds from Fire to the end of the night: enough for a correction, a fault and a restart."""
KINDS = 180
"""Minutes after the start at each of which the night of a kind of news ends."""
APPLE = ("com.example.news",)
"""Apps on whose platform a push can be silent here: no Android channel without sound is configured."""
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
    twice: bool = False
    """A second correction follows the first."""
    act: str = "correct"
    """``correct``, ``retract`` with a text, or ``stop``: retract without one."""
    far: float = 0.0
    """Seconds between the servers."""
    held: bool = False
    """A third of the base sleeps, and is held until a minute or two after Fire."""
    loud: bool = False
    """The new text is as loud as the old one."""


def draw(seed: int) -> Plan:
    """The plan of ``seed``."""
    chance = random.Random(seed)
    when, fault, act = chance.choice(WHEN), chance.choice(FAULTS), chance.choice(ACTS)
    at, after, away = round(chance.uniform(0.03, 0.5), 2), round(chance.uniform(-0.4, 1.5), 2), chance.uniform(0.5, 3.0)
    twice = act == "correct" and chance.random() < 0.2
    far = FAR if chance.random() < 0.6 else 0.0
    held, loud = chance.random() < 0.3, chance.random() < 0.3
    return Plan(seed, when, fault, at, after, round(away, 1), twice, act, far, held, loud)


@dataclass
class Found:
    """What a run has shown."""

    plan: Plan
    written: float = 0.0
    """Seconds from the press until the correction was written."""
    old: int = 0
    """Phones that had got the old text."""
    on_tubes: int = 0
    """Phones that had not, though their page was walked."""
    not_walked: int = 0
    """Phones of pages that were walked later."""
    held: int = 0
    """Phones that slept when it was corrected."""
    silent: int = 0
    """New texts that were shown without a sound."""
    repeats: int = 0
    broken: list[str] = field(default_factory=list)


def night_kind(end: datetime) -> str:
    """The name of the kind whose night ends then."""
    return f"night-{end:%H%M}"


def night_tables(now: datetime) -> str:
    """A kind of news for each minute of the next hours; ``now``: by the clocks of those who sleep."""
    ends = [now.replace(second=0, microsecond=0) + timedelta(minutes=n) for n in range(1, KINDS)]
    return "\n".join(f'[kinds.{night_kind(end)}]\nquiet_hours = "{end - NIGHT:%H:%M}-{end:%H:%M}"' for end in ends)


def by_their_clocks() -> datetime:
    """What the clocks of those who sleep show."""
    return datetime.now(UTC) + timedelta(hours=8)


def base(phones: int) -> Iterator[Subscriber]:
    """A third of them where the night ends during a run."""
    for number, row in enumerate(samples.subscribers(phones, 0.02, PLATFORMS)):
        yield msgspec.structs.replace(row, tz=ASLEEP if number // 2 % 3 == 0 else AWAKE)


class Corrections(Stops):
    """Runs on one ring, one after the other."""

    def corrected(self, plan: Plan) -> Found:
        """One campaign: fire, correct or take back with a fault beside, and look when both walks are done."""
        found = Found(plan)
        self.ring.far(plan.far)
        run, wakes = self._fire(plan)
        due = plan.at * len(self.ring.live) if plan.when != "done" else len(self.ring.live)
        run.until(lambda: len(self._times(run)) >= due or run.state() == "done" or self._all_but_held(run, plan),
                  f"{due:.0f} pushes", 90)  # fmt: skip
        if plan.when == "paused":
            self._press(run, found)
            run.until(lambda: run.state() in ("paused", "done"), "pause", 60)
        elif plan.when == "done" and not plan.held:
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
        texts = [] if plan.act == "stop" else [NEW]
        self._change(run, NEW, found)
        found.written = round(time.monotonic() - began, 2)
        if plan.after >= 0:
            timer.join()
        strike.join()
        if undo and callable(undo[0]):
            undo[0]()
        found.held = self._report(run).held
        if plan.twice:
            texts.append(NEW + " again")
            self._change(run, texts[-1], found)
        if run.state() == "paused" and plan.act == "correct":
            self._move(table.RESUME, run.campaign)
        ends = ("done",) if plan.act == "correct" else ("done", "cancelled")
        run.until(lambda: run.state() in ends, "end", 120)
        second = self._report(run).corrected_by
        if texts:
            run.until(lambda: second is not None and self._state(second) == "done", "end of the second walk", 120)
        if plan.act != "correct":
            time.sleep(max(1.0, wakes + 3 - time.time()) if plan.held else 1.0)  # nothing more may come
        self._look(run, plan, texts, found)
        for id in filter(None, (run.campaign, second)):
            with self.ring.node(1).client() as client:
                found.broken += client.call(table.VERIFY, id=id, timeout=60.0).problems
        self._check_certificate(run.campaign, len(texts), found)
        return found

    def _fire(self, plan: Plan) -> tuple[Walk, float]:
        """Fire; also returns when those who sleep wake up, seconds since 1970."""
        request = FireRequest(message=Message(title=OLD, body="b"))
        if not plan.held:
            return self.ring.sent(request), 0.0
        now = by_their_clocks()
        wakes = (now + timedelta(seconds=LEAST_NIGHT + 60)).replace(second=0, microsecond=0)
        run = self.ring.sent(msgspec.structs.replace(request, kind=night_kind(wakes)))
        return run, time.time() + (wakes - now).total_seconds()

    def _all_but_held(self, run: Walk, plan: Plan) -> bool:
        return plan.held and self._report(run).reached

    def _strike_for(self, plan: Plan) -> object:
        if plan.fault == "console":
            node = self.ring.node(1)
            node.kill()
            time.sleep(plan.away)
            return lambda: node.begin(60)
        return self._strike(Stop(plan.seed, plan.fault, plan.at, 0.0, plan.away, ""))

    def _change(self, run: Walk, title: str, found: Found) -> None:
        """Ask for it, now one node and now the other, until it is written."""
        plan, message = found.plan, Message(title=title, body="b")
        deadline, number, said = time.monotonic() + TRIES, 0, ""
        while time.monotonic() < deadline:
            number += 1
            node = self.ring.node(1 + number % 2)
            try:
                with node.client() as client:
                    if plan.act == "correct":
                        wanted = CorrectionRequest(message=message, awake=plan.loud)
                        client.call(table.CORRECT, wanted, id=run.campaign, timeout=60.0)
                    else:
                        back = RetractionRequest(message=message if plan.act == "retract" else None, awake=plan.loud)
                        client.call(table.RETRACT, back, id=run.campaign, timeout=60.0)
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
        shown: dict[str, list[tuple[int, int, Entry]]] = {}
        for entry in self.ledgers.entries(run.campaign):
            assert entry.body is not None
            version = next((n for n in range(len(texts), 0, -1) if f'"{texts[n - 1]}"' in entry.body), 0)
            shown.setdefault(entry.token, []).append((entry.time, version, entry))
        had = {token for token, each in shown.items() if any(version == 0 for _, version, _ in each)}
        found.old = len(had)
        last, backwards = Counter[int](), 0
        for each in shown.values():
            versions = [version for _, version, _ in sorted(each, key=lambda one: one[0])]
            last[versions[-1]] += 1
            backwards += versions != sorted(versions)
            found.repeats += len(versions) - len(set(versions))
        most = IN_FLIGHT if plan.fault in KILLS else 0
        if plan.act == "correct" and (missing := self.ring.live - shown.keys()):
            found.broken.append(f"{len(missing)} got nothing")
        if wrong := len(shown) - last[len(texts)]:
            found.broken.append(f"{wrong} are left with an earlier text: {dict(last)}")
        if backwards:
            found.broken.append(f"{backwards} were shown an earlier text after a later one")
        if plan.act == "retract" and len(only := shown.keys() - had) > most:
            found.broken.append(f"{len(only)} were told that a text was wrong which they had not got, {most} at most")
        if found.repeats > most:
            found.broken.append(f"{found.repeats} texts were shown twice, {most} at most")
        changed = min((at for each in shown.values() for at, version, _ in each if version), default=0)
        later = [page for page in run.pages() if changed and page["first_claimed_at"] >= changed]
        found.not_walked = sum(page["recipients"] for page in later)
        found.on_tubes = len(self.ring.live) - found.old - found.not_walked
        second = [entry for token in had for _, version, entry in shown[token] if version and entry.app in APPLE]
        found.silent = sum(entry.asleep for entry in second)
        if not most and found.silent != (0 if plan.loud else len(second)):
            found.broken.append(f"{found.silent} of {len(second)} were silent: loud is {plan.loud}")

    def _check_certificate(self, id: str, corrections: int, found: Found) -> None:
        """As anybody would: with the public key, and with no node."""
        folder = self.ring.cluster.folder
        paper, key = folder / f"{id}.json", folder / "certificates.pem"
        with self.ring.node(1).client() as client:
            certificate = client.call(table.CERTIFICATE, id=id, timeout=60.0)
            key.write_text(client.call(table.CERTIFICATE_KEY).public)
        paper.write_bytes(msgspec.json.encode(certificate))
        command = [sys.executable, "-m", "broadside.cli", "verify-certificate", "--key", str(key), str(paper)]
        said = subprocess.run(command, capture_output=True, text=True, check=False)
        if said.returncode or len(certificate.texts) != 1 + corrections:
            found.broken.append(f"certificate with {len(certificate.texts)} texts: {said.stdout}{said.stderr}")


def ring_of(folder: Path, phones: int = PHONES) -> Ring:
    """A ring for such runs, not started."""
    return Ring(
        folder,
        0,
        stores=1,
        workers=1,
        latency_ms=LATENCY,
        twins=f"{TWINS}bodies = true\n",
        rows=base(phones),
        tables=night_tables(by_their_clocks()),
    )


def runs(folder: Path, plans: list[Plan], phones: int = PHONES) -> Iterator[Found]:
    """Start a ring and run all plans on it."""
    ring = ring_of(folder, phones)
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
    mixed = sum(0 < found.old < given.phones and found.on_tubes > 0 for found in all_found)
    print(
        f"{len(all_found)} runs, {mixed} with a part that had the old text and another on tubes, {len(broken)} broken"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
