"""The compose page: a campaign from its link to Fire. What is written is kept as a draft while it is written."""

from __future__ import annotations

import base64
import secrets
from typing import Any

import msgspec
from starlette.responses import Response

from broadside.api.attributes.locales import locale
from broadside.api.campaign_report import CampaignReport
from broadside.api.draft_records import DraftRecord
from broadside.api.forecast_text import servers
from broadside.api.preview_report import PreviewReport
from broadside.api.problem_details import ProblemDetails, problem
from broadside.api.report_text import QUIET
from broadside.api.v1 import table
from broadside.pages.api_in_process import PageProblem
from broadside.pages.compose_form import LONGEST_ID, SEPARATORS, Form, confirmed, fields_of, request_of
from broadside.pages.page import PageCall, PageRoute
from broadside.pages.push_drawing import bytes_in_all, devices, meters

LATELY = 5
"""Campaigns that are shown beside the form, so that nobody sends the same news again."""
YES = {
    "expire_asleep": "Send it anyway: these people get nothing.",
    "again": "Send it again: these phones get the same text twice.",
    "over_budget": "Send it anyway: these phones get one more, or their provider drops it.",
    "arm": "Ask for an approval: it is made ready, and another person lets it go.",
    "unapproved": "Send it alone: nobody else has to approve it.",
}
"""Field that says yes to what nobody may do by mistake → its words."""


async def compose(call: PageCall) -> Response:
    """Show the form: a new one, or that of a draft."""
    if not call.may("editor"):
        return call.go_to("/campaigns")
    about = await call.api(table.NEWSROOM)
    draft, id = None, call.request.query_params.get("draft", "")
    if id:
        draft = await call.api(table.DRAFT, draft_id=id)
    request: dict[str, Any] = msgspec.to_builtins(draft.request) if draft else {}
    return call.show(
        "compose.html",
        about=about,
        zone=about.zone,
        id=draft.id if draft else _new_id(),
        fields=fields_of(request, about.zone),
        known=await call.api(table.ATTRIBUTES),
        drafts=(await call.api(table.DRAFTS, query={"limit": 20})).items,
        lately=(await call.api(table.CAMPAIGNS, query={"limit": LATELY})).items,
        quiet=QUIET,
        draft=draft,
        later=request.get("when"),
        forecast=None,
    )


async def keep(call: PageCall) -> Response:
    """Keep what is written, and show what phones and the audience make of it."""
    form, about = await call.form(), await call.api(table.NEWSROOM)
    request = request_of(form, about.zone)
    draft, refused = None, None
    if _version(form) or request["message"] or request.keys() - {"message", "kind"}:
        try:
            draft = await _saved(call, form, request)
        except PageProblem as error:
            if error.problem.status in (401, 403):
                raise
            refused = error.problem
    seen = await _seen(call, request, draft, form.get("tab", [""])[0], refused)
    version = draft.version if draft else _version(form)
    return call.show("compose_part.html", **seen, version=version, zone=about.zone, id=_id(form))


async def fire(call: PageCall) -> Response:
    """Fire what is written, once however often this is asked, and lead to the campaign; or arm it."""
    form, about = await call.form(), await call.api(table.NEWSROOM)
    request = request_of(form, about.zone)
    if form.get("arm"):
        request["arm"] = True
    try:
        version = _version(form)
        try:
            version = (await _saved(call, form, request)).version
        except PageProblem as error:
            if not error.problem.campaign:  # of a draft that was fired Fire says more
                raise
        body = request | confirmed(form) | {"from_draft": {"id": _id(form), "version": version}}
        report = await call.api(table.FIRE, body=body)
    except PageProblem as error:
        if error.problem.status == 401:
            raise
        return _not_fired(call, form, error.problem)
    assert isinstance(report, CampaignReport)
    return call.go_to(f"/campaigns/{report.id}")


