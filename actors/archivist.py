"""Retention: writes the ledgers of campaigns that ended long ago to archives, then has the store delete them."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import structlog
import trio

from actors.periodic import Periodic
from campaigns.campaign import Campaign
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from storage.errors import LinkLost, VerbRefused
from storage.records import Cursor, LedgerPage, PageAnswer
from storage.store import Store
from storage.whole_file import write_whole

log = structlog.get_logger(__name__)

LOOK_EVERY = 60.0
"""Seconds between two looks while nothing is due."""
AGAIN_AFTER = 5.0
"""Seconds until a step that the store did not answer, or refused, is tried again."""
STEP_PAUSE = 0.01
"""Seconds between two steps of a deletion: other calls go first."""


class Archivist(Periodic):
    """One per node. Of several that find the same campaign, the store lets one write its archive.

    ``folder``: where this node's archives are; ``keep``: ms after its end until a campaign's ledger leaves the store.
    """

    def __init__(self, *, node: str, store: Store, folder: Path, keep: int, clock: Clock) -> None:
        super().__init__()
        self._node = node
        self._store = store
        self._folder = folder
        self._keep = keep
        self._clock = clock

    async def look(self) -> float:
        """Let some of the oldest ledgers that are due leave the store, beside each other; the next follow at once."""
        pauses = [0.0]

        async def leave(id: int, archived: bool) -> None:
            pauses.append(await self._leave(id, archived))

        try:
            due = await self._store.retention_due(self._node, self._keep, self._clock())
        except (LinkLost, VerbRefused) as error:
            log.debug("no ledger leaves the store for now", error=str(error))
            return AGAIN_AFTER
        async with trio.open_nursery() as nursery:
            for id, archived in due:
                nursery.start_soon(leave, id, archived)
        return max(pauses) if due else LOOK_EVERY

    async def _leave(self, id: int, archived: bool) -> float:
        """Write a ledger's archive and have its rows deleted; returns the seconds until it is tried again."""
        try:
            if not archived:
                await self._archive(id)
            while await self._store.retention_drop(id):  # noqa: ASYNC110 - each call is a step
                await trio.sleep(STEP_PAUSE)
        except (LinkLost, VerbRefused) as error:
            log.debug("a ledger stays in the store for now", campaign=campaign_text(id), error=str(error))
            return AGAIN_AFTER
        except OSError as error:
            log.warning("an archive cannot be written: its campaign's ledger stays in the store", error=str(error))
            return LOOK_EVERY
        return 0.0

    async def _archive(self, id: int) -> None:
        campaign = await self._store.campaign_timed(id)
        assert campaign is not None, "its ledger is due"
        pages, cursors = await self._store.campaign_pages(id), await self._store.campaign_cursors(id)
        listed, answers = await self._store.campaign_listed(id), await self._store.campaign_answers(id)
        path = self._folder / f"{campaign_text(id)}.ndjson.gz"
        sha256 = await trio.to_thread.run_sync(_write, path, campaign, listed, cursors, pages, answers)
        if await self._store.retention_archived(id, self._node, sha256, self._clock()):
            log.info("a campaign's ledger is archived, and leaves the store", file=str(path), pages=len(pages))


def _records(
    campaign: Campaign,
    listed: list[int] | None,
    cursors: list[Cursor],
    pages: list[LedgerPage],
    answers: list[PageAnswer],
) -> Iterator[dict[str, Any]]:
    yield {"kind": "campaign", **msgspec.to_builtins(campaign), "id": campaign_text(campaign.id)}
    if listed is not None:
        yield {"kind": "listed", "ids": listed}
    for cursor in cursors:
        yield {"kind": "segment", **cursor._asdict()}
    for page in pages:
        yield {"kind": "page", **page._asdict()}
    for answer in answers:
        yield {"kind": "answer", **answer._asdict()}


def _write(
    path: Path,
    campaign: Campaign,
    listed: list[int] | None,
    cursors: list[Cursor],
    pages: list[LedgerPage],
    answers: list[PageAnswer],
) -> str:
    """Write an archive so that it is there as a whole or not at all; returns the file's SHA-256."""
    lines = (msgspec.json.encode(record) + b"\n" for record in _records(campaign, listed, cursors, pages, answers))
    content = gzip.compress(b"".join(lines), mtime=0)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()
