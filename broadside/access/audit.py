"""The audit: who changed what, when, kept in the store for a year and only ever added to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from broadside.access.keyring import Holder
from broadside.api.access_records import AuditEntry, AuditPage
from campaigns.clock import Clock, wall_clock
from storage.access import AccessStore, AuditRow
from storage.errors import StorageError

log = structlog.get_logger(__name__)


class Audit:
    """One node's access to the audit."""

    def __init__(self, store: AccessStore, node: str, clock: Clock = wall_clock) -> None:
        self._store = store
        self._node = node
        self._clock = clock

    async def record(self, holder: Holder, action: str, about: str, status: int, detail: Mapping[str, Any]) -> None:
        """Add an entry. What the store does not take is in the log, so that nothing is done without a trace."""
        entry = AuditRow(
            0, self._clock(), self._node, holder.id, holder.name, action, about[:200], status, dict(detail)
        )
        try:
            await self._store.record(entry)
        except StorageError as error:
            log.warning("an entry of the audit is not in the store", entry=entry._asdict(), why=str(error))

    async def page(self, before: int | None, limit: int) -> AuditPage:
        """Return entries numbered below ``before``, the newest first."""
        rows = await self._store.audit(before, limit)
        entries = [AuditEntry(**row._asdict()) for row in rows]
        more = len(rows) == limit and rows[-1].number > 1
        return AuditPage(entries=entries, next=str(rows[-1].number) if more else None)