async def language(call: PageCall) -> Response:
    """Show the fields of one more language."""
    form = await call.form()
    written = form.get("new_locale", [""])[0].strip()
    name = locale(written) if len(written) <= 40 else None
    if name is None or name in form.get("locale", ()):
        said = f'"{written[:40]}" is no language tag' if name is None else f"there is a text in {name} already"
        remedy = "write it as in pt-BR, pt or zh-Hant" if name is None else "choose it among the texts"
        return call.show("compose_language.html", problem=problem(400, said, remedy=remedy), name="")
    return call.show("compose_language.html", problem=None, name=name)


async def test(call: PageCall) -> Response:
    """Send what is written to a few devices, as a test."""
    form, about = await call.form(), await call.api(table.NEWSROOM)
    named = [each for each in SEPARATORS.split(form.get("test_to", [""])[0]) if each]
    ids = [each for each in named if each.isascii() and each.isdigit() and len(each) <= LONGEST_ID]
    body = {
        "message": request_of(form, about.zone)["message"],
        "subscribers": list(map(int, ids)),
        "tokens": [each for each in named if each not in ids],
        "channel": form.get("test_channel", [""])[0] or None,
    }
    try:
        return call.show("compose_tested.html", report=await call.api(table.TEST, body=body))
    except PageProblem as error:
        if error.problem.status == 401:
            raise
        return call.show("problem_part.html", problem=error.problem, status=error.problem.status)


async def discard(call: PageCall) -> Response:
    """Delete a draft, and begin anew."""
    await call.api(table.DRAFT_REMOVE, draft_id=_id(await call.form()))
    return call.go_to("/")


async def _saved(call: PageCall, form: Form, request: dict[str, Any]) -> DraftRecord:
    version = _version(form)
    if form.get("over"):  # the editor has read that somebody else has changed it, and wants their own text
        version = (await call.api(table.DRAFT, draft_id=_id(form))).version
    return await call.api(table.DRAFT_SAVE, body={"version": version, "request": request}, draft_id=_id(form))


async def _seen(
    call: PageCall, request: dict[str, Any], draft: DraftRecord | None, tab: str, refused: ProblemDetails | None
) -> dict[str, Any]:
    """What stands beside the form. ``tab``: the language whose text is drawn; ``refused``: why nothing was kept."""
    problems: list[ProblemDetails] = []
    count, preview, forecast = None, PreviewReport({}), None
    message = request["message"]
    begun = bool(message.get("title") or message.get("body"))
    try:
        count = await call.api(table.AUDIENCE, body={"audience": request.get("audience", {})})
        if begun:
            preview = await call.api(table.PREVIEW, body=request)
            forecast = await call.api(table.FORECAST, body=request)
    except PageProblem as error:
        problems.append(error.problem)
    drawn = devices(preview, tab)
    phones = {name: each.subscribers for name, each in count.channels.items()} if count else {}
    return {
        "draft": draft,
        "refused": refused,
        "problems": problems,
        "count": count,
        "preview": preview,
        "devices": drawn,
        "meters": meters(preview, drawn) if preview.channels else [],
        "in_all": bytes_in_all(preview, phones),
        "forecast": forecast,
        "servers": servers(forecast) if forecast else "",
        "begun": begun,
        "later": request.get("when"),
    }


def _not_fired(call: PageCall, form: Form, refused: ProblemDetails) -> Response:
    words = YES.get(refused.confirm, "Send it anyway.") if refused.confirm else ""
    said = confirmed(form) if words else {}
    return call.show(
        "compose_refused.html", problem=refused, words=words, said=said, id=_id(form), status=refused.status
    )


def _version(form: Form) -> int:
    given = form.get("version", ["0"])[0]
    return int(given) if given.isdigit() and len(given) < 16 else 0


def _id(form: Form) -> str:
    return form.get("draft", [""])[0]


def _new_id() -> str:
    return base64.b32encode(secrets.token_bytes(8)).decode().rstrip("=").lower()


PAGES = (
    PageRoute("/", compose),
    PageRoute("/compose/keep", keep, "POST"),
    PageRoute("/compose/fire", fire, "POST"),
    PageRoute("/compose/test", test, "POST"),
    PageRoute("/compose/language", language, "POST"),
    PageRoute("/compose/discard", discard, "POST"),
)
