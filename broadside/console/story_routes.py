"""Answers the API's routes about stories."""

from __future__ import annotations

from typing import Literal

import msgspec

from broadside.api.bounds import request_problem
from broadside.api.campaign_report import FireRequest
from broadside.api.story_records import StoryChange, StoryPage, StoryReport, StoryRequest
from broadside.api.text_rules import texts_problem
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.errors import RecordError
from broadside.newsroom.guards.approvals import Asker
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.stories.story_desk import parse_story


def story_routes(newsroom: Newsroom) -> list[Bound]:
    """Bind the routes."""
    desk = newsroom.stories

    async def stories(call: Call) -> StoryPage:
        query = call.query(table.StoriesQuery)
        return await desk.page(query.limit, query.cursor)

    async def one(call: Call) -> StoryReport:
        return await desk.show(_id(call))

    async def open(call: Call) -> StoryReport:
        wanted = call.body(StoryRequest)
        request = FireRequest(
            message=wanted.change.message,
            channels=wanted.channels,
            kind=wanted.kind,
            audience=wanted.audience or msgspec.UNSET,
        )
        await allowed(call, request)
        return await desk.open(wanted, _asker(call), call.key)

    async def change(call: Call, event: Literal["update", "end"]) -> StoryReport:
        id, wanted = _id(call), call.body(StoryChange)
        await allowed(call, await desk.request_of(id, wanted))
        return await desk.update(id, event, wanted, _asker(call), call.key)

    async def update(call: Call) -> StoryReport:
        return await change(call, "update")

    async def end(call: Call) -> StoryReport:
        return await change(call, "end")

    async def allowed(call: Call, request: FireRequest) -> None:
        """Raise ``RecordError`` for what is too large, or more than the key may."""
        if problem := request_problem(request) or texts_problem(request.message):
            raise RecordError(problem)
        await newsroom.check_limits(request, call.holder.limits)
        if request.audience:  # refused now, not when its first campaign is fired
            await newsroom.audience.choose(request.audience, request.channels, "")

    return [
        bind(table.STORIES, stories),
        bind(table.STORY, one),
        bind(table.STORY_OPEN, open),
        bind(table.STORY_UPDATE, update),
        bind(table.STORY_END, end),
    ]


def _id(call: Call) -> int:
    return parse_story(call.named("story_id"))


def _asker(call: Call) -> Asker:
    holder = call.holder
    return Asker(holder.owner, holder.name, holder.may("approver"))
