"""The reporter: copies this node's outbox lines into the store's ledger, in order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import structlog
import trio

from actors.messages import FENCED_PAUSE
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from storage.errors import LinkLost, VerbRefused
from storage.store import Store
from storage.tubes import Tubes

log = structlog.get_logger(__name__)

LINES_A_REPORT = 100
LAST_DEADLINE = 3.0
"""Seconds that a stop allows for the last lines. Lines not reported by then wait in the outbox for the next start."""


class Reporter:
    """One per node. A line is repeated until the ledger has it; the ledger takes each number once."""

    def __init__(self, *, node: str, tubes: Tubes, store: Store, clock: Clock) -> None:
        self._node = node
        self._tubes = tubes
        self._store = store
        self._clock = clock
        self._stopping = False
        self._polling = trio.CancelScope()
        self._known = (0, 0)  # an epoch, and the last of its lines that the ledger has: the next read deletes them

    async def run(self, ready: Callable[[], None]) -> None:
        """Report until stopped, then report what the settlers left."""
        ready()
        while not self._stopping:
            await self._report(*await self._read())
        with trio.move_on_after(LAST_DEADLINE):
            while (owed := await self._read(wait=False))[1]:
                await self._report(*owed)

    def stop(self) -> None:
        """Report what is there, then stop."""
        self._stopping = True
        self._polling.cancel()

    async def _read(self, *, wait: bool = True) -> tuple[int, list[list[Any]]]:
        # its own scope: a stop ends the long poll; nothing is lost, lines stay until the ledger has them
        self._polling = trio.CancelScope()
        with self._polling:
            try:
                return await self._tubes.outbox_read(LINES_A_REPORT, wait=wait, known=self._known)
            except LinkLost:
                return 0, []
        return 0, []

    async def _report(self, epoch: int, lines: list[list[Any]]) -> None:
        if not lines:
            return
        try:
            upto = await self._store.report(self._node, epoch, lines, self._clock())
        except VerbRefused as error:
            log.warning("a report is refused: each line is reported by itself", lines=len(lines), error=error.text)
            upto = await self._one_by_one(epoch, lines)
        if upto is None:
            log.warning("the ledger refuses this node's report: its epoch is not current", node=self._node, epoch=epoch)
            await trio.sleep(FENCED_PAUSE)
        else:
            self._known = (epoch, upto)

    async def _one_by_one(self, epoch: int, lines: list[list[Any]]) -> int | None:
        """Report each line alone. A line that the ledger refuses is cut down or left out: it must not block others."""
        upto: int | None = None
        for number, line in lines:
            for words in (line, {**line, "reasons": {}, "dead": [], "answers": []}, {"kind": "void"}):
                try:
                    upto = await self._store.report(self._node, epoch, [[number, words]], self._clock())
                    break
                except VerbRefused as error:
                    log.error(
                        "the ledger refuses a line; without it the campaign may not end by itself",
                        line=number,
                        campaign=campaign_text(line["campaign"]),
                        error=error.text,
                    )
            if upto is None:
                return None
        return upto
