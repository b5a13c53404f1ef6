"""Nobody ends for a fault that was not theirs: drawn faults of a provider over the life of a piece of news.

The consumer, the transport actor, the settler and both platforms' transports are real, on a virtual clock. In memory
are the queue, which puts remainders back as ``tubes.settle`` does, and the connections, which answer by the schedule.
"""

from __future__ import annotations

import heapq
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from campaigns.outcome import Fault, Outcome
from storage.records import Settlement
from tests.actors.channel_group import Group, MemoryTubes
from tests.draws import drawn
from transports.apns import outcomes as apns_outcomes
from transports.apns.credentials import ProviderToken
from transports.apns.transport import ApnsTransport
from transports.dispatch import Dispatch
from transports.fcm import outcomes as fcm_outcomes
from transports.fcm.transport import FcmTransport
from transports.http2.connection import Origin
from transports.http2.messages import UNANSWERED, UNPROCESSED, Answer, Request

LIFE = 3600.0
"""Seconds of the news."""
SPARE = 360.0
"""Seconds before its end by which the last fault is over: a channel's longest pause, a probe, and the way."""
DEADLINE = 20.0
AWAY = -99
"""In place of a status: no connection."""


def google(status: int, word: str = "", code: str = "") -> tuple[int, bytes]:
    detail = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}] if code else []
    return status, json.dumps({"error": {"status": word, "message": "m", "details": detail}}).encode()


def apple(status: int, reason: str) -> tuple[int, bytes]:
    return status, b'{"reason":"%s"}' % reason.encode()


