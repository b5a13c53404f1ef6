"""Pushes to browsers, through the push service that each browser has chosen (RFC 8030, 8291, 8292).

The processor is the bound here, not the network: each push is encrypted for one browser (docs/webpush.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import structlog
import trio

from campaigns.batch import Batch
from campaigns.clock import Clock, wall_clock
from campaigns.identity import campaign_text
from campaigns.message import Message
from campaigns.outcome import Fault, Outcome
from campaigns.presentation import Presentation
from campaigns.recipient import Recipient
from transports import editions
from transports.backoff import Backoff
from transports.contract import Exceptional, Outage, Outcomes, Preview, Quota, TransportSettings, all_alike
from transports.decision import Decision, Then
from transports.dispatch import Dispatch, lifetime
from transports.editions import Editions, Messages
from transports.errors import CredentialsError
from transports.http2.connection import Timing, parse_origin
from transports.http2.messages import Answer, Header, Row, Template
from transports.http2.pool import Pool
from transports.load import NO_LOAD, Load
from transports.retry_after import parse_retry_after
from transports.tls.context import client_context
from transports.traffic import CLASSES, Traffic
from transports.webpush import credentials, outcomes, payload, tokens
from transports.webpush.by_service import ByService
from transports.webpush.encryption import LONGEST, encrypted, padded
from transports.webpush.fields import PUSH_SERVICES
from transports.webpush.payload import MAX_TTL, WebPush
from transports.webpush.push_services import PushService, PushServices, matches
from transports.webpush.tokens import Subscription

_log = structlog.get_logger(__name__)

PLATFORM = "webpush"
"""Under this name a message has texts and options of its own."""
_AT_ONCE = 16
"""Pushes that are encrypted before other tasks may run: some milliseconds."""
_BEGIN_WITHIN = 10.0
"""Seconds within which a part must be begun, or it comes back: a push service that is away must not hold the batch."""
_AWAY_FOR = 30.0
"""Seconds until a push is tried again whose push service is away while others are not."""
_HANGS_FOR = 5.0
"""The same where it is reached and answers nothing."""
_MOST_WANTED = 8
"""Of connections, in deciding how many batches are in hand: encryption is the bound, and more batches only wait."""
_WINDOWS = ".notify.windows.com"


class WebPushTransport:
    """Sends one channel's pushes to the browsers' push services."""

    def __init__(
        self,
        site: str,
        vapid: credentials.Vapid,
        pool: Callable[[str], Pool],
        allowed: tuple[str, ...] = PUSH_SERVICES,
        clock: Clock = wall_clock,
    ) -> None:
        """``site``: the newsroom's own, ``https://…``; ``pool``: authority → its pool; ``allowed``: the push services
        that pushes go to, because an endpoint is whatever a stranger has sent us. ``clock``: ms UTC.
        """
        self.vapid = vapid
        self.services = PushServices(pool)
        self.quota: Quota | None = None
        self._site = site
        self._allowed = allowed
        self._clock = clock
        self._good: dict[str, bool] = {}
        self._messages: Messages[WebPush] = Messages()

    @property
    def outage(self) -> Outage | None:
        """Why no push service can be reached (``Transport.outage``); None also before the first push."""
        pools = self.services.pools
        if not pools or any(pool.outage is None for pool in pools):
            return None
        first = min(pools, key=lambda pool: pool.outage_since)
        return Outage(f"{first.outage}", first.outage_since)

    @property
    def traffic(self) -> Traffic:
        """What the connections to all push services are doing now (``Counting.traffic``)."""
        all_of = [pool.traffic for pool in self.services.pools]
        return Traffic(
            connections=sum(each.connections for each in all_of),
            wanted=sum(each.wanted for each in all_of),
            streams=sum(each.streams for each in all_of),
            streams_allowed=sum(each.streams_allowed for each in all_of),
            window=min((each.window for each in all_of if each.connections), default=0),
            answers=tuple(map(sum, zip(*(each.answers for each in all_of), strict=True))) or (0,) * CLASSES,
            granted=max((each.granted for each in all_of), default=0),
            round_trip=min((each.round_trip for each in all_of if each.round_trip), default=0.0),
            looks=max((each.looks for each in all_of), default=0),
            by_window=round(max((each.by_window for each in all_of), default=0.0), 2),
            by_streams=round(max((each.by_streams for each in all_of), default=0.0), 2),
        )

    @property
    def wanted(self) -> int:
        """How many connections' worth of batches it wants in hand (``Pooling``)."""
        return max(1, min(_MOST_WANTED, sum(pool.wanted for pool in self.services.pools)))

    @property
    def load(self) -> Load:
        """What the connections wait for (``Pooling``)."""
        whole = NO_LOAD
        for pool in self.services.pools:
            whole = whole.plus(pool.load)
        return whole

    def probe(self) -> None:
        """Ask silent connections whether they are alive (``Pooling``)."""
        for pool in self.services.pools:
            pool.probe()

    async def run(self, ready: Callable[[], None]) -> None:
        """Own the connections until stopped; an outage is retried for ever."""
        await self.services.run(ready)

    def stop(self) -> None:
        """Finish what is in flight, then end :meth:`run`."""
        self.services.stop()

    def check(self, message: Message, presentation: Presentation = Presentation.AWAKE) -> None:
        """Raise ``PayloadError`` if a browser cannot take one of this message's texts."""
        editions.check(message, PLATFORM, partial(self._render, 0, presentation))

    def preview(
        self, message: Message, campaign: int, expires_at: int, presentation: Presentation = Presentation.AWAKE
    ) -> list[Preview]:
        """Render every text of the message, before its encryption (``Transport.preview``)."""
        self.check(message, presentation)
        ttl = max(0, min(MAX_TTL, (expires_at - self._clock()) // 1_000))
        found = []
        made = self._editions(Batch(campaign, message, 1, expires_at, [], presentation=presentation))
        for locale, at_longest in editions.longest(message, PLATFORM):
            push = self._render(campaign, presentation, at_longest)
            fields = {"ttl": str(ttl), "urgency": push.urgency, "topic": push.topic}
            (content,) = made.contents([Recipient(0, "", "token", 0, locale)]).bodies
            found.append(Preview(locale, fields, content, len(push.content), LONGEST))
        return found

    async def send(self, batch: Batch) -> Outcomes:
        """Push to every recipient (``Transport.send``). If cancelled, the outcome of what was sent is unknown."""
        now = self._clock()
        if now >= batch.expires_at:
            return all_alike(batch, Outcome.EXPIRED, "expired before it was sent")
        if batch.validate_only:
            return all_alike(batch, Outcome.DROPPED, "a browser shows every push: there is no dry run")
        made = self._editions(batch)
        contents = made.contents(batch.recipients)
        early = contents.rejected
        groups: dict[str, list[int]] = {}
        pushes: dict[int, tuple[Subscription, bytes]] = {}
        for index, content in zip(contents.keys, contents.bodies, strict=True):
            subscription = tokens.split(batch.recipients[index].token)
            if subscription is None:
                early.append(Exceptional(index, Outcome.REJECTED, "not a subscription", fault=Fault.PHONE))
            elif not self._is_allowed(subscription.authority):
                early.append(Exceptional(index, Outcome.REJECTED, "not one of push_services", fault=Fault.PHONE))
            else:
                groups.setdefault(subscription.authority, []).append(index)
                pushes[index] = subscription, content
        parts = ByService(batch, groups, early)
        async with trio.open_nursery() as nursery:
            for authority, indices in groups.items():
                begin_until = min(batch.begin_until, trio.current_time() + _BEGIN_WITHIN)
                part = parts.batch(authority, begin_until)
                push = made.of(part.recipients[0].locale).made
                mine = [pushes.pop(index) for index in indices]

                async def send_part(
                    part: Batch = part, authority: str = authority, push: WebPush = push, mine: _Pushes = mine
                ) -> None:
                    parts.done(authority, await self._send_part(part, authority, push, mine))

                nursery.start_soon(send_part)
        return parts.outcomes()

    async def _send_part(self, part: Batch, authority: str, push: WebPush, pushes: _Pushes) -> Outcomes:
        """Send one push service's part of a batch."""
        service = None
        with trio.move_on_at(part.begin_until):
            service = await self.services.enter(authority)
        if service is None:
            return all_alike(part, Outcome.POSTPONED, "no connection to the push service in time")
        try:
            if (pause := service.closed_until - trio.current_time()) > 0:
                return _wait(part, f"{authority} asked for a pause", pause)
            if self.services.away(service):
                return _wait(part, f"{authority} is away", _AWAY_FOR if service.pool.outage is not None else _HANGS_FOR)
            rows: list[Row] = []
            wrong: list[Exceptional] = []
            for index, (subscription, content) in enumerate(pushes):
                if index % _AT_ONCE == _AT_ONCE - 1:
                    await trio.lowlevel.checkpoint()
                try:
                    body = encrypted(padded(content), subscription.receiver, subscription.secret)
                except ValueError:
                    wrong.append(Exceptional(index, Outcome.REJECTED, "no point of P-256", fault=Fault.PHONE))
                    continue
                rows.append((index, subscription.path.encode("ascii"), b"", body, ()))
            pushes.clear()  # late answers keep this call for seconds
            ttl, begin_before = lifetime(part, self._clock())
            dispatch = Dispatch(
                part,
                rows,
                self._template(authority, push, min(ttl, MAX_TTL)),
                partial(self._decide, authority),
                partial(self._renew, authority),
                self._clock,
                begin_before,
            )
            dispatch.outcomes.exceptions += wrong
            found = await dispatch.run(service.pool)
        finally:
            self.services.leave(service)
        self._learn(service, found)
        return found

    def _learn(self, service: PushService, found: Outcomes) -> None:
        """Keep to this push service what its answers say about it."""
        if found.slow:
            service.closed_until = trio.current_time() + found.slow
            found.slow = 0.0
        if found.stop is not None and service.refuses is None:
            _log.warning("a push service refuses us", service=service.authority, why=found.stop)
        if found.stop is not None or found.delivered:
            service.refuses = found.stop

    def _is_allowed(self, authority: str) -> bool:
        good = self._good.get(authority)
        if good is None:
            if len(self._good) >= 10_000:
                self._good.clear()
            good = self._good[authority] = any(matches(authority, each) for each in self._allowed)
        return good

    def _editions(self, batch: Batch) -> Editions[WebPush]:
        """The batch's message, rendered once for all batches of its campaign."""
        render = partial(self._render, batch.collapse, batch.presentation)
        make = partial(Editions[WebPush], batch.message, PLATFORM, render, _content)
        return self._messages.of((batch.campaign, batch.collapse, batch.presentation), batch.message, make)

    def _render(self, campaign: int, presentation: Presentation, message: Message) -> WebPush:
        return payload.render(message, self._site, campaign_text(campaign), presentation)

    def _template(self, authority: str, push: WebPush, ttl: int) -> Callable[[], Template]:
        fixed: tuple[Header, ...] = (
            (b"content-encoding", b"aes128gcm"),
            (b"content-type", b"application/octet-stream"),
            (b"urgency", push.urgency.encode("ascii")),
        )
        if authority.endswith(_WINDOWS):  # without it Microsoft refuses some values of TTL
            fixed += ((b"x-wns-cache-policy", b"cache" if ttl else b"no-cache"),)
        # In the service's header table they would shift all other fields with each batch.
        own: tuple[Header, ...] = ((b"ttl", b"%d" % ttl), (b"topic", push.topic.encode("ascii")))
        made: dict[bytes, Template] = {}

        def template() -> Template:
            value = self.vapid.header(authority)
            if value not in made:
                fields = ((b"authorization", value), *fixed)
                made[value] = Template(authority.encode("ascii"), b"", fields, unindexed=own)
            return made[value]

        return template

    def _decide(self, authority: str, answer: Answer, attempt: int) -> Decision:
        after = parse_retry_after(answer.retry_after, self._clock())
        return outcomes.decide(authority, answer.status, outcomes.parse(answer.body), attempt, after)

    def _renew(self, authority: str, answer: Answer, then: Then) -> bool:
        return self.vapid.renew(authority, answer.template.value(b"authorization"))


_Pushes = list[tuple[Subscription, bytes]]


def _content(push: WebPush) -> bytes:
    return push.content


def _wait(part: Batch, reason: str, after: float) -> Outcomes:
    """The outcomes of a part that is tried again later, because of its push service."""
    return Outcomes(
        0, [Exceptional(n, Outcome.RETRY, reason, after, fault=Fault.MOMENT) for n in range(len(part.recipients))]
    )


def build(
    settings: TransportSettings, *, timing: Timing | None = None, backoff: Callable[[], Backoff] = Backoff
) -> WebPushTransport:
    """Check settings and key without connecting. Raises ``CredentialsError`` naming the field and the remedy."""
    vapid = credentials.load(settings.credentials)
    if not settings.app.startswith("https://") or not settings.app.isascii():
        raise CredentialsError(f'app: "{settings.app}" is not a site\'s address like https://www.example.com')
    if settings.warm_up is not None:
        raise CredentialsError("warm_up: a browser shows every push; remove it")
    # a twin plays all push services at one address
    twin = None if settings.origin is None else parse_origin(settings.origin)
    context = client_context(settings.ca, alpn=("h2",))

    def pool(authority: str) -> Pool:
        return Pool(
            twin or parse_origin(f"https://{authority}"),
            context=context,
            connections=1,
            most=settings.most_connections,
            every=settings.connect_every,
            public=twin is None,
            proxy=settings.proxy,
            timing=timing or Timing(deadline=settings.deadline, idle=math.inf),
            backoff=backoff,
        )

    return WebPushTransport(settings.app, vapid, pool, settings.push_services or PUSH_SERVICES)
