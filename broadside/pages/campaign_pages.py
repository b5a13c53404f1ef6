"""The pages of campaigns: the list, and one campaign from Fire to its report."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
from starlette.responses import Response

from broadside.api.audience_text import audience_words
from broadside.api.campaign_report import CampaignReport, CorrectionRequest, RetractionRequest
from broadside.api.explain_records import question
from broadside.api.forecast_text import forecast_lines, percentiles
from broadside.api.report_text import QUIET, arrived, where
from broadside.api.v1 import table
from broadside.api.v1.route import Route
from broadside.pages.page import PageCall, PageRoute
from campaigns.message import Message, Text
from campaigns.tally import ENDS, Tally

PAGE_SIZE = 25
"""Campaigns on one page of the list."""
WORDS = {
    "delivered": "accepted",
    "dead": "token no longer valid",
    "rejected": "refused",
    "expired": "news too old",
    "dropped": "left out (quiet hours)",
    "cancelled": "stopped before",
}
"""Outcomes as an editor would say them. What the provider has accepted is all that anybody can know of a delivery."""
SENDS = ("firing", "pausing", "cancelling")
"""States in which pushes may be under way."""


async def listed(call: PageCall) -> Response:
    """List campaigns, the newest first."""
    cursor = call.request.query_params.get("cursor")
    page = await call.api(table.CAMPAIGNS, query={"limit": PAGE_SIZE, "cursor": cursor})
    return call.show("campaigns.html", page=page, first=cursor is None)


async def one(call: PageCall) -> Response:
    """Show a campaign: live while it is sent, and then its report."""
    report = await call.api(table.CAMPAIGN, id=call.named("id"))
    return call.show("campaign.html", **_values(report))


async def part(call: PageCall) -> Response:
    """Show what changes of a campaign, without the page around it."""
    query = {"exact": "exact" in call.request.query_params}
    return _part(call, await call.api(table.CAMPAIGN, id=call.named("id"), query=query))


async def verified(call: PageCall) -> Response:
    """Check the ledger against the base: was anybody missed, or sent to twice?"""
    return call.show("campaign_verified.html", found=await call.api(table.VERIFY, id=call.named("id")))


async def explained(call: PageCall) -> Response:
    """Say what became of one phone."""
    who = (await call.form()).get("who", [""])[0].strip()
    id = call.named("id")
    found = await call.api(table.EXPLAIN, id=id, body=question(who))
    zone = (await call.api(table.NEWSROOM)).zone
    return call.show("campaign_explained.html", found=found, zone=zone)


async def certificate(call: PageCall) -> Response:
    """Return a campaign's certificate as a file."""
    found = await call.api(table.CERTIFICATE, id=call.named("id"))
    name = {"content-disposition": f'attachment; filename="{found.campaign}.json"'}
    return Response(msgspec.json.format(msgspec.json.encode(found)), media_type="application/json", headers=name)


async def preview(call: PageCall) -> Response:
    """Show the exact requests that the providers get."""
    return call.show("campaign_requests.html", preview=await call.api(table.PREVIEW_OF, id=call.named("id")))


async def corrected(call: PageCall) -> Response:
    """Give a campaign another text."""
    message, awake = await _rewritten(call)
    body = CorrectionRequest(message=message, awake=awake)
    return _part(call, await call.api(table.CORRECT, id=call.named("id"), body=body))


async def retracted(call: PageCall) -> Response:
    """Stop a campaign for ever, and send another text to those who have got it."""
    message, awake = await _rewritten(call)
    body = RetractionRequest(message=message, awake=awake)
    return _part(call, await call.api(table.RETRACT, id=call.named("id"), body=body))


async def _rewritten(call: PageCall) -> tuple[Message, bool]:
    """The campaign's message with the form's words in each of its languages, and whether it is shown awake."""
    form = await call.form()
    before = (await call.api(table.CAMPAIGN, id=call.named("id"))).message

    def words(prefix: str) -> dict[str, str]:
        return {name: form.get(prefix + name, [""])[0].replace("\r\n", "\n").strip() for name in ("title", "body")}

    texts = {
        locale: msgspec.structs.replace(
            before.texts.get(locale, Text()), **{name: said or None for name, said in words(f"{locale}:").items()}
        )
        for locale in form.get("locale", ())
    }
    texts = {locale: text for locale, text in texts.items() if text != Text()}
    message = msgspec.structs.replace(before, **words(""), texts=texts, platforms={})
    return message, "awake" in form


async def rest(call: PageCall) -> Response:
    """Send the rest of a canary, and show it."""
    return call.go_to(f"/campaigns/{(await call.api(table.REST, id=call.named('id'))).id}")


def _action(route: Route[CampaignReport]) -> PageRoute:
    async def act(call: PageCall) -> Response:
        return _part(call, await call.api(route, id=call.named("id")))

    return PageRoute(f"/campaigns/{{id}}/{route.path.rpartition('/')[2]}", act, "POST")


async def rate(call: PageCall) -> Response:
    """Change how many people a second the campaign reaches."""
    text = (await call.form()).get("rate", [""])[0].strip()
    body: dict[str, float | str] = {"rate": text}  # what is no number, the API refuses
    with contextlib.suppress(ValueError):
        body = {"rate": float(text)}
    report = await call.api(table.RATE, body=body, id=call.named("id"))
    return call.show("campaign_paced.html", herd=report.herd)


def _part(call: PageCall, report: CampaignReport) -> Response:
    return call.show("campaign_part.html", **_values(report))


def _values(report: CampaignReport) -> dict[str, Any]:
    tallies = report.channels.values()
    total = Tally(**{name: sum(getattr(each, name) for each in tallies) for name in Tally.__struct_fields__})
    words = [word for word in ENDS if word == "delivered" or getattr(total, word)]
    return {
        "report": report,
        "total": total,
        "expected": total.settled + total.remaining,
        "states": [state for state in report.channel_states if state.reason != "limiter"],
        "rated": _rated(report),
        "audience": audience_words(report.conditions or {}),
        "arrived": arrived(report),
        "reached": percentiles(report.reach) if report.reach else "",
        "foreseen": forecast_lines(report.forecast)[0] if report.forecast else "",
        "sends": report.state in SENDS,
        "words": {word: WORDS.get(word, word) for word in words},
        "quiet": QUIET.get(report.quiet, "") if report.quiet else "",
        "zones": where,
    }


def _rated(report: CampaignReport) -> str:
    """Say which channels send at their own rate: one sentence, on however many nodes."""
    names = sorted({state.channel for state in report.channel_states if state.reason == "limiter"})
    if not names:
        return ""
    them = f"{', '.join(names[:-1])} and {names[-1]} send at their" if len(names) > 1 else f"{names[0]} sends at its"
    return f"{them} own rate: as fast as the channel may."


PAGES = (
    PageRoute("/campaigns", listed),
    PageRoute("/campaigns/{id}", one),
    PageRoute("/campaigns/{id}/part", part),
    PageRoute("/campaigns/{id}/verified", verified),
    PageRoute("/campaigns/{id}/requests", preview),
    PageRoute("/campaigns/{id}/explain", explained, "POST"),
    PageRoute("/campaigns/{id}/certificate", certificate),
    _action(table.PAUSE),
    _action(table.RESUME),
    _action(table.CANCEL),
    PageRoute("/campaigns/{id}/correct", corrected, "POST"),
    PageRoute("/campaigns/{id}/retract", retracted, "POST"),
    _action(table.APPROVE),
    _action(table.DISARM),
    PageRoute("/campaigns/{id}/rest", rest, "POST"),
    PageRoute("/campaigns/{id}/rate", rate, "POST"),
)
