"""Sends a batch, and gives the phones of the sample an address of their own to open (docs/delivery-truth.md)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import trio

from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.presentation import Presentation
from campaigns.receipt import KEY, Receipts, address, sample
from transports.contract import Outcomes, Transport
from transports.errors import PayloadError

REMEMBERED = 32
"""Messages of which it is known whether there is room for an address."""


class ReceiptSampler:
    """``receipts``: None: nobody has an address, and every batch is sent as it is."""

    def __init__(self, channel: str, receipts: Receipts | None) -> None:
        self._channel = channel
        self._receipts = receipts
        self._room: dict[tuple[int, int, Presentation], bool] = {}

    async def send(self, transport: Transport, batch: Batch) -> Outcomes:
        """Send a batch (``Transport.send``). Phones of the sample get a message of their own, beside the others."""
        receipts = self._receipts
        if receipts is None:
            return await transport.send(batch)
        chosen = sample([phone.id for phone in batch.recipients], receipts.one_in)
        if not chosen or not self._has_room(transport, batch, receipts):
            return await transport.send(batch)
        waiting, outcomes = set(chosen), Outcomes()  # waiting: of the sample, without a delivery so far
        rest = sorted(set(range(len(batch.recipients))) - waiting)

        def stragglers(left: set[int]) -> None:
            batch.stragglers({rest[index] for index in left} | waiting)

        async def send(indexes: list[int], message: Message, heard: Callable[[set[int]], None]) -> None:
            part = replace(batch, recipients=[batch.recipients[n] for n in indexes], message=message, stragglers=heard)
            found = await transport.send(part)
            _add(outcomes, found, indexes)
            waiting.difference_update(set(indexes) - {indexes[entry.index] for entry in found.exceptions})

        async with trio.open_nursery() as nursery:
            if rest:
                nursery.start_soon(send, rest, batch.message, stragglers)
            for index in chosen:
                to = address(receipts, batch.campaign, self._channel, batch.recipients[index].id)
                nursery.start_soon(send, [index], _with(batch.message, to), _nobody)
        return outcomes

    def _has_room(self, transport: Transport, batch: Batch, receipts: Receipts) -> bool:
        """Whether a message can carry an address: it has no data under that name, and stays small enough."""
        key = batch.campaign, batch.texts, batch.presentation
        known = self._room.get(key)
        if known is None:
            while len(self._room) >= REMEMBERED:
                del self._room[next(iter(self._room))]
            known = self._room[key] = KEY not in batch.message.data and _fits(transport, batch, receipts, self._channel)
        return known


def _fits(transport: Transport, batch: Batch, receipts: Receipts, channel: str) -> bool:
    try:
        transport.check(_with(batch.message, address(receipts, batch.campaign, channel, 0)), batch.presentation)
    except PayloadError:
        return False
    return True


def _with(message: Message, to: str) -> Message:
    return msgspec.structs.replace(message, data={**message.data, KEY: to})


def _nobody(left: set[int]) -> None:
    """One phone has no stragglers."""


def _add(outcomes: Outcomes, found: Outcomes, indexes: list[int]) -> None:
    outcomes.delivered += found.delivered
    outcomes.exceptions += [entry._replace(index=indexes[entry.index]) for entry in found.exceptions]
    outcomes.stop = outcomes.stop or found.stop
    outcomes.slow = max(outcomes.slow, found.slow)
    outcomes.put_off += found.put_off
