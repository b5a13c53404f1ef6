"""All that this node asks of the newsroom's other systems, and all that they hear, put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx

from actors.periodic import Periodic
from broadside.api.alarm import Alarm
from broadside.api.outward_records import WebhookReport, Webhooks
from broadside.config.outward_tables import HerdConfig, Hook, Webhook
from broadside.outward.delivery_desk import DeliveryChannel, DeliveryDesk
from broadside.outward.feed_desk import FeedDesk
from broadside.outward.fire_hooks import FireHooks
from broadside.outward.guarded_web import GuardedWeb, name_of
from broadside.outward.herd_desk import HerdDesk
from broadside.outward.webhook_sender import WebhookSender
from campaigns.clock import Clock, wall_clock
from storage.outward_store import WebhookRow
from storage.store import Store
from transports.proxy import Proxy
from transports.tls.context import client_context


class Outward:
    """``link_hosts``: the newsroom's own sites; ``proxy``: the way out, if there is one.

    ``delivery``: the channels whose providers are asked for their own figures; ``zone``: the newsroom's time zone.
    """

    def __init__(
        self,
        store: Store,
        node: str,
        *,
        herd: HerdConfig = HerdConfig(),  # noqa: B008, it is frozen
        hooks: Sequence[Hook] = (),
        webhooks: Sequence[Webhook] = (),
        link_hosts: Sequence[str] = (),
        delivery: Mapping[str, DeliveryChannel] = MappingProxyType({}),
        zone: str | None = None,
        proxy: Proxy | None = None,
        clock: Clock = wall_clock,
    ) -> None:
        self._store = store
        self._webhooks = webhooks
        self._asks_for_figures = bool(delivery)

        def own(url: str, ca: Path | None = None) -> GuardedWeb:
            """The way to one address of the configuration: whoever writes it there means its host."""
            tls = None if ca is None else client_context(ca)
            return GuardedWeb([name_of(httpx.URL(url))], tls, proxy=proxy)

        self.herd = HerdDesk(store, node, herd, own)
        self.hooks = FireHooks(hooks, own, GuardedWeb(link_hosts, proxy=proxy))
        self.feed = FeedDesk(store.outward)
        self.delivery = DeliveryDesk(store, node, delivery, zone, clock)
        self._senders = {
            each.name: WebhookSender(each, node=node, store=store, web=own(each.url, each.ca), clock=clock)
            for each in webhooks
        }

    def actors(self) -> dict[str, Periodic]:
        """Name → what runs beside the console."""
        senders = {f"webhook-{name}": each for name, each in self._senders.items()}
        figures = {"delivery-figures": self.delivery} if self._asks_for_figures else {}
        return {"herd-governor": self.herd.governor, **figures, **senders}

    def alarms(self) -> list[Alarm]:
        """Return what is wrong."""
        return [
            *self.herd.alarms(),
            *self.delivery.alarms(),
            *(alarm for each in self._senders.values() for alarm in each.alarms()),
        ]

    async def webhooks(self) -> Webhooks:
        """Return how far each receiver has heard."""
        rows = {row.name: row for row in await self._store.outward.webhooks()} if self._webhooks else {}
        return Webhooks(webhooks=[_report(each, rows.get(each.name)) for each in self._webhooks])


def _report(webhook: Webhook, row: WebhookRow | None) -> WebhookReport:
    host = urlsplit(webhook.url).netloc
    if row is None:
        return WebhookReport(name=webhook.name, host=host, state="waiting")
    return WebhookReport(
        name=webhook.name,
        host=host,
        state="failing" if row.failing_since else "waiting" if row.waiting else "heard",
        waiting=row.waiting,
        heard_at=row.heard_at or None,
        failing_since=row.failing_since or None,
        tries=row.tries,
        error=row.error,
        missed=row.missed,
    )
