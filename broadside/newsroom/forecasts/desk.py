"""Says before Fire how long a campaign will take, and what makes it so: from the ring's state and its experience."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
import structlog
import trio

from broadside.api.campaign_report import CampaignReport
from broadside.api.forecast_records import ChannelForecast, Forecast, Limit
from broadside.api.forecast_text import about, speed
from broadside.api.ring_state import RingNode, RingState
from broadside.newsroom.audience_desk import DRAWS_AT_FIRE, AudienceDesk, Chosen
from broadside.newsroom.forecasts import own_site
from broadside.newsroom.forecasts.inputs import OCTETS, NodeOutlook, careful, outlook
from broadside.newsroom.forecasts.kept import KEPT
from broadside.newsroom.forecasts.live import reach
from broadside.newsroom.forecasts.model import Course, run, together
from broadside.newsroom.forecasts.words import provider_of, why
from broadside.newsroom.ring import Ring
from campaigns.channel_state import ChannelState
from campaigns.clock import Clock
from campaigns.experience import NodeExperience, read_experience
from campaigns.herd import Herd
from campaigns.message import Message
from campaigns.windows import Windows
from storage.errors import StorageError
from storage.store import Store
from transports.errors import PayloadError
from transports.registry import weight_of

log = structlog.get_logger(__name__)

FRESH = 0.8
"""Seconds for which the ring's state is not read again: nodes write it once a second."""
LEARNT_EVERY = 5.0
"""Seconds for which the nodes' experience is not read again: it changes slowly."""
DRAWN_FOR = 60.0
"""Seconds for which the time zones of an audience are not counted again."""
DRAWN = 16
"""Audiences whose time zones are known."""
MORE = 100
"""Bytes by which a text is longer, to say what that costs."""
SOON = 1_000
"""Ms: who may get it so soon gets it at once."""

Renderer = Callable[..., Any]
"""``Transport.preview``."""


class ByMoment(NamedTuple):
    """An audience by when it may get the news."""

    now: dict[str, float]
    """Channel → phones that may get it at once …"""
    later: dict[int, float]
    """… and the moment (ms UTC) from which others may → how many."""


