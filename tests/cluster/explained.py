"""Why did this phone not get it? Drawn people and campaigns of a ring that is broken meanwhile, judged by the twins'
own ledgers, by what this file did to the base, and by the reports.

``python -m tests.cluster.explained --seed 7`` draws 1,000 of them and prints how many had which fate.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from broadside.api.audience_request import AudienceRequest, TagConditions
from broadside.api.campaign_report import CampaignReport, CorrectionRequest, FireRequest
from broadside.api.explain_records import ExplainRequest, Explanation
from broadside.api.subscriber import Subscriber
from broadside.api.v1 import table
from broadside.demo import samples
from campaigns.clock import wall_clock
from campaigns.message import Message
from campaigns.windows import QuietRule
from simulators.ledger import read_ledger
from tests.cluster.base_of import base_of
from tests.cluster.ring import PLATFORMS, Ring, Run, until
from transports import registry

S = TypeVar("S", bound=msgspec.Struct)
QUIET = "23:00-07:00"
SECONDS_OF_MUTE = 10
"""A push that is never answered is unknown after 20 s: news of this life has expired by then."""
SORTS = {"dead": 0.03, "badd": 0.03, "b0b0": 0.03, "cafe": 0.03}
"""First digits of a token → share of the base. Dead; refused; busy at first; mute at first, though it is delivered."""
MUTE = "cafe"
CORRECTED = "corrected"
SCRIPT = """\
latency_ms = {latency}
bodies = true
[[rules]]
prefix = "dead"
answer = "dead"
[[rules]]
prefix = "badd"
answer = "refuse"
reason = "{refusal}"
[[rules]]
prefix = "b0b0"
answer = "{busy}"
times = 1
[[rules]]
prefix = "cafe"
answer = "mute"
delivered = true
times = 1
"""
REFUSALS = {"apns": "BadDeviceToken", "fcm": "SENDER_ID_MISMATCH"}
BUSY = {"apns": "reset", "fcm": "503"}
"""Each of Apple's 5xx means to wait for a quarter of an hour."""
FATES = {"delivered", "dead", "rejected", "expired", "dropped", "cancelled", "held", "outside", "after", "left"}
"""Fates of which each run has some."""
SETTLED = ("delivered", "dead", "rejected", "expired", "dropped", "cancelled")


@dataclass
class Person:
    """Somebody of the base, as this file has made and changed them."""

    id: int
    channel: str
    tokens: list[str]
    """The last one is the phone's now."""
    tags: list[str]
    locale: str
    tz: str
    came: int
    """After how many campaigns."""
    left: int | None = None
    """Likewise, when it was removed."""
    changed: list[int] = field(default_factory=list)
    """Likewise, when its tags changed."""
    lost: list[str] = field(default_factory=list)
    """Tokens with which it was deleted as dead, and which are somebody else's now."""


@dataclass
class Fired:
    """One campaign of a run."""

    id: str
    number: int
    """How many were fired before it."""
    at: int
    looked: int
    """When the base was read before it, ms UTC."""
    sport: bool = False
    """It goes to those with the tag alone."""
    drop: bool = False
    meant: dict[int, bool] = field(default_factory=dict)
    """Person → whether the audience had them, of those who were there at Fire."""
    corrects: str = ""
    """The campaign whose new text it brings to those who had got the old one."""


