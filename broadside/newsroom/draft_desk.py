"""Keeps drafts for editors, and fires each at most once."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import UNSET

from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.draft_records import DraftChange, DraftLine, DraftPage, DraftRecord
from broadside.api.report_text import instant
from broadside.api.v1.cursors import number, page, read_cursor
from broadside.errors import Conflict, FireFailed, Problem, RecordError, shown
from broadside.newsroom.firing import KeyReused
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from storage.drafts import OWNER, DraftRow, DraftStore

KEEP = 28 * 86_400_000
"""Ms after its last change for which the store keeps a draft (``drafts.lua``)."""
LARGEST_DRAFT = 96 * 1024
"""Bytes as JSON: all texts and options that a campaign may have."""
TITLE = 200
"""Characters of a title in lists."""
_LIST = "`GET /v1/drafts` lists them"
_ANOTHER = "for another campaign begin a new draft"

Fire = Callable[[FireRequest, str | None, str], Awaitable[CampaignReport]]
"""Fires a request once under a key that belongs to an owner: ``Newsroom.fire``."""


class DraftDesk:
    """All editors' drafts: any editor may go on with any of them."""

    def __init__(self, store: DraftStore, clock: Clock, zone: str | None = None) -> None:
        """``zone``: the newsroom's time zone."""
        self._store = store
        self._zone = zone
        self._clock = clock

    async def create(self, request: FireRequest, by: str, key: str | None, owner: str) -> DraftRecord:
        """Keep a request as a new draft, once under the same ``key``."""
        seed = secrets.token_bytes(8) if key is None else hashlib.sha256(f"{owner}\0{key}".encode()).digest()[:8]
        id = base64.b32encode(seed).decode().rstrip("=").lower()
        return await self.save(id, DraftChange(version=0, request=request), by)

    async def save(self, id: str, change: DraftChange, by: str) -> DraftRecord:
        """Change a draft, or make it. Raises ``Conflict`` if somebody else has changed it since, or it was fired."""
        request = msgspec.structs.replace(change.request, draft=UNSET, dry_run=UNSET, from_draft=UNSET)
        text = msgspec.json.encode(request)
        if len(text) > LARGEST_DRAFT:
            remedy = f"at most {LARGEST_DRAFT:,}; a long list of subscribers is fired without a draft"
            raise RecordError(Problem("request", f"has {len(text):,} bytes", remedy))
        title = (request.message.title or request.message.body)[:TITLE]
        word, row, campaign = await self._store.save(id, change.version, title, text.decode(), by, self._clock())
        if word == "full":
            raise Conflict("there are as many drafts as the store keeps", f"delete some; {_LIST}")
        if row is None:
            raise _missing(id)
        if word == "fired":
            raise _fired(row, campaign)
        if word == "changed":
            raise self._changed(row, change.version)
        return _record(row, None)

    async def read(self, id: str) -> DraftRecord:
        """Return a draft; raises ``Conflict`` if there is none."""
        found = await self._store.get(id, self._clock())
        if found is None:
            raise _missing(id)
        return _record(*found)

    async def page(self, limit: int, cursor: str = "") -> DraftPage:
        """Return drafts that were not fired. Raises ``RecordError`` if there is no such ``cursor``."""
        before = read_cursor(cursor, lambda at, id: (number(at), id[:40]))
        found = await self._store.page(limit + 1, before, self._clock())
        lines = [DraftLine(**{name: getattr(row, name) for name in DraftLine.__struct_fields__}) for row in found]
        return DraftPage(*page(lines, limit, lambda n: (found[n].changed_at, found[n].id)))

    async def remove(self, id: str) -> bool:
        """Delete a draft; returns whether it was there."""
        return await self._store.delete(id)

    async def fire(self, request: FireRequest, fire: Fire) -> CampaignReport:
        """Fire the request that has become of a draft, as the editor sees it: a draft is fired at most once.

        Raises ``Conflict`` if the draft has another version than the request says, and what ``fire`` raises.
        """
        assert request.from_draft is not UNSET
        id, version = request.from_draft.id, request.from_draft.version
        found = await self._store.get(id, self._clock())
        if found is None:
            raise _missing(id)
        row, campaign = found
        if campaign is None and row.version != version:
            raise self._changed(row, version)
        try:
            return await fire(msgspec.structs.replace(request, from_draft=UNSET), id, OWNER)
        except KeyReused as error:
            why = f"this draft was fired already, as campaign {error.campaign}, with another {', '.join(error.fields)}"
            raise FireFailed(error.campaign, why, _ANOTHER, maybe=False, status=409) from None

    def _changed(self, row: DraftRow, version: int) -> Conflict:
        at = instant(row.changed_at, self._zone)
        what = f"{row.changed_by} changed this draft at {at}: it has version {row.version} by now"
        return Conflict(what, "read it again, and write your change into it", field="version", value=str(version))


def _record(row: DraftRow, campaign: int | None) -> DraftRecord:
    try:
        request = msgspec.json.decode(row.request, type=FireRequest)
    except msgspec.ValidationError as error:
        raise Conflict(f"draft {row.id} was written by another Broadside: {error}", "read it at a newer node") from None
    return DraftRecord(
        id=row.id,
        title=row.title,
        version=row.version,
        created_at=row.created_at,
        created_by=row.created_by,
        changed_at=row.changed_at,
        changed_by=row.changed_by,
        request=request,
        expires_at=row.changed_at + KEEP,
        campaign=None if campaign is None else campaign_text(campaign),
    )


def _missing(id: str) -> Conflict:
    return Conflict(f"there is no draft {shown(id, 40)}", _LIST, missing=True, field="draft_id", value=id[:40])


def _fired(row: DraftRow, campaign: int | None) -> Conflict:
    text = "" if campaign is None else campaign_text(campaign)
    what = f"this draft was fired already, as campaign {text}"
    return Conflict(what, _ANOTHER, field="draft_id", value=row.id, campaign=text)