class ForecastDesk:
    """``renderers``: channel of this node → its transport's ``preview``; ``clock``: ms UTC."""

    def __init__(
        self, store: Store, ring: Ring, audience: AudienceDesk, renderers: Mapping[str, Renderer], clock: Clock
    ) -> None:
        self._store = store
        self._ring = ring
        self._audience = audience
        self._renderers = renderers
        self._clock = clock
        self._state: RingState | None = None
        self._learnt: dict[str, NodeExperience] = {}
        self._state_until = self._learnt_until = -math.inf
        self._drawn: dict[bytes, tuple[float, Any]] = {}

    async def forecast(
        self,
        message: Message,
        chosen: Chosen,
        windows: Windows | None,
        channels: Collection[str] | None,
        herd: Herd | None = None,
    ) -> Forecast:
        """Foresee a campaign of a ``message`` to an audience. Raises ``StorageError``.

        ``windows``: its window classes; ``channels``: None for all that have subscribers; ``herd``: how fast it may
        reach people.
        """
        now = self._clock()
        split = await self._split(chosen, windows, channels, now)
        octets = {name: self._octets(name, message) for name in split.now}
        state, learnt = await self.ring(), await self._experience()
        nodes = [each for each in state.nodes if each.status == "alive" and each.state is not None]
        served = [node for node in nodes if _serves(node, split.now)] or nodes
        skipped = min(1_000.0, 1 / max(chosen.share, 1e-3) - 1) if chosen.listed is None else 0.0
        outlooks = _outlooks(served, learnt, octets, skipped)
        courses = _courses(outlooks, split.now, herd)
        larger = {name: n + MORE for name, n in octets.items()}
        longer = _courses(_outlooks(served, learnt, larger, skipped), split.now, herd)
        platforms = {flow.channel: flow.platform for node in served if node.state for flow in node.state.channels}
        found = {
            name: _channel(course, split.now[name], platforms.get(name, ""), _stopped(outlooks, name))
            for name, course in courses.items()
            if split.now[name]
        }
        return _forecast(found, courses, longer, split, octets, careful(learnt, found, [n.name for n in served]), now)

    async def kept(
        self,
        message: Message,
        chosen: Chosen,
        windows: Windows | None,
        channels: Collection[str] | None,
        herd: Herd | None = None,
    ) -> dict[str, str]:
        """The entry of a campaign's policy; none if nothing can be foreseen now: a Fire does not wait for it."""
        try:
            found = await self.forecast(message, chosen, windows, channels, herd)
        except StorageError:
            return {}
        except Exception:  # whatever is wrong with a forecast, the news goes out
            log.exception("a campaign has no forecast")
            return {}
        return {KEPT: msgspec.json.encode(found).decode()}

    async def live(self, campaign: int, report: CampaignReport, states: Collection[ChannelState]) -> CampaignReport:
        """The report of a campaign with how far it has come. ``states``: why channels stand still, on any node."""
        if report.fired_at is None:
            return report
        rows, rates = await self._store.forecasts.reach(campaign)
        ring = None if report.ended else await self.ring()
        if report.ended and not rows:
            return report
        return msgspec.structs.replace(report, reach=reach(report, rows, rates, ring, states))

    async def ring(self) -> RingState:
        """What runs in every node, at most a second old."""
        if self._state is None or trio.current_time() >= self._state_until:
            self._state = await self._ring.state(quietly=True)
            self._state_until = trio.current_time() + FRESH
        return self._state

    async def _experience(self) -> dict[str, NodeExperience]:
        if trio.current_time() >= self._learnt_until:
            rows = await self._store.forecasts.experience()
            self._learnt = {row.node: found for row in rows if (found := read_experience(row.text)) is not None}
            self._learnt_until = trio.current_time() + LEARNT_EVERY
        return self._learnt

    def _octets(self, channel: str, message: Message) -> int:
        """Bytes of the longest push of a message on a channel."""
        if channel not in self._renderers:
            return OCTETS
        try:
            previews = self._renderers[channel](message, 1, self._clock() + 3_600_000)
        except PayloadError:  # the channel is left out, or gets it adapted
            return OCTETS
        return max((len(each.body) for each in previews), default=OCTETS)

    async def _split(
        self, chosen: Chosen, windows: Windows | None, channels: Collection[str] | None, now: int
    ) -> ByMoment:
        """Who may get it at once, and who may get it when."""
        if chosen.estimate is not None:
            sizes = {name: float(n) for name, n in chosen.estimate.items() if channels is None or name in channels}
        else:
            counts = await self._store.subscribers_count()
            sizes = {name: float(n) for name, n in counts.items() if channels is None or name in channels}
        if windows is None:
            return ByMoment(sizes, {})
        zones = await self._by_zones(chosen)
        inside = dict.fromkeys(sizes, 0.0)
        at_once = dict.fromkeys(sizes, 0.0)
        later: dict[int, float] = {}
        for group, rows in zones.rows.items():
            if group.channel not in sizes or not rows.inside:
                continue
            inside[group.channel] += rows.inside
            _, number = windows.place(group.channel, group.zone, group.slot)
            begin = windows.begin(group.channel, number, now)
            if begin <= now + SOON:
                at_once[group.channel] += rows.inside
            else:
                share = rows.inside  # of the drawn: scaled below
                later[begin] = later.get(begin, 0.0) + share
        scale = sum(sizes.values()) / max(1.0, sum(inside.values()))
        return ByMoment(
            {name: sizes[name] * at_once[name] / inside[name] if inside[name] else sizes[name] for name in sizes},
            {moment: phones * scale for moment, phones in later.items()},
        )

    async def _by_zones(self, chosen: Chosen) -> Any:
        key = msgspec.json.encode([chosen.channels, chosen.where, chosen.listed])
        until, known = self._drawn.get(key, (-math.inf, None))
        if trio.current_time() >= until:
            known = await self._audience.by_zones(chosen, DRAWS_AT_FIRE)
            if len(self._drawn) >= DRAWN:
                self._drawn.clear()
            self._drawn[key] = trio.current_time() + DRAWN_FOR, known
        return known


def _courses(outlooks: Collection[NodeOutlook], phones: Mapping[str, float], herd: Herd | None) -> dict[str, Course]:
    """How each channel goes, over all nodes: each walks its share of the base."""
    found: dict[str, list[Course]] = {name: [] for name in phones}
    workers = sum(each.workers for each in outlooks)
    for each in outlooks:
        ours = {name: n * each.workers / workers for name, n in phones.items()}
        speed_ = each.speed
        if herd is not None:
            speed_ = replace(speed_, herd=herd.rate * each.workers / workers, herd_ramp=herd.ramp)
        for name, course in run(speed_, each.pipes, ours).items():
            found[name].append(course)
    return {name: together(courses) for name, courses in found.items() if courses}


