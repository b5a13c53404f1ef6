"""Answers the API's routes about refused and deleted tokens."""

from __future__ import annotations

from broadside.api.dead_records import DeadAnswer, DeadAnswered, DeadPage, DeadRestore, DeadRestored
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.errors import Problem, RecordError
from broadside.newsroom.dead_desk import DeadDesk
from campaigns.identity import parse_campaign

_LIST = "`broadside dead list` shows them"


def dead_routes(desk: DeadDesk) -> list[Bound]:
    """Bind the routes."""

    def campaign(text: str | None) -> int | None:
        try:
            return None if text is None else parse_campaign(text)
        except ValueError as error:
            raise RecordError(Problem("campaign", str(error)[:200], _LIST, (text or "")[:40])) from None

    async def list_(call: Call) -> DeadPage:
        query = call.query(table.DeadQuery)
        return await desk.list(query.limit, query.cursor)

    async def confirm(call: Call) -> DeadAnswered:
        wanted = call.body(DeadAnswer)
        return await desk.confirm(wanted.channel, campaign(wanted.campaign))

    async def keep(call: Call) -> DeadAnswered:
        wanted = call.body(DeadAnswer)
        return await desk.keep(wanted.channel, campaign(wanted.campaign))

    async def restore(call: Call) -> DeadRestored:
        wanted = call.body(DeadRestore)
        if wanted.channel is None and wanted.campaign is None:
            raise RecordError(Problem("body", "names neither a channel nor a campaign", _LIST))
        return await desk.restore(wanted.channel, campaign(wanted.campaign))

    return [
        bind(table.DEAD, list_),
        bind(table.DEAD_CONFIRM, confirm),
        bind(table.DEAD_KEEP, keep),
        bind(table.DEAD_RESTORE, restore),
    ]
