"""The pages of stories: one card on every lock screen, opened, updated and ended by an editor."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

import msgspec
from starlette.responses import Response

from broadside.api.v1 import table
from broadside.pages.api_in_process import PageProblem
from broadside.pages.page import PageCall, PageRoute

SHOWN = 20
_FIELDS = ("name", "channels", "state", "title", "body", "loud", "act")
_EMPTY = dict.fromkeys(_FIELDS, "")


async def stories(call: PageCall) -> Response:
    """List stories, with a form for a new one."""
    return call.show("stories.html", **await _list(call))


async def part(call: PageCall) -> Response:
    """The list alone."""
    return call.show("stories_part.html", **await _list(call))


async def open_(call: PageCall) -> Response:
    """Open one, and show it; what is wrong is said beside what was written."""
    form = await call.form()
    channels = [name.strip() for name in _one(form, "channels").split(",") if name.strip()]
    request = {"title": _one(form, "name").strip(), "change": _change(form)}
    try:
        made = await call.api(
            table.STORY_OPEN,
            body=request | ({"channels": channels} if channels else {}),
            key=_one(form, "once") or None,
        )
    except PageProblem as error:
        if error.problem.status == 401:
            raise
        return call.show(
            "stories_form.html", problem=error.problem, form=_given(form), once=secrets.token_hex(12),
            status=error.problem.status,
        )  # fmt: skip
    return call.go_to(f"/stories/{made.id}")


async def story(call: PageCall) -> Response:
    """Show a story, with a form for its next update."""
    found = await call.api(table.STORY, story_id=call.named("id"))
    newest = found.updates[0].change
    form = _EMPTY | {
        "state": msgspec.json.format(msgspec.json.encode(newest.state), indent=2).decode(),
        "title": newest.message.title,
        "body": newest.message.body,
    }
    return call.show(
        "story.html", story=found, form=form, problem=None, once=secrets.token_hex(12), **await _zone(call)
    )


async def story_part(call: PageCall) -> Response:
    """Its state alone."""
    found = await call.api(table.STORY, story_id=call.named("id"))
    return call.show("story_part.html", story=found, **await _zone(call))


async def change(call: PageCall) -> Response:
    """Update or end it; what is wrong is said beside what was written."""
    form, id = await call.form(), call.named("id")
    route = table.STORY_END if _one(form, "act") == "end" else table.STORY_UPDATE
    try:
        await call.api(route, body=_change(form), key=_one(form, "once") or None, story_id=id)
    except PageProblem as error:
        if error.problem.status == 401:
            raise
        return call.show(
            "story_form.html", problem=error.problem, form=_given(form), id=id, once=secrets.token_hex(12),
            status=error.problem.status,
        )  # fmt: skip
    return call.go_to(f"/stories/{id}")


def _change(form: Mapping[str, list[str]]) -> dict[str, Any]:
    """A form as the API's record; the API checks it and names what is wrong."""
    text = _one(form, "state").strip()
    try:
        state = msgspec.json.decode(text) if text else {}
    except (msgspec.DecodeError, RecursionError):
        state = text  # the API says that it is no object
    message = {name: _one(form, name) for name in ("title", "body") if _one(form, name)}
    return {"state": state, "message": message, "loud": "loud" in form}


def _given(form: Mapping[str, list[str]]) -> dict[str, str]:
    return {name: _one(form, name) for name in _FIELDS}


def _one(form: Mapping[str, list[str]], name: str) -> str:
    return form.get(name, [""])[0]


async def _zone(call: PageCall) -> dict[str, Any]:
    return {"zone": (await call.api(table.NEWSROOM)).zone}


async def _list(call: PageCall) -> dict[str, Any]:
    found = await call.api(table.STORIES, query={"limit": SHOWN})
    return {"found": found, "form": _EMPTY, "problem": None, "once": secrets.token_hex(12), **await _zone(call)}


PAGES = (
    PageRoute("/stories", stories),
    PageRoute("/stories/part", part),
    PageRoute("/stories/open", open_, "POST"),
    PageRoute("/stories/{id}", story),
    PageRoute("/stories/{id}/part", story_part),
    PageRoute("/stories/{id}/change", change, "POST"),
)
