"""Answers the API's routes about campaigns and audiences."""

from __future__ import annotations

import math
from functools import partial
from typing import TypeVar

import msgspec
import trio
from starlette.responses import Response

from broadside.api.audience_request import AudienceCount, CountRequest, KnownAttributes
from broadside.api.bounds import channels_problem, message_problem, request_problem
from broadside.api.campaign_report import (
    ArmedFire,
    CampaignPage,
    CampaignReport,
    CorrectionRequest,
    FireRequest,
    NewsroomClock,
    RetractionRequest,
)
from broadside.api.certificate_records import CampaignCertificate, CertificateKey
from broadside.api.device_send_records import DeviceSend, DeviceSendReport
from broadside.api.drill_records import DrillRecord, Drills
from broadside.api.event_records import PING_EVERY
from broadside.api.explain_records import ExplainRequest, Explanations
from broadside.api.forecast_records import Forecast
from broadside.api.link_records import LinkMetadata, LinkRequest
from broadside.api.operations import Coverage, Verification
from broadside.api.preview_report import PreviewReport
from broadside.api.text_rules import texts_problem
from broadside.api.v1 import table
from broadside.console.calls import Bound, Call, bind
from broadside.console.http_answers import ApiFailure, json_answer
from broadside.console.outflow import Outflow
from broadside.console.stream_answer import StreamAnswer
from broadside.errors import Problem, RecordError
from broadside.newsroom.guards.approvals import Asker
from broadside.newsroom.newsroom import Newsroom
from broadside.outward.guarded_web import LinkUnread
from campaigns.message import Message

T = TypeVar("T")


