"""Fetches the providers' own figures of deliveries each night, and keeps them with the campaigns.

One node of the ring does it for all. It disturbs no sending: a few requests, in the node's own process.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog
import trio

from actors.periodic import Periodic
from broadside.api.alarm import Alarm, AlarmName, Severity
from campaigns.clock import Clock
from campaigns.identity import campaign_text, parse_campaign
from storage.errors import StorageError
from storage.store import Store
from transports.contract import DeliveryFigures, DeliverySource
from transports.errors import ConnectionLost, TransportError

log = structlog.get_logger(__name__)

DUTY = "delivery figures"
HOUR = 5
"""Of the newsroom's day: the providers' yesterday is over everywhere but at sea."""
BACK = timedelta(8)
"""Figures change for some days: pushes wait for phones that are off."""
LOOK_EVERY = 5.0
"""Seconds; the store gives a duty to another node after ten."""
TRIES = 6
"""Of a night, for a provider that is away …"""
AGAIN_AFTER = 600.0
"""… and seconds between two."""
LISTED = 1_000
"""Campaigns that are looked through for those of a day."""
SOON = timedelta(14)
"""Before a token's last day it is an alarm."""


@dataclass(frozen=True, slots=True)
class DeliveryChannel:
    """A channel whose provider is asked."""

    source: Callable[[], DeliverySource]
    """Builds the way to its figures (raises ``CredentialsError``)."""
    expires: date | None = None
    """The last day of its token."""


class DeliveryDesk(Periodic):
    """``zone``: the newsroom's time zone; ``clock``: ms UTC."""

    def __init__(
        self, store: Store, node: str, channels: Mapping[str, DeliveryChannel], zone: str | None, clock: Clock
    ) -> None:
        super().__init__()
        self._store = store
        self._node = node
        self._channels = channels
        self._zone = UTC if zone is None else ZoneInfo(zone)
        self._clock = clock
        self._due = self.next_night()
        self._trouble: dict[str, str] = {}

    def next_night(self) -> int:
        """When the figures are fetched next, ms UTC."""
        now = datetime.fromtimestamp(self._clock() / 1000, self._zone)
        at = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
        return round((at if at > now else at + timedelta(1)).timestamp() * 1000)

    async def look(self) -> float:
        """Fetch the figures if their time has come, and it is this node's duty."""
        try:
            mine = await self._store.herd.take_duty(DUTY, self._node)
        except StorageError as error:
            log.debug("figures of deliveries wait for the store", error=str(error))
            return LOOK_EVERY
        if not mine:
            self._trouble.clear()
        if self._clock() >= self._due:
            self._due = self.next_night()
            if mine:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._hold)
                    await self.fetch()
                    nursery.cancel_scope.cancel()
        return LOOK_EVERY

    async def fetch(self) -> None:
        """Fetch all channels' figures, beside each other; what is wrong is an alarm. Never raises for a provider."""
        async with trio.open_nursery() as nursery:
            for name, channel in self._channels.items():
                nursery.start_soon(self._of_channel, name, channel)

    async def _of_channel(self, name: str, channel: DeliveryChannel) -> None:
        today = datetime.fromtimestamp(self._clock() / 1000, UTC).date()
        for number in range(TRIES):
            if number:
                await trio.sleep(AGAIN_AFTER)
            try:
                figures = await channel.source().figures(today - BACK, today)
                kept = await self._keep(name, figures)
            except (ConnectionLost, StorageError) as error:
                self._trouble[name] = str(error)
                log.info("no figures of deliveries yet", channel=name, why=str(error))
            except TransportError as error:  # a person must act: the next night is soon enough
                self._trouble[name] = str(error)
                log.warning("no figures of deliveries", channel=name, why=str(error))
                return
            else:
                self._trouble.pop(name, None)
                log.info("figures of deliveries", channel=name, days=len(figures), campaigns=kept)
                return

    async def _keep(self, channel: str, figures: list[DeliveryFigures]) -> int:
        """Write the figures to their campaigns; returns how many these are."""
        by_campaign: dict[str, list[DeliveryFigures]] = defaultdict(list)
        by_day: dict[date, DeliveryFigures] = {}
        for each in figures:
            if each.campaign:
                by_campaign[each.campaign].append(each)
            else:
                by_day[each.day] = each
        kept = 0
        for label, parts in by_campaign.items():
            try:
                id = parse_campaign(label)
            except ValueError:
                continue  # the newsroom's own label
            kept += await self._write(id, channel, parts, whole_app=False)
        if by_day and not by_campaign:
            for campaign in await self._store.campaign_list(LISTED):
                if campaign.fired_at is None or channel not in campaign.tallies or campaign.drill:
                    continue
                day = datetime.fromtimestamp(campaign.fired_at / 1000, UTC).date()
                if day in by_day:
                    kept += await self._write(campaign.id, channel, [by_day[day]], whole_app=True)
        return kept

    async def _write(self, id: int, channel: str, parts: list[DeliveryFigures], *, whole_app: bool) -> bool:
        sums: dict[str, Any] = {
            name: sum(getattr(part, name) for part in parts)
            for name in ("accepted", "delivered", "waiting", "discarded")
        }
        days = sorted({part.day.isoformat() for part in parts})
        known = await self._store.campaign_truth(
            id, channel, sums | {"days": days, "whole_app": whole_app, "at": self._clock()}
        )
        if not known:
            log.debug("figures of a campaign that is not here", campaign=campaign_text(id), channel=channel)
        return known

    async def _hold(self) -> None:
        """Keep the duty while the figures are fetched."""
        while True:
            await trio.sleep(LOOK_EVERY)
            try:
                await self._store.herd.take_duty(DUTY, self._node)
            except StorageError as error:
                log.debug("the duty of fetching figures may go to another node", error=str(error))

    def alarms(self) -> list[Alarm]:
        """Return what is wrong, and which token ends soon."""
        found = [self._alarm(name, f"no figures of deliveries on {name}: {why}") for name, why in self._trouble.items()]
        today = datetime.fromtimestamp(self._clock() / 1000, UTC).date()
        for name, channel in self._channels.items():
            if channel.expires is not None and channel.expires - today <= SOON:
                when = f"ended on {channel.expires}" if channel.expires < today else f"ends on {channel.expires}"
                found.append(self._alarm(name, f"the token for figures of deliveries on {name} {when}"))
        return found

    def _alarm(self, channel: str, text: str) -> Alarm:
        return Alarm(
            name=AlarmName.DELIVERY_FIGURES,
            severity=Severity.NOTICE,
            text=text,
            remedy="docs/delivery-truth.md says how the figures are had; pushes are not affected",
            about=channel,
        )
