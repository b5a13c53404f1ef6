"""The sample of phones that get an address: who, which, and that a batch is otherwise what it was."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio

from actors.receipt_sampler import ReceiptSampler
from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.presentation import Presentation
from campaigns.receipt import KEY, Receipts, genuine, receipts_in, sample
from campaigns.recipient import Recipient
from transports.contract import Exceptional, Outcomes, Transport
from transports.errors import PayloadError

SECRET = b"k" * 32
RECEIPTS = Receipts(url="https://news.example.com/r/", one_in=10, key=SECRET)
CHANNEL = "ios-news"


def is_sampled(subscriber: int, one_in: int) -> bool:
    return sample([subscriber], one_in) == [0]


class Recorder:
    """A transport that notes what it sends; ``refused``: subscribers whose push is refused."""

    def __init__(self, refused: frozenset[int] = frozenset(), limit: int = 10_000) -> None:
        self.sent: list[Batch] = []
        self.checked = 0
        self._refused = refused
        self._limit = limit

    async def send(self, batch: Batch) -> Outcomes:
        await trio.lowlevel.checkpoint()
        self.sent.append(batch)
        bad = [n for n, phone in enumerate(batch.recipients) if phone.id in self._refused]
        exceptions = [Exceptional(n, Outcome.REJECTED, str(batch.recipients[n].id)) for n in bad]
        return Outcomes(len(batch.recipients) - len(bad), exceptions, slow=len(bad) / 10, put_off=len(bad))

    def check(self, message: Message, presentation: Presentation = Presentation.AWAKE) -> None:
        self.checked += 1
        if sum(map(len, message.data.values())) > self._limit:
            raise PayloadError("too large")


def batch(n: int = 200, **more: object) -> Batch:
    recipients = [Recipient(id, f"{id:064x}", "token", 0, "") for id in range(1, n + 1)]
    made = Batch(7, Message(title="t", body="b"), 1, 4_000_000_000_000, recipients)
    return replace(made, **more)  # type: ignore[arg-type]


def sampler(receipts: Receipts | None = RECEIPTS) -> Callable[[Recorder, Batch], Outcomes]:
    made = ReceiptSampler(CHANNEL, receipts)

    def send(transport: Recorder, sent: Batch) -> Outcomes:
        given: Transport = transport  # type: ignore[assignment]
        return trio.run(made.send, given, sent)

    return send


def test_without_receipts_a_batch_is_sent_as_it_is() -> None:
    """27.6: the very same object, so that body and cost are what they were."""
    transport, given = Recorder(), batch()
    assert sampler(None)(transport, given).delivered == 200
    assert transport.sent == [given]
    assert transport.sent[0] is given
    assert transport.checked == 0


def test_one_phone_in_n_gets_an_address_of_its_own_and_the_others_the_same_message() -> None:
    """27.6"""
    transport, given = Recorder(), batch()
    assert sampler()(transport, given).delivered == 200
    own = [sent for sent in transport.sent if KEY in sent.message.data]
    (rest,) = (sent for sent in transport.sent if KEY not in sent.message.data)
    assert rest.message is given.message
    chosen = {phone.id for phone in given.recipients if is_sampled(phone.id, 10)}
    assert 10 <= len(chosen) <= 30
    assert {phone.id for phone in rest.recipients} == set(range(1, 201)) - chosen
    assert sorted(phone.id for sent in own for phone in sent.recipients) == sorted(chosen)
    addresses = [sent.message.data[KEY] for sent in own]
    assert len(set(addresses)) == len(chosen)
    for to in addresses:
        (receipt,) = receipts_in(to)
        seen = genuine(SECRET, receipt)
        assert seen is not None
        assert (seen.campaign, seen.channel, seen.one_in) == (7, CHANNEL, 10)
    assert transport.checked == 1, "once a message, not once a batch"


def test_no_address_holds_a_token_or_a_subscriber_s_id() -> None:
    """27.6: whoever reads the log learns nothing of the base."""
    transport = Recorder()
    recipients = [Recipient(9_000_000_000 + n, f"{n:064x}", "token", 0, "") for n in range(200)]
    sampler()(transport, batch(recipients=recipients))
    for sent in transport.sent:
        if KEY in sent.message.data:
            (phone,) = sent.recipients
            assert str(phone.id) not in sent.message.data[KEY]
            assert phone.token not in sent.message.data[KEY]
            assert f"{phone.id:x}" not in sent.message.data[KEY]


def test_outcomes_are_those_of_the_batch_by_its_own_indexes() -> None:
    """27.6"""
    given = batch()
    refused = frozenset({3, 40, next(id for id in range(1, 201) if is_sampled(id, 10))})
    outcomes = sampler()(Recorder(refused), given)
    assert outcomes.delivered == 200 - len(refused)
    assert {given.recipients[entry.index].id for entry in outcomes.exceptions} == refused
    assert {entry.reason for entry in outcomes.exceptions} == {str(id) for id in refused}
    assert outcomes.put_off == len(refused)


def test_stragglers_are_told_by_the_batch_s_own_indexes() -> None:
    """27.6: who is of the sample and not answered yet is not settled as delivered."""
    told: list[set[int]] = []
    given = batch(stragglers=told.append)

    class Late(Recorder):
        async def send(self, sent: Batch) -> Outcomes:
            if KEY not in sent.message.data:
                await trio.testing.wait_all_tasks_blocked()
                sent.stragglers({0, 1})
            else:
                await trio.sleep(0.05)
            return await super().send(sent)

    sampler()(Late(), given)
    chosen = {n for n, phone in enumerate(given.recipients) if is_sampled(phone.id, 10)}
    others = [n for n in range(200) if n not in chosen]
    assert told == [chosen | {others[0], others[1]}]


def test_who_of_the_sample_was_refused_is_not_told_as_delivered() -> None:
    """27.6: what is not among the stragglers is settled as delivered."""
    told: list[set[int]] = []
    given = batch(stragglers=told.append)
    refused = next(n for n, phone in enumerate(given.recipients) if is_sampled(phone.id, 10))

    class Late(Recorder):
        async def send(self, sent: Batch) -> Outcomes:
            if KEY not in sent.message.data:
                await trio.sleep(0.05)
                sent.stragglers({0})
            return await super().send(sent)

    sampler()(Late(frozenset({given.recipients[refused].id})), given)
    assert told == [{refused, next(n for n, phone in enumerate(given.recipients) if not is_sampled(phone.id, 10))}]


@pytest.mark.parametrize(("data", "limit"), [({KEY: "the newsroom's own"}, 10_000), ({}, 20)])
def test_a_message_without_room_for_an_address_is_sent_without_one(data: dict[str, str], limit: int) -> None:
    """27.6: the news goes before the figure."""
    given = batch(message=Message(title="t", body="b", data=data))
    transport = Recorder(limit=limit)
    assert sampler()(transport, given).delivered == 200
    assert transport.sent == [given]