class Story:
    """A ring, its base, and what happened in it."""

    def __init__(self, folder: Path, seed: int, people: int, *, latency: int = 300) -> None:
        self.chance = random.Random(seed)
        self.ring = Ring(folder, 0, stores=1, workers=1, rows=self._rows(people), quiet=QUIET)
        for node in self.ring.cluster.nodes:
            for platform, refusal in REFUSALS.items():
                text = SCRIPT.format(latency=latency, refusal=refusal, busy=BUSY[platform])
                (node.data.twins / f"{platform}.script.toml").write_text(text)
        self.people: dict[int, Person] = {}
        self.fired: list[Fired] = []

    def _rows(self, count: int, first: int = 0) -> list[Subscriber]:
        rows = [*samples.subscribers(first + count, 0.0, PLATFORMS)][first:]
        return [self._sorted(row) for row in rows]

    def _sorted(self, row: Subscriber) -> Subscriber:
        drawn, before = self.chance.random(), 0.0
        token = row.token
        for digits, share in SORTS.items():
            if before <= drawn < before + share:
                token = digits + token[4:]
            before += share
        tags = ["sport"] if self.chance.random() < 0.4 else []
        return _with(row, token=token, tags=tags)

    def learn(self) -> None:
        """Read the base: who is new in it."""
        with self.ring.node(1).client() as client:
            for row in base_of(client):
                assert row.id is not None
                if row.id in self.people:
                    continue
                for person in self.people.values():
                    if row.token in person.tokens:  # it was deleted as dead before its token could be replaced
                        person.tokens.remove(row.token)
                        person.lost.append(row.token)
                self.people[row.id] = Person(
                    row.id, row.channel, [row.token], list(row.tags), row.locale, row.tz, len(self.fired)
                )

    def there(self) -> list[Person]:
        """Who is in the base now, as the base itself says: the dead leave it."""
        with self.ring.node(1).client() as client:
            now = {row.id for row in base_of(client)}
        return [person for person in self.people.values() if person.id in now]

    def put(self, rows: list[dict[str, Any]]) -> None:
        with self.ring.node(1).client() as client:
            answer = client.upsert(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        assert answer.refused == 0, answer

    def stir(self, n: int) -> None:
        """Some leave, some get another token, some change, some come."""
        people = self.there()
        self.chance.shuffle(people)
        leaving, replacing, changing = people[:n], people[n : 2 * n], people[2 * n : 3 * n]
        with self.ring.node(1).client() as client:
            for person in leaving:
                query = table.UnregisterQuery(channel=person.channel, token=person.tokens[-1])
                client.call(table.UNREGISTER, query=query)
                person.left = len(self.fired)
        rows: list[dict[str, Any]] = []
        for person in replacing:
            old = person.tokens[-1]
            digits = f"0{self.chance.randrange(16**63):063x}"
            person.tokens.append(registry.load(PLATFORMS[person.channel]).sample(digits))
            rows.append({"channel": person.channel, "token": person.tokens[-1], "replaces": old})
        for person in changing:
            person.tags = [] if person.tags else ["sport"]
            person.changed.append(len(self.fired))
            rows.append(
                {
                    "channel": person.channel, "token": person.tokens[-1], "tags": person.tags,
                    "locale": person.locale, "tz": person.tz,
                }
            )  # fmt: skip
        self.put(rows)
        self.ring.cluster.put(self._rows(n, 1_000_000 // n * n + len(self.people)) if n else [])
        self.learn()

    def fire(self, *, ttl: int = 3600, sport: bool = False, quiet: QuietRule = QuietRule.BREAK_THROUGH) -> Fired:
        audience = AudienceRequest(tags=TagConditions(any=["sport"])) if sport else None
        request = FireRequest(message=Message(title="t", body=f"b {len(self.fired)}"), ttl_seconds=ttl, quiet=quiet)
        if audience is not None:
            request = _with(request, audience=audience)
        looked, there = wall_clock(), self.there()
        with self.ring.node(1).client() as client:
            report = client.fire(request)
        fired = Fired(report.id, len(self.fired), report.fired_at or 0, looked, sport, quiet is QuietRule.DROP)
        fired.meant = {person.id: not sport or "sport" in person.tags for person in there}
        self.fired.append(fired)
        return fired

    def correct(self, first: Fired) -> Fired:
        """Give a campaign another text while it is stopped, and let it go on; return the second walk."""
        with self.ring.node(1).client() as client:
            client.call(table.PAUSE, id=first.id)
        until(lambda: self.report(first).state == "paused", "pause", 60, self.words)
        with self.ring.node(2).client() as client:
            client.call(table.CORRECT, CorrectionRequest(message=Message(title="t", body=CORRECTED)), id=first.id)
            client.call(table.RESUME, id=first.id)
        self.ended(first)
        second = self.report(first).corrected_by
        assert second is not None
        fired = Fired(second, first.number, first.at, first.looked, corrects=first.id)
        self.ended(fired)
        had = {token for id, token, new in self.pushes() if id == first.id and not new}
        fired.meant = {id: not had.isdisjoint(self.people[id].tokens) for id in first.meant}
        self.fired.append(fired)
        return fired

    def lose(self, fired: Fired) -> None:
        """Node 2 loses its power while it sends, is forgotten, and comes back when another node has done its work."""
        node = self.ring.node(2)
        with self.run(fired).frozen():
            node.kill()
        with self.ring.node(1).client() as client:
            client.call(table.FORGET, query=table.ForgetQuery(force=True), name="node-2")
        self.ended(fired)
        node.begin(60)

    def crash(self) -> None:
        """Everything is killed, and comes back."""
        for node in self.ring.cluster.nodes:
            node.kill()
        self.ring.cluster.master.kill()
        self.ring.cluster.master.begin()
        for node in self.ring.cluster.nodes:
            node.begin(60)

    def report(self, fired: Fired) -> CampaignReport:
        with self.ring.node(1).client() as client:
            return client.call(table.CAMPAIGN, id=fired.id)

    def ended(self, fired: Fired, seconds: float = 120.0) -> None:
        until(
            lambda: self.report(fired).ended,
            f"end of {fired.id}",
            seconds,
            lambda: f"{self.report(fired)}\n{self.words()}",
        )

    def cancel(self, fired: Fired) -> None:
        with self.ring.node(1).client() as client:
            client.call(table.CANCEL, id=fired.id)
        self.ended(fired)

    def run(self, fired: Fired) -> Run:
        return Run(self.ring, fired.id, Counter())

    def words(self) -> str:
        return "\n".join(f"{node.name}: {node.last_words()}" for node in self.ring.cluster.nodes)

    def ask(self, fired: Fired, question: ExplainRequest, node: int = 1) -> list[Explanation]:
        with self.ring.node(node).client() as client:
            return client.call(table.EXPLAIN, question, id=fired.id).items

    # -- judging ----------------------------------------------------------------------------------------------------

    def pushes(self) -> Iterator[tuple[str, str, bool]]:
        """(campaign, token, whether it was the corrected text) of each push that a twin has delivered."""
        for node in self.ring.cluster.nodes:
            for path in node.data.twins.glob("*.ledger"):
                for entry in read_ledger(path):
                    assert entry.collapse is not None
                    assert entry.body is not None
                    yield entry.collapse, entry.token, f'"{CORRECTED}"' in entry.body

    def accepted(self) -> Counter[tuple[str, str]]:
        """(campaign, token) → how often a twin has delivered it. A second walk: the new texts of who has both."""
        found, old, new = Counter[tuple[str, str]](), set(), Counter[tuple[str, str]]()
        for campaign, token, corrected in self.pushes():
            found[campaign, token] += 1
            if corrected:
                new[campaign, token] += 1
            else:
                old.add((campaign, token))
        for fired in self.fired:
            for campaign, token in old if fired.corrects else ():
                if campaign == fired.corrects and new[campaign, token]:
                    found[fired.id, token] = new[campaign, token]
        return found

    def asleep(self, person: Person, at: int) -> bool:
        """Whether its own clock shows a quiet hour."""
        if not person.tz:
            return False
        hour = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(person.tz)).hour
        return hour >= 23 or hour < 7

    def judge(self, fired: Fired, person: Person, said: Explanation, accepted: Counter[tuple[str, str]]) -> None:
        """Compare an answer with what the twins have and with what was done to the base."""
        if fired.corrects and any(token.startswith(MUTE) for token in person.tokens):
            return  # the old text came, and no answer: the first walk itself has sent it the new one
        got = any(accepted[fired.id, token] for token in person.tokens)
        what = (fired.id, fired.number, person, said, got)
        if not said.certain and said.left_at is not None:  # the verdict about another campaign, while its page was read
            assert said.left_at >= fired.looked, what
            return
        if not said.certain:  # the base does not keep what somebody was like then
            since = any(change > fired.number for change in person.changed)
            assert fired.sport, what
            assert since or said.token is None, what
            return
        assert said.subscriber == person.id, what
        if said.fate == "delivered":
            assert got, what
        elif got:
            assert said.may_have_it, what
        else:
            assert said.fate in {*SETTLED, "outside", "after", "left", "held", "under_way", "waiting"}, what
        came = person.came <= fired.number
        gone = person.left is not None and person.left <= fired.number
        assert (said.fate == "after") == (not came), what
        if not came:
            return
        if person.id not in fired.meant:
            assert said.fate == "left" or (said.fate == "outside" and (fired.sport or fired.corrects)), what
            return
        assert not gone, what
        if said.fate == "left":  # the verdict about the campaign before deleted it after our last look at the base
            assert said.left_at is not None, what
            assert said.left_at >= fired.looked, what
            return
        assert (said.fate == "outside") == (not fired.meant[person.id]), what
        if fired.drop and fired.meant[person.id]:
            assert (said.fate == "dropped") == self.asleep(person, fired.at), what
        if said.fate in ("dead", "rejected"):
            assert any(token.startswith(("dead", "badd")) for token in (*person.tokens, *person.lost)), what

    def draw(self, count: int, among: Sequence[Fired] = ()) -> Counter[str]:
        """Ask about so many drawn people and campaigns; return how many had which fate."""
        accepted, fates = self.accepted(), Counter[str]()
        people = [*self.people.values()]
        for _ in range(count):
            fired, person = self.chance.choice([*(among or self.fired)]), self.chance.choice(people)
            if self.chance.random() < 0.5 or not person.tokens:
                (said,) = self.ask(fired, ExplainRequest(subscriber=person.id), self.chance.choice([1, 2]))
            else:
                token = self.chance.choice(person.tokens)
                question = ExplainRequest(token=token, channel=person.channel)
                (said,) = [each for each in self.ask(fired, question) if each.subscriber == person.id]
                former = token != person.tokens[-1] and said.token is not None
                assert (said.replaced_at is not None) == former, (person, token, said)
            self.judge(fired, person, said, accepted)
            fates[said.fate] += 1
        return fates

    def all_of(self, fired: Fired) -> Counter[str]:
        """Ask about everybody; the fates add up to the report's outcomes, channel by channel."""
        accepted, sums = self.accepted(), Counter[tuple[str, str]]()
        for person in self.people.values():
            (said,) = self.ask(fired, ExplainRequest(subscriber=person.id))
            self.judge(fired, person, said, accepted)
            sums[person.channel, said.fate if said.certain else "not certain"] += 1
        for name, tally in self.report(fired).channels.items():
            missing = {word: getattr(tally, word) - sums[name, word] for word in SETTLED}
            assert min(missing.values()) >= 0, (fired.id, name, missing)
            assert sum(missing.values()) <= sums[name, "not certain"], (fired.id, name, missing)
        return Counter({fate: sum(n for (_, each), n in sums.items() if each == fate) for _, fate in sums})


def _with(record: S, **changes: Any) -> S:
    return msgspec.structs.replace(record, **changes)


def tell(story: Story, stirred: int, *, briefly: bool = False) -> Counter[str]:
    """Break the ring while campaigns are under way; return the fates of those who were asked about meanwhile.

    ``briefly``: without a node that is lost for ever, a correction, and the crash of everything.
    """
    story.learn()
    story.stir(stirred)
    first = story.fire(ttl=SECONDS_OF_MUTE)
    story.run(first).kill_workers()
    story.ended(first)
    story.stir(stirred)
    second = story.fire(sport=True)
    story.run(second).kill_queue()
    story.ended(second)
    third = story.fire(quiet=QuietRule.DROP)
    story.ended(third)
    fourth = story.fire(quiet=QuietRule.HOLD)
    assert story.ask(fourth, ExplainRequest(subscriber=10**9))[0].fate == "nobody"
    until(lambda: story.report(fourth).reached, "reach of all who are awake", 60, story.words)
    meanwhile = story.draw(100, [fourth])
    story.cancel(fourth)
    fifth = story.fire()
    story.run(fifth).kill_workers()
    story.cancel(fifth)
    story.stir(stirred)
    if briefly:
        return meanwhile
    story.lose(story.fire())
    story.stir(stirred)
    story.correct(story.fire())
    story.stir(stirred)
    story.crash()
    return meanwhile


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--people", type=int, default=2400)
    asked = parser.parse_args()
    print(f"seed {asked.seed}")
    with tempfile.TemporaryDirectory(prefix="broadside-") as folder:
        story = Story(Path(folder), asked.seed, asked.people)
        try:
            story.ring.start()
            meanwhile = tell(story, asked.people // 40)
            print(f"{asked.draws} drawn: {dict(story.draw(asked.draws).most_common())}")
            print(f"while under way: {dict(meanwhile.most_common())}")
            for fired in story.fired:
                print(f"{fired.id}, everybody: {dict(story.all_of(fired).most_common())}")
        finally:
            story.ring.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
