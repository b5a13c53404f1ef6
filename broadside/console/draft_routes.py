"""Answers the API's routes about drafts."""

from __future__ import annotations

import re

from broadside.api.draft_records import DraftChange, DraftPage, DraftRecord, DraftRemoved
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.errors import Problem, RecordError, shown
from broadside.newsroom.draft_desk import DraftDesk

_ID = re.compile("[a-z2-7]{13}")


def draft_routes(desk: DraftDesk) -> list[Bound]:
    """Bind the routes."""

    async def drafts(call: Call) -> DraftPage:
        query = call.query(table.DraftsQuery)
        return await desk.page(query.limit, query.cursor)

    async def one(call: Call) -> DraftRecord:
        return await desk.read(_id(call))

    async def save(call: Call) -> DraftRecord:
        return await desk.save(_id(call), call.body(DraftChange), call.holder.name)

    async def remove(call: Call) -> DraftRemoved:
        return DraftRemoved(removed=await desk.remove(_id(call)))

    return [
        bind(table.DRAFTS, drafts),
        bind(table.DRAFT, one),
        bind(table.DRAFT_SAVE, save),
        bind(table.DRAFT_REMOVE, remove),
    ]


def _id(call: Call) -> str:
    """The draft's id in the path (raises ``RecordError``)."""
    text = call.named("draft_id")
    if not _ID.fullmatch(text):
        remedy = "13 of a-z and 2-7; `GET /v1/drafts` shows the ids"
        raise RecordError(Problem("draft_id", f"{shown(text, 40)} is no draft's id", remedy, text[:40]))
    return text
