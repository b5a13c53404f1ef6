"""One batch under way, without a network."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import trio

from campaigns.outcome import Fault, Outcome
from transports.decision import Decision, Then
from transports.dispatch import Dispatch
from transports.http2.messages import Answer, Request, Template

TEMPLATE = Template(b"localhost", b"/3/device/", ())
EXPIRED = Decision(
    Outcome.POSTPONED, "ExpiredProviderToken", stop="the key is refused", then=Then.RENEW, fault=Fault.CHANNEL
)


class Refusing:
    """In a pool's place: refuses each request of the first submission, and accepts all later ones."""

    def __init__(self):
        self.submissions = []

    async def submit(self, dispatch):
        await trio.lowlevel.checkpoint()
        rows, dispatch.cursor = dispatch.rows, len(dispatch.rows)
        self.submissions.append(len(rows))
        if len(self.submissions) > 1:
            dispatch.accept(len(rows))
            return
        for row in rows:
            dispatch.answer(Answer(dispatch, Request(*row), TEMPLATE, 403, b"", None))


def made(batch, decide=lambda answer, attempt: EXPIRED):
    rows = [(key, b"aa", b"", b"{}", ()) for key in range(len(batch.recipients))]
    return Dispatch(batch, rows, lambda: TEMPLATE, decide, lambda answer, then: True)


async def test_what_was_refused_for_the_credential_goes_out_again_in_the_same_dispatch(make_batch):
    pool = Refusing()
    outcomes = await made(make_batch(5)).run(pool)
    assert (outcomes.delivered, outcomes.exceptions, outcomes.stop) == (5, [], None)
    assert pool.submissions == [5, 5]


async def test_a_settled_batch_is_freed_without_the_garbage_collector(make_batch):
    dispatch = made(make_batch(5))
    gone = weakref.ref(dispatch)
    gc.collect()
    gc.disable()
    try:
        await dispatch.run(Refusing())
        del dispatch
        assert gone() is None
    finally:
        gc.enable()


def test_an_answer_names_why_its_connection_takes_nothing_more(make_batch):
    reconnect = Decision(Outcome.RETRY, "Shutdown", then=Then.RECONNECT)
    refused = Decision(Outcome.DEAD, "Unregistered")
    dispatch = made(make_batch(2), lambda answer, attempt: reconnect if answer.status == 503 else refused)
    first, second = [Request(*row) for row in dispatch.rows]
    assert dispatch.answer(Answer(dispatch, first, TEMPLATE, 503, b"", None)) == "Shutdown"
    assert dispatch.answer(Answer(dispatch, second, TEMPLATE, 410, b"", None)) is None
    assert dispatch.done.is_set()


def test_requests_that_are_answered_are_let_go_of_while_a_late_answer_keeps_their_batch(make_batch):
    """24: a worker held every request of some two hundred batches for the two seconds of their last answers."""
    told = []
    batch = replace(make_batch(50), stragglers=told.append)
    dispatch = made(batch, lambda answer, attempt: Decision(Outcome.DEAD, "Unregistered"))
    dispatch.cursor = 50
    dispatch.accept(48)
    late = [dispatch.rows[key] for key in (7, 31)]
    dispatch.stragglers([7, 31])
    assert told == [{7, 31}]
    assert [row for row in dispatch.rows if row[1]] == late
    assert dispatch.rows[31] is late[1], "a late one is found where it was"
    refused = Answer(dispatch, Request(*late[0]), TEMPLATE, 410, b"", None)
    dispatch.answer(refused)
    dispatch.accept(1)
    assert dispatch.done.is_set()
    assert [entry.index for entry in dispatch.outcomes.exceptions] == [7]
