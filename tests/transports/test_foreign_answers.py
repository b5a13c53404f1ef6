"""Whatever a provider answers, it ends one recipient at most, and nothing of it is more than we can write down."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.outcome import Outcome
from transports import foreign
from transports.apns import outcomes as apns
from transports.fcm import outcomes as fcm

NOW = 1_800_000_000_000
DAY = 86_400_000
COUNTED = re.compile(r"[A-Za-z0-9_ .-]{1,40}")
DEEP = b'{"reason":' + b"[" * 3_000 + b"]" * 3_000 + b"}"

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(st.none() | st.booleans() | numbers | st.text(max_size=200), lambda inner: st.lists(inner))
apple_bodies = st.fixed_dictionaries({}, optional={"reason": values, "timestamp": values}).map(json.dumps)
details = st.fixed_dictionaries(
    {"@type": st.sampled_from(["x/google.firebase.fcm.v1.FcmError", "x/google.rpc.BadRequest", "?"])},
    optional={"errorCode": values, "fieldViolations": st.lists(st.dictionaries(st.just("field"), values), max_size=20)},
)
google_bodies = st.fixed_dictionaries(
    {"error": st.fixed_dictionaries({}, optional={"status": values, "message": values, "details": st.lists(details)})}
).map(json.dumps)
bodies = (apple_bodies | google_bodies).map(str.encode) | st.binary(max_size=300)
statuses = st.integers(300, 999)


@given(statuses, bodies)
def test_of_apples_answers_only_words_and_times_of_our_age_go_further(status: int, body: bytes) -> None:
    """S1, S6."""
    reason, timestamp = apns.parse(body, NOW)
    decision = apns.decide(status, reason, timestamp)
    assert COUNTED.fullmatch(decision.reason)
    assert decision.unregistered_at is None or 0 <= decision.unregistered_at <= NOW + DAY
    assert decision.after <= 86_400


@given(statuses, bodies)
def test_of_googles_answers_only_words_go_further(status: int, body: bytes) -> None:
    """S1, S6: an errorCode of 15 KB, once for each of 500 recipients, made a settlement larger than a tuple may be."""
    decision = fcm.decide(status, fcm.parse(body))
    assert COUNTED.fullmatch(decision.reason)
    assert len(decision.stop or "") < 500


@pytest.mark.parametrize("stamp", [2**64, 2**63, -1, NOW + DAY + 1, 1.5, True, "soon"])
def test_a_time_that_cannot_be_is_as_good_as_none(stamp: object) -> None:
    """S1: one such time made a whole settlement impossible to write."""
    body = json.dumps({"reason": "Unregistered", "timestamp": stamp}).encode()
    assert apns.parse(body, NOW) == ("Unregistered", None)
    assert foreign.timestamp(NOW + DAY, NOW) == NOW + DAY


def test_a_body_that_is_nested_too_deeply_is_no_more_than_unreadable() -> None:
    """S7."""
    assert apns.parse(DEEP, NOW) == ("", None)
    assert fcm.parse(DEEP).error_code == ""


async def test_answers_of_every_kind_end_their_own_recipients(peer, make_apns, make_batch, running):
    """S1, S7: each of these once ended a batch, or the channel."""
    odd = [
        DEEP,
        b'{"reason":"Unregistered","timestamp":18446744073709551616}',
        b'{"reason":"Unregistered","timestamp":' + b"9" * 400 + b"}",
        b'{"reason":"' + b"x" * 15_000 + b'"}',
        b'{"reason":"request 8f-11: \xff"}',
        b"\x00" * 5000,
        b"",
    ]
    peer.answer = lambda seen: (410, {}, odd[int(seen.token, 16)]) if int(seen.token, 16) < 7 else (200, {}, b"")
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(10))
    assert (outcomes.delivered, outcomes.stop) == (3, None)
    assert {e.outcome for e in outcomes.exceptions} == {Outcome.DEAD}
    assert {e.reason for e in outcomes.exceptions} == {"HTTP 410", "Unregistered"}
    assert {e.unregistered_at for e in outcomes.exceptions} == {None}


async def test_an_answer_that_cannot_be_judged_rejects_its_recipient_alone(
    peer, make_apns, make_batch, running, monkeypatch, reason
):
    """S7: any exception of a judge is one recipient's, never the batch's."""
    decide = apns.decide

    def defective(status, *rest):
        if status == 418:
            raise LookupError("a defect in the table")
        return decide(status, *rest)

    monkeypatch.setattr(apns, "decide", defective)
    peer.answer = lambda seen: reason(418, "Teapot") if seen.token[-1] == "7" else (200, {}, b"")
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(32))
        assert (await transport.send(make_batch(1))).delivered == 1, "the connection goes on"
    assert outcomes.delivered == 30
    assert [(e.index, e.outcome, e.reason) for e in outcomes.exceptions] == [
        (0x07, Outcome.REJECTED, "unreadable answer"),
        (0x17, Outcome.REJECTED, "unreadable answer"),
    ]
