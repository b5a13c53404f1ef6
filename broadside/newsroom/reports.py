"""Turns a campaign and the ledger's sums into the API's report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from broadside.api.campaign_report import CampaignReport, Scheduled
from broadside.api.outward_records import CampaignHerd
from broadside.newsroom import adaptation, correction_desk, quiet_policy, served, starts
from broadside.newsroom.dead_desk import questions
from broadside.newsroom.delivery_truth import delivery_of
from broadside.newsroom.forecasts.kept import compared, kept_forecast
from broadside.newsroom.foresight import FORESEEN
from broadside.newsroom.guards.approvals import approval_of
from broadside.newsroom.guards.canary_desk import canary_of
from broadside.outward.fire_hooks import HOOKS
from campaigns.campaign import Campaign
from campaigns.channel_state import ChannelState, worst
from campaigns.identity import campaign_text
from campaigns.kind import USUAL
from campaigns.tally import Tally
from storage.records import DeadStanding


def report(
    campaign: Campaign,
    now: int,
    states: Iterable[ChannelState],
    standing: Sequence[DeadStanding] = (),
    zone: str | None = None,
    herd: CampaignHerd | None = None,
) -> CampaignReport:
    """Return the report of a campaign. ``now``: ms UTC; ``states``: why channels stand still, on any node.

    ``standing``: the dead ledger's current states; ``zone``: the newsroom's time zone.
    ``herd``: how fast it may reach people.
    """
    # the pages of a second walk are there from the start, but not on tubes
    walked = campaign.walked and (campaign.corrects is None or campaign.ended)
    final = walked or campaign.state == "cancelled"
    channels = {
        name: Tally.of(
            sums,
            walked=final if campaign.where is not None else walked,
            estimate=campaign.estimate.get(name, 0),
        )
        for name, sums in sorted(campaign.tallies.items())
    }
    settled = sum(tally.settled for tally in channels.values())
    waiting = [
        state
        for state in states
        if campaign.state == "firing" and state.channel in channels and channels[state.channel].remaining
    ]
    seconds = None
    if campaign.fired_at is not None:
        seconds = max(0, (campaign.finished_at or now) - campaign.fired_at) / 1000
    active = seconds if campaign.active_ms is None else campaign.active_ms / 1000
    waits = schedule(campaign, now)
    held = sum(each.recipients for each in waits)
    remaining = sum(tally.remaining for tally in channels.values())
    forecast = kept_forecast(campaign.policy)
    return CampaignReport(
        forecast=forecast,
        compared=compared(forecast, active) if campaign.state == "done" else "",
        id=campaign_text(campaign.id),
        state=campaign.state,
        message=campaign.message,
        kind=campaign.policy.get("kind", USUAL),
        lane=campaign.lane.word,
        created_at=campaign.created_at,
        fired_at=campaign.fired_at,
        finished_at=campaign.finished_at,
        start=campaign.start,
        expires_at=starts.ends_at(campaign),
        armed_at=(campaign.policy.get("armed") or {}).get("at"),
        approval=approval_of(campaign),
        canary=canary_of(campaign),
        canary_of=campaign.policy.get("canary_of"),
        zone=zone,
        seconds=seconds,
        rate=round(settled / active, 1) if active else 0.0,
        active=active,
        quiet=campaign.policy.get("quiet"),
        quiet_hours=campaign.policy.get(quiet_policy.HOURS),
        held=held,
        schedule=waits,
        reached=campaign.ended or (campaign.walked and campaign.put and remaining <= held),
        walked=walked,
        channels=channels,
        conditions=campaign.where,
        paused_channels=paused_channels(waiting),
        channel_states=waiting,
        questions=questions(each for each in standing if each.campaign == campaign.id),
        texts_version=campaign.texts,
        corrected_by=None if campaign.correction is None else campaign_text(campaign.correction),
        corrects=None if campaign.corrects is None else campaign_text(campaign.corrects),
        unserved=dict(sorted(campaign.unserved.items())),
        notes=[
            *correction_desk.notes(campaign),
            *starts.notes(campaign, zone),
            *served.notes(campaign.unserved),
            *campaign.policy.get(served.LEFT_OUT, {}).values(),
            *adaptation.notes(campaign.policy),
            *quiet_policy.notes(campaign.policy),
            *campaign.policy.get(FORESEEN, ()),
            *campaign.policy.get(HOOKS, ()),
        ],
        herd=herd,
        delivery=delivery_of(campaign, channels),
        reasons={name: why for name, why in sorted(campaign.reasons.items()) if why},
    )


def schedule(campaign: Campaign, now: int) -> list[Scheduled]:
    """Return when those who wait for the end of their quiet hours get the campaign. ``now``: ms UTC."""
    if campaign.ended:
        return []
    by_due: dict[int, dict[str, int]] = {}
    for key, recipients in sorted(campaign.held.items(), key=lambda each: -each[1]):
        moment, zone = key.split(" ", 1)
        if int(moment) > now:
            by_due.setdefault(int(moment), {})[zone] = recipients
    return [Scheduled(due, sum(zones.values()), zones) for due, zones in sorted(by_due.items())]


def paused_channels(states: Iterable[ChannelState]) -> dict[str, str]:
    """Channel → the worst reason why it stands still, a sentence. A channel that keeps its own rate is not paused."""
    return {
        name: state.sentence + (f" (on {state.node})" if state.node else "")
        for name, state in worst(states).items()
        if state.reason != "limiter"
    }
