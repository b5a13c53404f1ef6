"""The operations that an editor may ask of a node: campaigns and subscribers. The API and the demo both use them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import trio

from broadside.access.limits import NO_LIMITS, KeyLimits
from broadside.api import strict_json
from broadside.api.audience_request import AudienceRequest
from broadside.api.campaign_report import (
    ArmedFire,
    CampaignLine,
    CampaignPage,
    CampaignReport,
    DryRunReport,
    FireRequest,
    KindRules,
    NewsroomClock,
    Verdict,
)
from broadside.api.explain_records import ExplainRequest, Explanations
from broadside.api.forecast_records import Forecast
from broadside.api.operations import Coverage, Verification
from broadside.api.preview_report import PreviewReport
from broadside.api.served_channels import meant
from broadside.api.token_rules import DeviceTokens
from broadside.api.v1.cursors import page, read_cursor
from broadside.config.drills import DrillConfig
from broadside.errors import Conflict, Problem, RecordError, shown
from broadside.newsroom import served, starts, stopping
from broadside.newsroom.adaptation import adapt, policy_entries
from broadside.newsroom.alarms import RefusedLines
from broadside.newsroom.audience_desk import AudienceDesk, Chosen
from broadside.newsroom.certificates.certificate_desk import CertificateDesk
from broadside.newsroom.correction_desk import CorrectionDesk
from broadside.newsroom.coverage import coverage, verify
from broadside.newsroom.dead_desk import DeadDesk, questions
from broadside.newsroom.draft_desk import DraftDesk
from broadside.newsroom.drills.drill_desk import DrillDesk
from broadside.newsroom.dry_run import PHONES, DryRun
from broadside.newsroom.explain.explain_desk import ExplainDesk
from broadside.newsroom.firing import Firing, new_id
from broadside.newsroom.forecasts.desk import ForecastDesk, Renderer
from broadside.newsroom.foresight import FORESEEN, Foreseen, foresee, zoneless
from broadside.newsroom.guards import approvals
from broadside.newsroom.guards.approvals import ITSELF, Asker
from broadside.newsroom.guards.budgets import Budgets, over_budget
from broadside.newsroom.guards.canary_desk import CanaryDesk, canary_policy, share_of
from broadside.newsroom.guards.content import same_again, text_guard
from broadside.newsroom.guards.device_sender import DeviceSender
from broadside.newsroom.link_reader import LinkReader
from broadside.newsroom.quiet_policy import HOURS, NO_QUIET, Quiet
from broadside.newsroom.receipt_desk import ReceiptDesk
from broadside.newsroom.reports import report
from broadside.newsroom.ring import Ring
from broadside.newsroom.starts import Times
from broadside.newsroom.stories.story_desk import StoryDesk
from broadside.newsroom.stories.story_keeper import StoryKeeper
from broadside.newsroom.stories.story_shelf import StoryShelf
from broadside.newsroom.stories.story_work import StoryWork
from broadside.newsroom.subscriber_desk import SubscriberDesk
from broadside.newsroom.tube_desk import TubeDesk
from broadside.outward.fire_hooks import HOOKS
from broadside.outward.outward import Outward
from campaigns.campaign import ADAPTED, STORY, Campaign
from campaigns.channel_state import ChannelState
from campaigns.clock import Clock, wall_clock
from campaigns.guards import NO_GUARDS, Guards
from campaigns.herd import HERD, read_herd
from campaigns.identity import campaign_text, parse_campaign
from campaigns.kind import BUILT_IN, USUAL, Kind
from campaigns.message import Message
from campaigns.presentation import Presentation
from campaigns.quiet_hours import written_hours
from campaigns.receipt import Receipts
from campaigns.windows import BEST, QuietRule, Windows
from storage.drafts import OWNER
from storage.errors import LinkDown, LinkLost, Repeats
from storage.records import DeadStanding, Memory
from storage.store import Store
from storage.tubes import Tubes
from transports import registry
from transports.broadcasts import Broadcasting
from transports.errors import PayloadError
from transports.proxy import Proxy

PAGE_SIZE = 2000
"""Subscribers a page: smaller pages cost more CPU a push, larger ones delay other clients' small calls to the store
(`./dev bench choices`)."""
ZONED_PAGE_SIZE = 12_000
"""The same where quiet hours hold: a page is parted by window classes, too, and small batches cost more. Here twelve
zones on two channels fill a batch each."""
LARGEST_PAGE = 16_000
"""The most: at best times, where a page is parted by half hours, and for narrow audiences. With 8,000 a push at best
times cost twice as much CPU as usual, with these half as much again (`./dev bench classes`). With 24,000 a small call
waited 24 ms for the put of a page."""
LOOK_EVERY = 0.2
"""Seconds between two reads of a campaign under way …"""
SCHEDULED_EVERY = 1.0
"""… and of one that has not started yet."""

Adapted = tuple[Message, list[str]]
"""A message that a platform carries, and how it was adapted to it."""
MessageCheck = Callable[..., None]
"""Raises ``PayloadError`` if a platform cannot carry a message: ``Transport.check``."""


class Newsroom:
    """One node's editor desk.

    ``node``: this node's name; ``checks``: channel → its platform's check of a message; ``states``: why this node's
    channels stand still; ``segments``: the number of parts in which a base is walked in parallel; ``peers``: the other
    nodes' tubes, which get their share of the first batons; ``device_tokens``: the rules by which every token is
    normalised before it is stored; ``standing``: the dead ledger's current states; ``kinds``: name → kind of news;
    ``quiet``: its quiet hours; ``guards``: what stands before Fire; ``daily_limits``: as ``Budgets`` takes them;
    ``zone``: the newsroom's time zone; ``link_hosts``: sites whose pages it may read; ``neighbours``: the other
    nodes' tubes by their names; ``archive``: the folder with this node's archives; ``receipts``: who gets an address
    that tells of a push's arrival; ``counted``: the folder with the receipts that were counted; ``renderers``: channel
    → its platform's rendering of a message, for a push's size; ``ring``: all nodes' states; ``outward``: what it asks
    of the newsroom's other systems, and tells them; ``proxy``: the way out;
    ``broadcasters``: channel → its transport, of those with broadcast channels.
    """

    def __init__(
        self,
        *,
        store: Store,
        tubes: Tubes,
        checks: Mapping[str, MessageCheck],
        node: str,
        states: Callable[[], Iterable[ChannelState]],
        standing: Callable[[], Sequence[DeadStanding]] = tuple,
        segments: int,
        peers: Sequence[Tubes] = (),
        dry_run: DryRun,
        device_tokens: DeviceTokens,
        kinds: Mapping[str, Kind] = BUILT_IN,
        zone: str | None = None,
        quiet: Quiet = NO_QUIET,
        guards: Guards = NO_GUARDS,
        daily_limits: Mapping[str, int] = MappingProxyType({}),
        link_hosts: Sequence[str] = (),
        neighbours: Mapping[str, Tubes] = MappingProxyType({}),
        archive: Path | None = None,
        drill: DrillConfig | None = None,
        receipts: Receipts | None = None,
        counted: Path | None = None,
        renderers: Mapping[str, Renderer] = MappingProxyType({}),
        ring: Ring | None = None,
        outward: Outward | None = None,
        proxy: Proxy | None = None,
        broadcasters: Mapping[str, Broadcasting] = MappingProxyType({}),
        clock: Clock = wall_clock,
    ) -> None:
        self._store = store
        self._tubes = tubes
        self._checks = checks
        self._node = node
        self._states = states
        self._firing = Firing(store=store, tubes=tubes, peers=peers, segments=segments, clock=clock)
        self._queues = (tubes, *peers)
        self._standing = standing
        self.dead = DeadDesk(store, clock)
        self.audience = AudienceDesk(store)
        ring = ring or Ring(store=store, node=node, clock=clock)
        self.forecasts = ForecastDesk(store, ring, self.audience, renderers, clock)
        self.links = LinkReader(link_hosts, proxy=proxy)
        self.outward = outward or Outward(store, node, clock=clock)
        self.drafts = DraftDesk(store.drafts, clock, zone)
        self.subscribers = SubscriberDesk(store, checks, device_tokens, clock)
        self.tubes = TubeDesk(tubes, checks)
        self.drills = DrillDesk(
            store=store,
            firing=self._firing,
            resume=self.resume,
            foresee=self._foresee_whole,
            config=drill,
            channels=list(device_tokens.channels),
            zone=zone,
            clock=clock,
        )
        self.receipts = ReceiptDesk(store, counted, receipts, clock)
        self.certificates = CertificateDesk(store, node, archive, clock)
        self._explain = ExplainDesk(store, {node: tubes, **neighbours}, device_tokens, archive, clock)
        self._dry_run = dry_run
        self.canaries = CanaryDesk(store, self.audience, lambda found: report(found, clock(), ()).reached, clock)
        self.devices = DeviceSender(store, dry_run, device_tokens, clock)
        self.device_tokens = device_tokens
        self._quiet = quiet
        self._guards = guards
        self._budgets = Budgets(self.audience, daily_limits, zone)
        self._rehearsing = trio.Lock()
        self.corrections = CorrectionDesk(
            store=store, queues=self._queues, firing=self._firing, quiet=quiet, check=self._carry, clock=clock
        )
        shelf = StoryShelf(store.stories, clock)
        work = StoryWork(node, store, shelf, broadcasters, self.fire, self.cancel, clock)
        self.stories = StoryDesk(
            shelf, work, broadcasters, check=self._carry, channels=self._channels, kind=self._kind, clock=clock
        )
        self.story_keeper = StoryKeeper(shelf, work, self.stories, broadcasters, clock)
        self._kinds = kinds
        self._clock = clock
        self.refused_lines = RefusedLines(clock)
        self.zone = zone

    async def fire(
        self,
        request: FireRequest,
        key: str | None = None,
        owner: str = "local",
        by: Asker = ITSELF,
        story: int | None = None,
    ) -> CampaignReport:
        """Create a campaign and fire it once, however often the same request comes with the same ``key``.

        With a ``start`` it is scheduled, and `start` fires it; with ``arm`` it is armed, and `fire_armed` does.
        ``owner``: the owner of the idempotency key; ``by``: who asks; ``story``: what it is an update of. Raises
        ``RecordError`` if the message, the channels or the times are invalid, ``KeyReused`` if the key belongs to
        another request, and ``FireFailed``, which says whether the campaign may be firing.
        """
        request = _one_list_of_channels(request)
        kind = self._kind(request)
        sent = _as(kind, request)
        times = Times.read(sent, self._clock())
        policy: dict[str, Any] = {"page_size": PAGE_SIZE, "kind": request.kind or USUAL, "lane": kind.lane.word}
        if story is not None:
            policy[STORY] = story
        quiet = self._quiet.at(kind.quiet_hours)
        policy |= quiet.policy(times.quiet, request.channels) | self.outward.herd.policy(request, kind)
        if quiet.hours is not None or times.moment is not None:
            policy["page_size"] = LARGEST_PAGE if times.moment == BEST else ZONED_PAGE_SIZE

        phones = 0
        arm = request.arm is True

        async def check(id: int) -> Chosen:
            nonlocal phones
            times.check(sent, self._clock())
            policy.update(times.policy(sent, kept=arm))
            share = share_of(sent, times)
            if share is not None:
                policy["canary"] = canary_policy(sent, id, policy)
            channels, more = await self._check(sent, quiet)
            if times.later:  # who is left out, and what is adapted, is decided when it starts
                channels, more = request.channels, {}
            policy.update(more)
            whole = await self.audience.choose(request.audience or None, channels, campaign_text(id))
            chosen = whole if share is None else await self.audience.choose(share, channels, campaign_text(id))
            # a page of a narrow audience has more rows, or its batches would be small
            policy["page_size"] = round(min(policy["page_size"] / max(chosen.share, 0.01), LARGEST_PAGE))
            policy["page_size"] = self.outward.herd.page_size(policy, policy["page_size"])
            if foreseen := await self._foresee(whole, times, quiet):
                foreseen.refuse_unasked(sent)
                policy[FORESEEN] = foreseen.sentences()
            await self._refuse_over_budget(whole, request, kind, request.over_budget is True)
            if self._guards.approval_above is not None:
                phones = await self.audience.at_most(whole)
                approvals.refuse_alone(phones, request, self._guards, by)
            if not times.later:
                policy.update(await self._forecast(sent.message, chosen, times, quiet, policy))
            await self._before(sent, policy, times.later or arm)
            return chosen

        def windows(start: int) -> Windows | None:
            return None if times.later else self._windows(times._replace(start=start), quiet, request.channels)

        try:
            guard = text_guard(request, self._guards)
            arming = (
                (lambda: approvals.arming(phones, self._guards, by, key if owner == OWNER else None)) if arm else None
            )
            campaign = await self._firing.fire(request, sent.message, policy, check, key, owner, windows, guard, arming)
            if not arm:
                await self.drills.make_way()
        except Repeats as repeats:
            raise same_again(repeats, request, self._clock(), self.zone) from None
        now = self._clock()
        return report(campaign, now, self._states(), zone=self.zone, herd=self.outward.herd.report(campaign, now))

    async def _refuse_over_budget(self, chosen: Chosen, request: FireRequest, kind: Kind, said: bool) -> None:
        """Raise ``NeedsYes`` if some of an audience had enough today, and nobody has ``said`` yes to it."""
        name = request.kind or USUAL
        if not said and (problem := await self._budgets.said(chosen, name, kind, self._clock())):
            raise over_budget(problem)

    async def fire_armed(self, id: int, yes: ArmedFire, by: Asker = ITSELF) -> CampaignReport:
        """Fire an armed campaign, once however often this is asked. ``yes``: what is said yes to.

        Raises ``Conflict`` if it was never armed or is over, ``RecordError`` if a guard stands before it, and
        ``FireFailed``.
        """
        campaign = await self._store.campaign_get(id)
        if campaign is not None and campaign.state == "armed":
            request = msgspec.structs.replace(starts.request_of(campaign), again=yes.again)
            now, alone = self._clock(), yes.unapproved is True
            approvals.refuse_unapproved(campaign, by, said=alone)
            times = Times.read(request, now)
            times.check(request, now)
            if kind := self._kinds.get(campaign.policy.get("kind", USUAL)):
                listed = await self._store.campaign_listed(id) if self._budgets.asked(kind) else None
                chosen = Chosen(campaign.audience, _whole(campaign.where), listed)
                await self._refuse_over_budget(chosen, request, kind, yes.over_budget is True)
            quiet = self._quiet.at(campaign.policy.get(HOURS))
            windows = None
            if not times.later:
                windows = await trio.to_thread.run_sync(self._windows, times, quiet, campaign.audience)
            guard, said = text_guard(request, self._guards), await self.outward.hooks.before(campaign.message)
            try:
                more = {HOOKS: said} if said else {}
                stays = await self._firing.fire_armed(id, campaign.lane, windows, guard, more, alone=alone)
            except Repeats as repeats:
                raise same_again(repeats, request, now, self.zone) from None
            if stays is not None:
                raise approvals.still_unapproved(campaign, stays, by, self.zone)
            await self.drills.make_way()
            campaign = await self._store.campaign_get(id)
        return await self._moved(id, "fire", None if campaign is None else campaign.state)

    async def approve(self, id: int, by: Asker) -> CampaignReport:
        """Approve an armed campaign. Raises ``Conflict`` for the key that has asked, and if it needs no approval."""
        now = self._clock()
        word = await self._store.armed.approve(id, by.owner, by.name, now + self._guards.approval_for * 1000, now)
        report = await self.campaign(id)
        if word is None or report is None:
            raise _no_campaign(id)
        if word != "approved":
            raise approvals.refused(word, report)
        return report

    async def rest(self, id: int) -> CampaignReport:
        """Send a canary's rest, whatever has become of its share, which goes on too. Raises ``Conflict``."""
        found = await self.canaries.go(id)
        campaign = await self._store.campaign_get(id)
        if campaign is not None and campaign.state in ("pausing", "paused"):
            await self.resume(id)
        assert found.campaign is not None
        return await self._moved(found.campaign, "rest", "scheduled")

    async def disarm(self, id: int) -> CampaignReport:
        """Take back an armed campaign. Raises ``Conflict`` if it is not armed."""
        return await self._moved(id, "disarm", await self._store.armed.disarm(id, self._clock()))

    async def warm(self) -> None:
        """Do in advance what a Fire would wait for: the time zones' rules are read for the window classes."""
        times = Times.read(FireRequest(message=Message()), self._clock())
        await trio.to_thread.run_sync(self._windows, times, self._quiet, None)

    async def check_limits(self, request: FireRequest, limits: KeyLimits) -> None:
        """Raise ``RecordError`` for a campaign that a key may not fire. An estimate counts with its error."""
        channels = _one_list_of_channels(request).channels
        limits.check_channels(None if channels is None else frozenset(channels))
        limits.check_kind(request.kind or USUAL)
        if limits.most is not None:
            audience = msgspec.structs.replace(request.audience or AudienceRequest(), channels=channels)
            found = await self.audience.count(audience, exact=False)
            limits.check_size(found.subscribers + (found.error or 0))

    async def check_campaign(self, id: int, limits: KeyLimits, *, fires: bool = False) -> None:
        """Raise ``RecordError`` for a campaign that a key may not pause, resume or cancel.

        ``fires``: the key lets it go, so that its size counts too.
        """
        if limits == NO_LIMITS or (campaign := await self._store.campaign_get(id)) is None:
            return
        limits.check_channels(campaign.channels or None)
        limits.check_kind(campaign.policy.get("kind", USUAL))
        if fires and limits.most is not None:
            listed = await self._store.campaign_listed(id)
            limits.check_size(await self.audience.at_most(Chosen(campaign.audience, _whole(campaign.where), listed)))

    async def start(self, id: int) -> None:
        """Start a scheduled campaign that is due, from the request that was kept, unless another node has started it.

        It is missed if the request does not pass the checks any more. Raises ``StorageError``: nothing is lost, and the
        call can be repeated.
        """
        campaign = await self._store.campaign_get(id)
        if campaign is None or campaign.state != "scheduled":
            return
        began = False
        try:
            request = starts.request_of(campaign)
            quiet = self._quiet.at(campaign.policy.get(HOURS))
            channels, more = await self._check(request, quiet)
        except RecordError as error:
            await self._store.campaign_miss(id, str(error))
        else:
            times = Times.read(request, campaign.start or self._clock())
            policy = campaign.policy | quiet.policy(times.quiet, channels) | more
            chosen = Chosen(channels, campaign.where, None, campaign.estimate or None)
            policy |= await self._forecast(request.message, chosen, times, quiet, policy)
            if said := await self.outward.hooks.before(campaign.message):
                policy[HOOKS] = said
            windows = await trio.to_thread.run_sync(self._windows, times, quiet, channels)
            began = await self._firing.start(id, channels, policy, windows)
        if (now := await self._store.campaign_get(id)) is not None:
            starts.log_start(now, began, self.zone)

    async def _before(self, request: FireRequest, policy: dict[str, Any], later: bool) -> None:
        """The last steps before a campaign is written: what its rate means, and the hooks, if it starts now."""
        if HERD in policy:
            audience = msgspec.structs.replace(request.audience or AudienceRequest(), channels=request.channels)
            people = (await self.audience.count(audience, exact=False)).subscribers
            if sentences := self.outward.herd.foresee(policy, people):
                policy[FORESEEN] = [*policy.get(FORESEEN, ()), *sentences]
        if not later and (said := await self.outward.hooks.before(request.message)):
            policy[HOOKS] = said

    def _windows(self, times: Times, quiet: Quiet, channels: Collection[str] | None) -> Windows | None:
        """The window classes of a campaign that is to start at ``times.start``, also if it starts late."""
        start, _, moment, ttl, expires_at, rule = times
        return quiet.windows(rule, channels or quiet.zones, start, ttl, moment, expires_at)

    async def _foresee(self, chosen: Chosen, times: Times, quiet: Quiet) -> Foreseen | None:
        windows = await trio.to_thread.run_sync(self._windows, times, quiet, chosen.channels)
        return await foresee(self.audience, chosen, times, windows)

    async def _forecast(
        self, message: Message, chosen: Chosen, times: Times, quiet: Quiet, policy: dict[str, Any]
    ) -> dict[str, str]:
        """The entry of a campaign's policy with its forecast."""
        windows = await trio.to_thread.run_sync(self._windows, times, quiet, chosen.channels)
        return await self.forecasts.kept(message, chosen, windows, chosen.channels, read_herd(policy))

    async def _foresee_whole(self, message: Message, channels: Sequence[str]) -> dict[str, str]:
        """The entry of a policy with the forecast of a message to whole channels, now."""
        chosen = await self.audience.choose(None, list(channels), "")
        return await self.forecasts.kept(message, chosen, None, chosen.channels, None)

    async def forecast(self, request: FireRequest) -> Forecast:
        """Foresee how long a campaign would take. Fires and stores nothing. Raises as :meth:`rehearse` does."""
        request = _one_list_of_channels(request)
        kind, now = self._kind(request), self._clock()
        self._channels(request, await self._store.channels_served() or ())
        herd = read_herd(self.outward.herd.policy(request, kind))
        request, quiet = _as(kind, request), self._quiet.at(kind.quiet_hours)
        times = Times.read(request, now)
        chosen = await self.audience.choose(request.audience or None, request.channels, "")
        windows = await trio.to_thread.run_sync(self._windows, times, quiet, chosen.channels)
        return await self.forecasts.forecast(request.message, chosen, windows, chosen.channels, herd)

    async def zoneless(self) -> str:
        """Say how many subscribers have no quiet hours, because nobody knows their time zone; empty: none."""
        names = [name for name, zone in self._quiet.zones.items() if zone is None]
        return await zoneless(self.audience, names) if names and self._quiet.hours is not None else ""

    def about(self) -> NewsroomClock:
        """Return the newsroom's zone, this node's time, and what a campaign can be."""
        return NewsroomClock(
            zone=self.zone,
            now=self._clock(),
            kinds={
                name: KindRules(
                    lane=kind.lane.word,
                    quiet=kind.quiet,
                    quiet_hours=written_hours(self._quiet.at(kind.quiet_hours).hours),
                    urgency=kind.urgency,
                    ttl_seconds=kind.ttl,
                    **self.outward.herd.rules(kind),
                    budget=kind.budget,
                )
                for name, kind in self._kinds.items()
            },
            channels=dict(self.device_tokens.channels),
            silent=sorted(self._quiet.silent),
            link_hosts=sorted(self.links.hosts),
        )

    async def pause(self, id: int) -> CampaignReport:
        """Begin a pause: nothing more is claimed or sent. Raises ``Conflict`` if the campaign is not firing."""
        state = await self._store.campaign_pause(id, self._clock())
        await stopping.tell(self._queues)
        return await self._moved(id, "pause", state)

    async def cancel(self, id: int) -> CampaignReport:
        """Begin to cancel: subscribers not yet reached get nothing. Raises ``Conflict`` for a campaign that is done."""
        state = await self._store.campaign_cancel(id, self._clock())
        await stopping.tell(self._queues)
        return await self._moved(id, "cancel", state)

    async def resume(self, id: int) -> CampaignReport:
        """Resume a paused campaign. Raises ``Conflict`` for a draft, and for a cancelled campaign."""
        state, batons = await self._store.campaign_resume(id, self._clock()) or (None, [])
        if batons and (campaign := await self._store.campaign_get(id)) is not None:
            await self._firing.spread(batons, campaign.lane)
        await stopping.tell(self._queues)
        if state == "paused":
            what = f"the correction of campaign {campaign_text(id)} was interrupted"
            raise Conflict(what, "repeat it with the same text: that completes it, and then the campaign may go on")
        return await self._moved(id, "resume", state)

    async def set_rate(self, id: int, rate: float) -> CampaignReport:
        """Change how many people a second a campaign reaches. Raises ``Conflict`` for one without a rate."""
        found, now = await self._store.herd.set_rate(id, rate), await self.campaign(id)
        if found is None or now is None:
            raise Conflict(f"no campaign {campaign_text(id)}", "`campaign list` shows the ids", missing=True)
        if not found[1]:
            what = f"campaign {now.id} is {now.state}" if now.ended else f"campaign {now.id} was fired without a rate"
            raise Conflict(what, "only one that was fired with a rate, and has not ended, can be made slower or faster")
        return now

    async def _moved(self, id: int, act: str, state: str | None) -> CampaignReport:
        """Return the report if ``act`` leads to ``state``, also when the call is a repeat; else raise ``Conflict``."""
        now = await self.campaign(id)
        if now is None or state is None:
            raise _no_campaign(id)
        goals, otherwise = _ACTS[act]
        if state not in goals:
            raise Conflict(f"campaign {now.id} is {state}", otherwise)
        return now

    async def coverage(self, id: int) -> Coverage | None:
        """Return the id ranges that a campaign has walked, from the ledger."""
        campaign = await self._with_ledger(id)
        return None if campaign is None else await coverage(self._store, campaign)

    async def verify(self, id: int) -> Verification | None:
        """Check a campaign's ledger against the base."""
        campaign = await self._with_ledger(id)
        return None if campaign is None else await verify(self._store, campaign)

    async def explain(self, id: int, wanted: ExplainRequest) -> Explanations | None:
        """Return what became of a person; None if there is no such campaign.

        Raises ``Conflict`` if the campaign's ledger has left the store, and its archive is not here.
        """
        return await self._explain.explain(id, wanted)

    async def _with_ledger(self, id: int) -> Campaign | None:
        """Return a campaign; raises ``Conflict`` if its ledger has left the store."""
        campaign = await self._store.campaign_get(id)
        if campaign is not None and (archive := campaign.policy.get("archive")) is not None:
            text = campaign_text(id)
            what = f"the ledger of campaign {text} is in node {archive['node']}'s archive/{text}.ndjson.gz"
            raise Conflict(f"{what} (SHA-256 {archive['sha256']})", f"there: `broadside campaign archive {text}`")
        return campaign

    async def rehearse(self, request: FireRequest) -> DryRunReport:
        """Ask every channel's platform, and its provider if that has a dry run. Fires and stores nothing.

        Raises ``RecordError`` for invalid channels, and while another dry run is under way.
        """
        request = _one_list_of_channels(request)
        names, kind = self._channels(request), self._kind(request)
        request, quiet, now = _as(kind, request), self._quiet.at(kind.quiet_hours), self._clock()
        times = Times.read(request, now)
        times.check(request, now)
        id, ttl = new_id(now), max(1, times.ttl // 1000)
        chosen = await self.audience.choose(request.audience or None, request.channels, campaign_text(id))
        foreseen = await self._foresee(chosen, times, quiet)
        phones = {name: await self._store.subscribers_some(name, PHONES) for name in names}
        had = await self._budgets.said(chosen, request.kind or USUAL, kind, now)
        verdicts: dict[str, Verdict] = {}

        adapted: dict[str, Adapted] = {}
        for name in names:
            with contextlib.suppress(PayloadError):  # the dry run says it
                adapted[name] = self._carried(name, request, quiet, adapted)

        async def ask(name: str) -> None:
            message, sentences = adapted.get(name, (request.message, []))
            verdict = await self._dry_run.ask(name, message, phones[name], id, ttl)
            verdicts[name] = msgspec.structs.replace(verdict, adapted=sentences)

        try:
            self._rehearsing.acquire_nowait()
        except trio.WouldBlock:
            raise RecordError(Problem("dry_run", "another one is under way", "try again in a moment")) from None
        try:
            async with trio.open_nursery() as nursery:
                for name in names:
                    nursery.start_soon(ask, name)
        finally:
            self._rehearsing.release()
        notes = [*(foreseen.sentences() if foreseen else []), *([had.what] if had else [])]
        return DryRunReport({name: verdicts[name] for name in names}, notes)

    def preview(self, request: FireRequest) -> PreviewReport:
        """Return the exact requests that the providers would get. Fires and stores nothing.

        Raises ``RecordError`` for invalid channels.
        """
        request = _one_list_of_channels(request)
        now, kind = self._clock(), self._kind(request)
        names, sent, quiet = self._channels(request), _as(kind, request), self._quiet.at(kind.quiet_hours)
        times = Times.read(sent, now)
        at_night = {name: quiet.at_night(name, times.quiet) for name in names}
        return self._previews(dict.fromkeys(names, sent.message), new_id(now), times.start + times.ttl, at_night)

    async def preview_of(self, id: int) -> PreviewReport | None:
        """Return the requests that the providers get of a campaign; None if there is no such campaign."""
        campaign = await self._store.campaign_get(id)
        if campaign is None:
            return None
        here = [name for name in campaign.audience or self._checks if name in self._checks]
        messages = {name: campaign.message_to(name) for name in here}
        quiet, rule = self._quiet.at(campaign.policy.get(HOURS)), campaign.policy.get("quiet")
        at_night = {} if rule is None else {name: quiet.at_night(name, QuietRule(rule)) for name in here}
        return self._previews(messages, id, campaign.expires_at, at_night)

    def _previews(
        self, messages: Mapping[str, Message], campaign: int, expires_at: int, at_night: Mapping[str, str]
    ) -> PreviewReport:
        """``at_night``: channel → what becomes of people in quiet hours."""
        return PreviewReport(
            {
                name: msgspec.structs.replace(
                    self._dry_run.preview(name, message, campaign, expires_at),
                    at_night=at_night.get(name, ""),
                    daily_limit=self._budgets.limits.get(name),
                )
                for name, message in messages.items()
                if name in self._checks
            }
        )

    async def _check(self, request: FireRequest, quiet: Quiet) -> tuple[list[str] | None, dict[str, Any]]:
        """Return the channels to fire to (None: all), and the policy's entries on what was adapted and left out."""
        known = await self._store.channels_served()
        objections: dict[str, Problem] = {}
        adapted: dict[str, Adapted] = {}
        for name in self._channels(request, known or ()):
            if name in self._checks:  # only the node that serves a channel can check its messages
                try:
                    adapted[name] = self._carried(name, request, quiet, adapted)
                except PayloadError as error:
                    objections[name] = _problem(str(error))
                    if request.on_objection != "skip":
                        raise RecordError(objections[name]) from None
        audience = await self._store.campaign_audience(request.channels)
        served.refuse(audience, request.channels, known or self._checks)
        changed = {name: found for name, found in adapted.items() if found[1]}
        if not objections:
            return request.channels, {ADAPTED: policy_entries(changed)} if changed else {}
        channels = [name for name in request.channels or audience.channels if name not in objections]
        if not channels:
            raise RecordError(next(iter(objections.values())))
        return channels, {served.LEFT_OUT: served.left_out(objections, audience.unserved)}

    def _carried(self, name: str, request: FireRequest, quiet: Quiet, others: Mapping[str, Adapted]) -> Adapted:
        """The message that a channel carries: the request's, or one adapted to the platform if the request asks for it.

        ``others``: what channels before it carry; of the same platform it is the same. Raises ``PayloadError``.
        """

        def check(message: Message) -> None:
            self._checks[name](message)
            if request.quiet is QuietRule.SILENT and quiet.shows_asleep(name):
                self._checks[name](message, Presentation.ASLEEP)

        if request.on_objection != "adapt":
            check(request.message)
            return request.message, []
        platforms = self.device_tokens.channels
        for other, found in others.items():
            if platforms.get(other) == platforms.get(name):
                with contextlib.suppress(PayloadError):
                    check(found[0])
                    return found
        return adapt(request.message, check)

    def _carry(self, message: Message, channels: Collection[str]) -> None:
        """Raise ``RecordError`` if one of these channels cannot carry a message as it is, awake and asleep."""
        for name in sorted(self._checks.keys() & set(channels)):
            try:
                self._checks[name](message)
                if name in self._quiet.silent:
                    self._checks[name](message, Presentation.ASLEEP)
            except PayloadError as error:
                raise RecordError(_problem(str(error))) from None

    def _kind(self, request: FireRequest) -> Kind:
        """Return the kind of a request; raises ``RecordError`` for one that this node does not know."""
        name = USUAL if request.kind is None else request.kind
        if name not in self._kinds:
            raise RecordError(strict_json.unknown("kind", name, sorted(self._kinds), "kind"))
        return self._kinds[name]

    def _channels(self, request: FireRequest, others: Collection[str] = ()) -> list[str]:
        """Return the channels of a request; raises ``RecordError`` for unknown channels, platforms and options.

        ``others``: channels that other nodes serve.
        """
        platforms = registry.platforms()
        for field in ("options", "platforms"):
            for platform in getattr(request.message, field):
                if platform not in platforms:
                    where = f"message.{field}.{platform[:64]}"
                    raise RecordError(strict_json.unknown(where, platform, platforms, "platform"))
        for name in request.channels or ():
            if name not in self._checks and name not in others:
                known = {*self._checks, *others}
                what = f"unknown channel {shown(name)}"
                raise RecordError(Problem("channels", what, meant(name, known), name))
        if request.channels is not None and not request.channels:
            raise RecordError(Problem("channels", "names none", "leave it out for all channels"))
        names = list(request.channels or self._checks)
        # each channel's own check reads its platform's options: these are the others, which nobody else would read
        for platform in request.message.options.keys() - {self.device_tokens.channels.get(name) for name in names}:
            try:
                registry.load(platform).options(request.message.options[platform])
            except PayloadError as error:
                raise RecordError(_problem(str(error))) from None
        return names

    async def campaign(self, id: int, *, exact: bool = False) -> CampaignReport | None:
        """Return a campaign's report; None if there is no such campaign.

        ``exact``: count the audience among those who were not walked, of a stopped campaign with conditions.
        """
        campaign = await self._store.campaign_waits(id)
        if campaign is None:
            return None
        states, now = await self.channel_states(), self._clock()
        herd = self.outward.herd.report(campaign, now)
        found = report(campaign, now, states, self._standing(), self.zone, herd)
        found = await self.forecasts.live(campaign.id, found, states)
        if campaign.state not in stopping.STOPS or campaign.fired_at is None:
            return found
        nodes = [] if campaign.ended else await self._store.campaign_waits_for(id)
        counted = await stopping.not_walked(self._store, campaign) if exact else None
        cut = stopping.cut_line(campaign, list(found.channels.values()), nodes, counted)
        return msgspec.structs.replace(found, cut=cut)

    async def campaigns(self, limit: int, cursor: str = "") -> CampaignPage:
        """Return campaigns, newest first. Raises ``RecordError`` if there is no such ``cursor``."""
        found = await self._store.campaign_list(limit + 1, read_cursor(cursor, parse_campaign))
        listed, next = page(found, limit, lambda n: (campaign_text(found[n].id),))
        now = self._clock()
        reports = [report(await self._timed(campaign), now, (), zone=self.zone) for campaign in listed]
        states = await self.channel_states() if any(each.state == "firing" for each in reports) else []
        for number, each in enumerate(reports):
            if each.state == "firing":
                reports[number] = await self.forecasts.live(listed[number].id, each, states)
        return CampaignPage([CampaignLine.of(each) for each in reports], next)

    async def _timed(self, campaign: Campaign) -> Campaign:
        """A campaign under way with those who wait in it, if it has window classes."""
        if not campaign.windowed or campaign.ended:
            return campaign
        return await self._store.campaign_waits(campaign.id) or campaign

    def questions(self) -> dict[str, str]:
        """Return the questions about refused tokens that wait for an answer: channel → a sentence."""
        return questions(self._standing())

    async def channel_states(self) -> list[ChannelState]:
        """Why channels stand still, on every node of the ring; while the store is away, only on this node."""
        try:
            others = [state for state in await self._store.channel_states() if state.node != self._node]
            others += served.missing(await self._store.channels_missing())
        except (LinkLost, LinkDown):
            others = []
        return [*self._states(), *others]

    async def served(self) -> list[str] | None:
        """Return the channels that the ring serves, sorted; None: no node has joined yet."""
        known = await self._store.channels_served()
        return None if known is None else sorted(known)

    @trio.as_safe_channel
    async def progress(self, id: int) -> AsyncGenerator[CampaignReport, None]:
        """Yield a campaign's report on every change until it has ended. Waits while the store is away."""
        last = None
        while True:
            try:
                now = await self.campaign(id)
            except (LinkLost, LinkDown):
                await trio.sleep(LOOK_EVERY)
                continue
            if now is None:
                return
            if last is None or _shown(now) != _shown(last):
                yield now
                last = now
            if now.ended:
                return
            await trio.sleep(LOOK_EVERY if now.state not in ("scheduled", "armed") else SCHEDULED_EVERY)

    async def memory(self) -> dict[str, Memory]:
        """Return how full the store's and the queue's memory is; one entry if they are one instance."""
        store, queue = await self._store.memory(), await self._tubes.memory()
        return {"store": store} if store.uuid == queue.uuid else {"store": store, "queue": queue}


_ACTS = {
    "fire": (
        ("scheduled", "firing", "pausing", "paused", "done", "cancelling"),
        "only an armed campaign can be fired: arm it with `fire --arm`",
    ),
    "rest": (("scheduled",), ""),
    "disarm": (("cancelled",), "only an armed campaign can be disarmed; one that is firing can be cancelled"),
    "pause": (("pausing", "paused"), "only a campaign that is firing can be paused; a later start can be cancelled"),
    "cancel": (("cancelling", "cancelled"), "it has ended already"),
    # a resumed campaign whose last batches ended during the pause is done at once
    "resume": (("firing", "done"), "only a paused campaign can be resumed"),
}
"""Act → the states it leads to, and the message if the campaign is in another state."""


def _whole(where: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The conditions of a campaign without the share of a canary, or any other."""
    return None if where is None else {name: value for name, value in where.items() if name != "share"}


def _no_campaign(id: int) -> Conflict:
    return Conflict(f"no campaign {campaign_text(id)}", "`campaign list` shows the ids", missing=True)


def _shown(report: CampaignReport) -> tuple[object, ...]:
    """What those who watch a campaign see change."""
    return report.channels, report.state, report.paused_channels, report.held, report.reached, report.cut, report.guard


def _as(kind: Kind, request: FireRequest) -> FireRequest:
    """A request with its kind's urgency, time to live and rule for quiet hours, where the editor has chosen none."""
    urgency = request.message.urgency or kind.urgency
    message = msgspec.structs.replace(request.message, urgency=None if urgency == "normal" else urgency)
    quiet = kind.quiet if request.quiet is msgspec.UNSET else request.quiet
    ttl = kind.ttl if request.ttl_seconds is None and request.expires is msgspec.UNSET else request.ttl_seconds
    return msgspec.structs.replace(request, message=message, quiet=quiet, ttl_seconds=ttl)


def _one_list_of_channels(request: FireRequest) -> FireRequest:
    """Return the request with the channels of its audience as its own (raises ``RecordError`` if it has both)."""
    named = request.audience.channels if request.audience else None
    if named is None:
        return request
    if request.channels is not None:
        raise RecordError(Problem("audience.channels", "is given, and so is channels", "give one of them"))
    return msgspec.structs.replace(request, channels=named)


def _problem(said: str) -> Problem:
    """Parse a platform's objection, ``message.title: is empty; write …``."""
    found = re.fullmatch(r"(message[\w.\[\]-]*): (.*?)(?:; (.*))?", said, re.DOTALL)
    return Problem(found[1], found[2], found[3] or "") if found else Problem("message", said)