def _stopped(outlooks: Collection[NodeOutlook], channel: str) -> ChannelState | None:
    """Why a channel sends nothing on any node; None: on one of them it sends."""
    stopped = [each.stopped.get(channel) for each in outlooks]
    return stopped[0] if stopped and all(stopped) else None


def _outlooks(
    nodes: Collection[RingNode], learnt: Mapping[str, NodeExperience], octets: Mapping[str, int], skipped: float
) -> list[NodeOutlook]:
    return [
        outlook(node, node.state, learnt.get(node.name, NodeExperience()), octets, skipped)
        for node in nodes
        if node.state is not None
    ]


def _serves(node: RingNode, channels: Collection[str]) -> bool:
    return node.state is not None and {flow.channel for flow in node.state.channels}.issuperset(channels)


def _channel(course: Course, phones: float, platform: str, stopped: ChannelState | None) -> ChannelForecast:
    provider = provider_of(platform)
    if stopped is not None:
        limit: Limit = "node" if stopped.reason in ("parked", "unserved", "settling") else "provider"
        return ChannelForecast(
            phones=round(phones), seconds=None, rate=0.0, bottleneck=limit, sentence=stopped.sentence
        )
    if course.ends == math.inf:
        sentence = why(course.bottleneck, provider)
        return ChannelForecast(
            phones=round(phones), seconds=None, rate=0.0, bottleneck=course.bottleneck, sentence=sentence
        )
    rate = phones / course.ends if course.ends else 0.0
    detail = f"about {speed(rate)}"
    if course.bottleneck == "cpu" and weight_of(platform) > 1:
        detail += ", because each push is encrypted for one browser: more cores make it faster"
    return ChannelForecast(
        phones=round(phones),
        seconds=round(course.ends, 2),
        rate=round(rate, 1),
        bottleneck=course.bottleneck,
        sentence=why(course.bottleneck, provider, detail),
    )


def _forecast(
    found: dict[str, ChannelForecast],
    courses: Mapping[str, Course],
    longer: Mapping[str, Course],
    split: ByMoment,
    octets: dict[str, int],
    careful_: list[str],
    now: int,
) -> Forecast:
    held, at_once = sum(split.later.values()), sum(split.now.values())
    last = max(
        found, key=lambda name: math.inf if found[name].seconds is None else found[name].seconds or 0.0, default=""
    )
    seconds = found[last].seconds if last else None
    curve = [point for course in courses.values() for point in course.curve]
    limit: Limit = found[last].bottleneck if last else "answers"
    sentence = f"{last} is the slowest, because of {found[last].sentence}" if last else "It goes to nobody."
    if not last and at_once >= 1:
        limit, sentence = "node", "Nobody knows yet: no living node has told what it can do."
    if last and found[last].seconds is None:
        sentence = f"{last} sends nothing now: {found[last].sentence}"
    elif last and len(found) == 1:
        sentence = f"What it waits for is {found[last].sentence}"
    if held > at_once:
        limit = "quiet_hours"
        sentence = f"Most of them wait: {why(limit)}." + (f" Then, {sentence}" if last else "")
    return Forecast(
        phones=round(held + at_once),
        seconds=seconds,
        bottleneck=limit,
        sentence=sentence,
        channels=found,
        held=round(held),
        until=max(split.later, default=None),
        bytes=octets,
        longer=_longer(courses, longer, found),
        opens=own_site.opens(curve),
        image_bytes=own_site.picture_bytes(curve),
        careful=careful_,
        made_at=now,
    )


def _longer(courses: Mapping[str, Course], longer: Mapping[str, Course], found: Mapping[str, ChannelForecast]) -> str:
    """What a longer text costs."""
    ends = [max((each[name].ends for name in found), default=0.0) for each in (courses, longer)]
    if not all(math.isfinite(each) for each in ends):
        return ""
    more = ends[1] - ends[0]
    if more < 0.02 * ends[0] + 0.1:
        return "A longer text costs no time here."
    return f"Each {MORE} bytes more make it {about(more) if more >= 1 else f'{more:.1f} s'} longer."
