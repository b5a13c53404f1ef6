"""The audit: who changed what, when, kept in the store for a year and only ever added to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import structlog

from broadside.access.keyring import Holder
from broadside.api.access_records import AuditEntry, AuditPage
from campaigns.clock import Clock, wall_clock
from storage.access import AccessStore, AuditRow
from storage.errors import StorageError

log = structlog.get_logger(__name__)

LONGEST_TEXT = 80
"""Characters of a text of the request, and entries of a list, that an entry has: enough to know it again."""


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


def noted(body: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return the fields of a decoded ``body`` that were given, by their ``names`` with dots, shortened."""
    plain, found = msgspec.to_builtins(body), dict[str, Any]()
    for name in names:
        value = plain
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[name] = _short(value)
    return found


def _short(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= LONGEST_TEXT else value[: LONGEST_TEXT - 1] + "…"
    if isinstance(value, list) and len(value) > LONGEST_TEXT:
        return [*map(_short, value[: LONGEST_TEXT - 1]), f"… {len(value):,} in all"]
    return list(map(_short, value)) if isinstance(value, list) else value