def campaign_routes(newsroom: Newsroom) -> list[Bound]:
    """Bind the routes."""

    async def fire(call: Call) -> CampaignReport | Response:
        wanted = call.body(FireRequest)
        if wanted.draft is True:
            if wanted.from_draft is not msgspec.UNSET or wanted.dry_run is True:
                other = "dry_run" if wanted.dry_run is True else "from_draft"
                raise RecordError(Problem("draft", f"is given, and so is {other}", "give one of them"))
            draft = await newsroom.drafts.create(wanted, call.holder.name, call.key, call.holder.owner)
            return json_answer(draft, 202)
        _check(wanted)
        await newsroom.check_limits(wanted, call.holder.limits)
        if wanted.dry_run is True:
            return json_answer(await newsroom.rehearse(wanted))
        if wanted.from_draft is not msgspec.UNSET:
            return await newsroom.drafts.fire(wanted, partial(newsroom.fire, by=_asker(call)))
        return await newsroom.fire(wanted, call.key, call.holder.owner, _asker(call))

    async def preview(call: Call) -> PreviewReport:
        return newsroom.preview(_wanted(call))

    async def test(call: Call) -> DeviceSendReport:
        wanted = call.body(DeviceSend)
        _check(FireRequest(message=wanted.message))
        rows = await newsroom.devices.devices(wanted)
        call.holder.limits.check_channels({row.channel for row in rows})
        call.holder.limits.check_size(len(rows))
        return await newsroom.devices.send(wanted)

    async def forecast(call: Call) -> Forecast:
        return await newsroom.forecast(_wanted(call))

    async def preview_of(call: Call) -> PreviewReport:
        return _there(call, await newsroom.preview_of(call.campaign))

    async def attributes(call: Call) -> KnownAttributes:
        return await newsroom.audience.attributes()

    async def clock(call: Call) -> NewsroomClock:
        return newsroom.about()

    async def newest(call: Call) -> CampaignPage:
        query = call.query(table.CampaignsQuery)
        return await newsroom.campaigns(query.limit, query.cursor)

    async def one(call: Call) -> CampaignReport:
        return _there(call, await newsroom.campaign(call.campaign))

    async def shown(call: Call) -> CampaignReport:
        exact = call.query(table.CampaignQuery).exact
        return _there(call, await newsroom.campaign(call.campaign, exact=exact))

    async def progress(call: Call) -> Response:
        query = call.query(table.ProgressQuery)
        await one(call)

        async def write(out: Outflow) -> None:
            left = math.inf if query.limit is msgspec.UNSET else query.limit
            async with newsroom.progress(call.campaign) as reports:
                while left > 0:
                    line = b""  # proxies cut a connection over which nothing comes
                    with trio.move_on_after(PING_EVERY):
                        try:
                            line = msgspec.json.encode(await reports.receive())
                        except trio.EndOfChannel:
                            return
                        left -= 1
                    await out.put(line + b"\n")

        return StreamAnswer("application/x-ndjson", write, call.ended)

    async def pause(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits)
        return await newsroom.pause(call.campaign)

    async def resume(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits)
        return await newsroom.resume(call.campaign)

    async def cancel(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits)
        return await newsroom.cancel(call.campaign)

    async def correct(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits)
        wanted = call.body(CorrectionRequest)
        _check_message(wanted.message)
        await newsroom.corrections.correct(call.campaign, wanted)
        return await one(call)

    async def retract(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits)
        wanted = call.body(RetractionRequest)
        if wanted.message is not None:
            _check_message(wanted.message)
        await newsroom.corrections.retract(call.campaign, wanted)
        return await one(call)

    async def fire_armed(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits, fires=True)
        return await newsroom.fire_armed(call.campaign, call.body(ArmedFire), _asker(call))

    async def approve(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits, fires=True)
        return await newsroom.approve(call.campaign, _asker(call))

    async def disarm(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits)
        return await newsroom.disarm(call.campaign)

    async def rest(call: Call) -> CampaignReport:
        await newsroom.check_campaign(call.campaign, call.holder.limits, fires=True)
        return await newsroom.rest(call.campaign)

    async def coverage(call: Call) -> Coverage:
        return _there(call, await newsroom.coverage(call.campaign))

    async def verify(call: Call) -> Verification:
        return _there(call, await newsroom.verify(call.campaign))

    async def explain(call: Call) -> Explanations:
        wanted = call.body(ExplainRequest)
        if (wanted.token is msgspec.UNSET) == (wanted.subscriber is msgspec.UNSET):
            raise RecordError(Problem("token", "is wanted, or subscriber: one of the two", "give one of them"))
        return _there(call, await newsroom.explain(call.campaign, wanted))

    async def certificate(call: Call) -> CampaignCertificate:
        return _there(call, await newsroom.certificates.issue(call.campaign))

    async def certificate_key(call: Call) -> CertificateKey:
        return await newsroom.certificates.public()

    async def drills(call: Call) -> Drills:
        return await newsroom.drills.last()

    async def drill(call: Call) -> DrillRecord:
        return await newsroom.drills.start(call.holder.name)

    async def count(call: Call) -> AudienceCount:
        wanted = call.body(CountRequest)
        if problem := channels_problem(wanted.audience.channels or [], "audience.channels"):
            raise RecordError(problem)
        return await newsroom.audience.count(wanted.audience, wanted.exact)

    async def read_link(call: Call) -> LinkMetadata:
        url = call.body(LinkRequest).url
        try:
            return await newsroom.links.read(url)
        except LinkUnread as error:
            raise ApiFailure(502, error.why, field="url", value=url[:60], remedy=error.remedy) from None

    return [
        bind(table.FIRE, fire),
        bind(table.CAMPAIGNS, newest),
        bind(table.PREVIEW, preview),
        bind(table.TEST, test),
        bind(table.FORECAST, forecast),
        bind(table.CAMPAIGN, shown),
        bind(table.PREVIEW_OF, preview_of),
        bind(table.PROGRESS, progress),
        bind(table.COVERAGE, coverage),
        bind(table.VERIFY, verify),
        bind(table.EXPLAIN, explain),
        bind(table.CERTIFICATE, certificate),
        bind(table.CERTIFICATE_KEY, certificate_key),
        bind(table.DRILLS, drills),
        bind(table.DRILL_START, drill),
        bind(table.PAUSE, pause),
        bind(table.RESUME, resume),
        bind(table.FIRE_ARMED, fire_armed),
        bind(table.APPROVE, approve),
        bind(table.DISARM, disarm),
        bind(table.REST, rest),
        bind(table.CANCEL, cancel),
        bind(table.CORRECT, correct),
        bind(table.RETRACT, retract),
        bind(table.AUDIENCE, count),
        bind(table.ATTRIBUTES, attributes),
        bind(table.READ_LINK, read_link),
        bind(table.NEWSROOM, clock),
    ]


def _asker(call: Call) -> Asker:
    holder = call.holder
    return Asker(holder.owner, holder.name, holder.may("approver"))


def _there(call: Call, found: T | None) -> T:
    """Return what was found of a campaign; raises ``ApiFailure`` if there is no such campaign."""
    if found is None:
        text = call.named("id")
        raise ApiFailure(404, f"no campaign {text}", field="id", value=text, remedy="`campaign list` shows the ids")
    return found


def _wanted(call: Call) -> FireRequest:
    """Read a request to fire. Raises ``RecordError`` for the first field that is not as it must be."""
    wanted = call.body(FireRequest)
    _check(wanted)
    return wanted


def _check_message(message: Message) -> None:
    if problem := message_problem(message) or texts_problem(message):
        raise RecordError(problem)


def _check(wanted: FireRequest) -> None:
    if problem := request_problem(wanted) or texts_problem(wanted.message):
        raise RecordError(problem)
