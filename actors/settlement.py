"""Writes settlements. A settlement that the queue refuses is written again with less in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

import structlog
import trio

from actors.gate import Gate
from actors.messages import FULL_PAUSE
from actors.poison import LONGEST_WHY, is_outage
from storage.errors import LinkLost, OutOfMemory
from storage.records import Settlement
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

T = TypeVar("T")


class SettlementWriter:
    """Writes one channel's settlements, and pauses the channel while the queue is out of reach.

    A settlement that cannot be written must not block the others, and its batch must not be sent again. So it is
    written by itself, then without reasons and dead tokens; if even that is refused, its batch is buried.
    """

    def __init__(self, tubes: Tubes, channel: str, gate: Gate) -> None:
        self._tubes = tubes
        self._channel = channel
        self._gate = gate

    async def write(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Return for each whether the take was still ours. Waits out a queue that is out of reach or out of memory."""
        try:
            return await self._insist(partial(self._tubes.settle, self._channel, settlements))
        except Exception as error:
            if is_outage(error):
                raise
            log.warning("settlements refused: each is written by itself", channel=self._channel, error=str(error))
        return [await self._alone(settlement) for settlement in settlements]

    async def bury(self, id: int, number: int, why: str) -> None:
        """Bury a batch that was sent and cannot be settled."""
        log.error("batch buried", channel=self._channel, task=id, why=why)
        try:
            await self._insist(partial(self._tubes.batch_bury, self._channel, id, number, why, sent=True))
        except Exception as error:
            if is_outage(error):
                raise
            # its lease runs out and it is sent again; the queue counts that, and buries it the fifth time
            log.exception("a batch that cannot be settled cannot be buried either", channel=self._channel, task=id)

    async def _alone(self, settlement: Settlement) -> bool:
        why = ""
        for words in ([settlement], [replace(settlement, reasons={}, dead=[], answers=())]):
            try:
                (ours,) = await self._insist(partial(self._tubes.settle, self._channel, words))
            except Exception as error:
                if is_outage(error):
                    raise
                why = f"its settlement cannot be written: {error}"[:LONGEST_WHY]
                log.warning("settlement refused", channel=self._channel, task=settlement.task_id, error=str(error))
            else:
                return ours
        await self.bury(settlement.task_id, settlement.number, why)
        return True

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        while True:
            try:
                answer = await call()
            except LinkLost as error:
                self._gate.settlement_failed()
                log.warning("settlement failed, tried again", channel=self._channel, error=str(error))
            except OutOfMemory as error:
                self._gate.settlement_failed()
                log.warning("no memory for a settlement, tried again", channel=self._channel, error=error.text)
                await trio.sleep(FULL_PAUSE)
            else:
                self._gate.settlement_succeeded()
                return answer