ANYWHERE = [(UNANSWERED, b""), (UNPROCESSED, b""), (AWAY, b""), (500, b""), (502, b"<html>"), (408, b"")]
APPLE = [
    *ANYWHERE,
    apple(500, "InternalServerError"),
    apple(503, "ServiceUnavailable"),
    apple(503, "Shutdown"),
    apple(429, "TooManyProviderTokenUpdates"),
    (429, b""),
    apple(400, "IdleTimeout"),
    apple(403, "UnrelatedKeyIdInToken"),
    apple(403, "ExpiredProviderToken"),
    apple(403, "InvalidProviderToken"),
    apple(400, "TopicDisallowed"),
]
GOOGLE = [
    *ANYWHERE,
    google(500, "INTERNAL", "INTERNAL"),
    google(503, "UNAVAILABLE", "UNAVAILABLE"),
    google(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"),
    google(401, "UNAUTHENTICATED"),
    google(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
    google(403, "PERMISSION_DENIED"),
    google(404, "NOT_FOUND"),
]


@dataclass
class Spell:
    """A time in which a share of the pushes is answered otherwise."""

    start: float
    end: float
    answer: tuple[int, bytes]
    share: float
    retry_after: bytes | None


class Weather:
    """In a pool's place: what the network and the provider do to a batch under way, by the schedule."""

    def __init__(self, spells: list[Spell]) -> None:
        self.spells = spells
        self.origin = Origin("provider", 443)
        self.outage: str | None = None
        self.began = trio.current_time()
        self.ended = trio.Event()

    async def run(self, ready: Any) -> None:
        ready()
        await self.ended.wait()

    def stop(self) -> None:
        self.ended.set()

    async def submit(self, dispatch: Dispatch) -> None:
        await trio.sleep(0.05)
        now = trio.current_time() - self.began
        spell = next((each for each in self.spells if each.start <= now < each.end), None)
        if spell is not None and spell.answer[0] == AWAY:
            await trio.sleep_until(dispatch.begin_until)
            dispatch.withdraw("not connected")
            return
        template = dispatch.template()
        silent = False
        while dispatch.unsent:
            row = dispatch.rows[dispatch.cursor]
            dispatch.cursor += 1
            request = Request(*row)
            hit = spell is not None and (row[0] % 10) / 10 < spell.share
            if not hit:
                dispatch.accept(1)
                continue
            assert spell is not None
            silent = silent or spell.answer[0] == UNANSWERED
            status, body = spell.answer
            dispatch.answer(Answer(dispatch, request, template, status, body, spell.retry_after))
        if silent:
            await trio.sleep(DEADLINE)


@dataclass(order=True)
class Due:
    at: float
    id: int
    data: Any = field(compare=False)


class Tubes(MemoryTubes):
    """Also puts remainders back, and counts who ended how."""

    def __init__(self, batches: int, size: int) -> None:
        super().__init__(batches, size)
        self.delayed: list[Due] = []
        self.ends: Counter[str] = Counter()
        self.next = 1000
        for _, data in self.ready:
            data[7] = int(LIFE * 1000)

    async def batch_take(self, channel: str, most: int, *, upper: bool = False) -> list[tuple[int, int, Any]]:
        with trio.move_on_after(2.0):
            while not self.ready and not (self.delayed and self.delayed[0].at <= trio.current_time()):  # noqa: ASYNC110
                await trio.sleep(0.5)
        while self.delayed and self.delayed[0].at <= trio.current_time():
            due = heapq.heappop(self.delayed)
            self.ready.append((due.id, due.data))
        return await super().batch_take(channel, most, upper=upper)

    async def settle(self, channel: str, settlements: list[Settlement]) -> list[bool]:
        for one in settlements:
            data = self.taken[one.task_id]
            self.ends.update({name: n for name, n in one.tallies.items() if name not in ("retried", "unsure")})
            assert len(one.remainders) <= 12
            for rest in one.remainders:
                self.next += 1
                batch = [*data[:5], -self.next, rest.attempt, *data[7:-2], rest.size, rest.recipients]
                heapq.heappush(self.delayed, Due(trio.current_time() + rest.delay, self.next, batch))
        return await super().settle(channel, settlements)


def apns(weather: Any, clock: Any) -> ApnsTransport:
    token = ProviderToken(ec.generate_private_key(ec.SECP256R1()), "ABCDE12345", "TEAM123456")
    return ApnsTransport("com.example.news", token, weather, clock)


class Granted:
    """In an access token's place: there is one, always."""

    value = b"Bearer x"
    fault = outage = missing_since = None

    def missing(self, provider: str) -> None: ...

    async def beside(self, work: Any) -> None:
        await work()

    async def wait_for(self, batch: object, now: int, provider: str) -> None:
        await trio.lowlevel.checkpoint()

    def renew(self, refused: bytes) -> None: ...

    def close(self) -> None: ...


def fcm(weather: Any, clock: Any) -> FcmTransport:
    token: Any = Granted()
    return FcmTransport("news-1a2b3", token, weather, clock)


def life(build: Any, spells: list[Spell], batches: int = 2, size: int = 20) -> Counter[str]:
    """How many ended how, when the news is over."""
    ends: Counter[str] = Counter()

    async def scenario() -> None:
        began = trio.current_time()
        clock = lambda: round(1000 * (trio.current_time() - began))  # noqa: E731
        tubes, weather = Tubes(batches, size), Weather(spells)
        group = Group(tubes, build(weather, clock), clock=clock)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(group.run, LIFE + 120)
            while tubes.ends.total() < batches * size and trio.current_time() < began + LIFE + 60:  # noqa: ASYNC110
                await trio.sleep(1)
            ends.update(tubes.ends)
            nursery.cancel_scope.cancel()

    trio.run(scenario, clock=MockClock(autojump_threshold=0))
    return ends


def spells(answers: list[tuple[int, bytes]]) -> st.SearchStrategy[list[Spell]]:
    """Spells one after the other; the last is over before the news is."""

    def laid(drawn: list[tuple[float, float, tuple[int, bytes], float, bytes | None]]) -> list[Spell]:
        total = sum(pause + length for pause, length, *_ in drawn)
        scale = min(1.0, (LIFE - SPARE) / total) if total else 1.0
        at, laid = 0.0, []
        for pause, length, answer, share, retry_after in drawn:
            laid.append(Spell(at + pause * scale, at + (pause + length) * scale, answer, share, retry_after))
            at = laid[-1].end
        return laid

    spell = st.tuples(
        st.floats(0, 600) | st.just(0.0),
        st.floats(1, 3000),
        st.sampled_from(answers),
        st.sampled_from([0.1, 0.5, 1.0]),
        st.sampled_from([None, b"1", b"600", b"86400"]),
    )
    return st.lists(spell, min_size=1, max_size=6).map(laid)


@pytest.mark.timeout(300)
@settings(max_examples=drawn(12))
@given(spells(APPLE))
def test_no_fault_of_apple_that_ends_before_the_news_ends_anybody(faults: list[Spell]) -> None:
    """B2: two minutes of REFUSED_STREAM, five of silence or seven of token updates ended recipients for ever."""
    assert life(apns, faults) == {"delivered": 40}


@pytest.mark.timeout(300)
@settings(max_examples=drawn(12))
@given(spells(GOOGLE))
def test_no_fault_of_google_that_ends_before_the_news_ends_anybody(faults: list[Spell]) -> None:
    """B2, C2: and no Retry-After of a day either."""
    assert life(fcm, faults) == {"delivered": 40}


@pytest.mark.parametrize("build", [apns, fcm])
def test_a_fault_that_lasts_as_long_as_the_news_ends_everybody_as_expired(build: Any) -> None:
    """B2: remainders end. And a phone whose pushes are never answered is asked some dozen times in an hour."""
    assert life(build, [Spell(0, LIFE, (UNANSWERED, b""), 1.0, None)], batches=1) == {"expired": 20}


@pytest.mark.parametrize("status", [408, 421, 425, 429, 500, 501, 502, 503, 504])
def test_what_a_provider_answers_when_it_is_unwell_is_nobodys_own(status: int) -> None:
    """B2: the tables' class for each answer that is not about one phone."""
    for decision in (
        apns_outcomes.decide(status, ""),
        apns_outcomes.decide(status, "SomethingNew"),
        fcm_outcomes.decide(status, fcm_outcomes.Refusal()),
        fcm_outcomes.decide(status, fcm_outcomes.Refusal(status="NEW", error_code="NEW")),
    ):
        assert decision.outcome is Outcome.RETRY
        assert decision.fault in (Fault.CHANNEL, Fault.MOMENT)


def test_every_documented_answer_of_apple_has_its_class() -> None:
    own = {
        "BadDeviceToken", "DeviceTokenNotForTopic", "ExpiredToken", "Forbidden", "MissingDeviceToken",
        "TooManyRequests", "Unregistered",
    }  # fmt: skip
    moment = {"IdleTimeout", "InternalServerError", "ServiceUnavailable", "Shutdown"}
    for reason in apns_outcomes.REASONS:
        fault = apns_outcomes.decide(apns_outcomes._STATUS_OF[reason], reason, 1).fault
        wanted = Fault.PHONE if reason in own else Fault.MOMENT if reason in moment else Fault.CHANNEL
        assert (reason, fault) == (reason, wanted)
