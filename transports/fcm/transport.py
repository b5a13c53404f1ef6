"""Pushes to Firebase Cloud Messaging, HTTP v1, one message a request.

Source: firebase.google.com/docs/cloud-messaging/send/v1-api.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial

import trio

from campaigns import personal
from campaigns.batch import Batch
from campaigns.clock import Clock, wall_clock
from campaigns.identity import campaign_text
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.presentation import Presentation
from campaigns.recipient import NEW_APP, PersonalRecipient, Recipient
from transports import editions
from transports.backoff import Backoff
from transports.contract import Exceptional, Outage, Outcomes, Preview, Quota, TransportSettings, all_alike
from transports.decision import Decision, Then
from transports.dispatch import Dispatch, lifetime
from transports.editions import Contents, Editions, Messages
from transports.errors import CredentialsError
from transports.fcm import credentials, keyless, outcomes, payload
from transports.fcm.fields import DEVICES, ORIGIN
from transports.http2.connection import Timing, parse_origin
from transports.http2.messages import Answer, Row, Template
from transports.http2.pool import Pool
from transports.load import Load
from transports.retry_after import parse_retry_after
from transports.tls.context import client_context
from transports.traffic import Traffic
from transports.warm_up import FirstRequest

A_MINUTE = 600_000
"""Pushes a minute that Google allows a project, unless it granted more (docs/cloud-messaging/throttling-and-quotas)."""
RAMP = 60.0
"""Seconds over which Google asks senders to rise to the full rate (docs/cloud-messaging/scale-fcm)."""

PLATFORM = "fcm"
"""Under this name a message has texts and options of its own."""
NOBODY = f"{'0' * 22}:APA91b{'0' * 64}"
"""The token of a preview: it belongs to nobody."""
_tail = operator.attrgetter("tail")


class FcmTransport:
    """Sends one channel's pushes to Google."""

    def __init__(
        self,
        project: str,
        token: credentials.AccessToken,
        pool: Pool,
        clock: Clock = wall_clock,
        app: payload.KnownApp = payload.KnownApp(),  # noqa: B008 - immutable
    ) -> None:
        """``project``: Firebase project id. ``clock``: ms UTC."""
        self._app, self._old_app = app, app._replace(android_v2=False)
        self.token = token
        self.pool = pool
        self.quota: Quota | None = None
        if pool.origin.host.endswith(".googleapis.com"):
            self.quota = Quota(f"project {project}", A_MINUTE, RAMP)
        self._clock = clock
        self._made: tuple[bytes, Template] | None = None
        self._messages: Messages[payload.Body] = Messages()
        self._path = f"/v1/projects/{project}/messages:send".encode("ascii")

    def warm_up_with(self, token: str, channel: str) -> None:
        """Have Google validate a message to this device, which nobody sees, as the first request of each connection."""
        body = payload.render(Message(title="warm-up", body="warm-up"), campaign_text(0))
        tail = payload.kept_for(60)(body.tail)
        (content,) = payload.addressed([Recipient(0, token, "token", 0, "")], [tail], validate_only=True)
        assert content is not None

        def make() -> FirstRequest | None:
            if not self.token.value:
                return None  # connected before Google granted a token
            return FirstRequest((0, b"", b"", content, ()), self._template(), self._decide, channel)

        self.pool.warm_up = make

    @property
    def outage(self) -> Outage | None:
        """Why Google cannot be reached, or gives no access token (``Transport.outage``)."""
        pool, token = self.pool, self.token
        if token.missing_since is not None:
            why = token.fault or f"Google gives no access token: {token.outage or 'no answer yet'}"
            return Outage(why, token.missing_since)
        return None if pool.outage is None else Outage(pool.outage, pool.outage_since)

    @property
    def traffic(self) -> Traffic:
        """What the connections are doing now (``Counting.traffic``)."""
        return self.pool.traffic

    @property
    def wanted(self) -> int:
        """How many connections it wants to keep up (``Pooling``)."""
        return self.pool.wanted

    @property
    def load(self) -> Load:
        """What the connections wait for (``Pooling``)."""
        return self.pool.load

    def probe(self) -> None:
        """Ask silent connections whether they are alive (``Pooling``)."""
        self.pool.probe()

    async def run(self, ready: Callable[[], None]) -> None:
        """Own the connections and the access token until stopped; an outage is retried for ever."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.token.run)
                await self.pool.run(ready)
                nursery.cancel_scope.cancel()
        finally:
            self.token.close()

    def stop(self) -> None:
        """Finish what is in flight, then end :meth:`run`."""
        self.token.close()
        self.pool.stop()

    def check(self, message: Message, presentation: Presentation = Presentation.AWAKE) -> None:
        """Raise ``PayloadError`` if FCM cannot carry one of this message's texts."""
        editions.check(message, PLATFORM, partial(self._render, self._app, 0, presentation))

    def preview(
        self, message: Message, campaign: int, expires_at: int, presentation: Presentation = Presentation.AWAKE
    ) -> list[Preview]:
        """Render every text of the message (``Transport.preview``)."""
        self.check(message, presentation)
        found = []
        ttl = max(0, expires_at - self._clock()) // 1_000
        batch = Batch(campaign, message, 1, expires_at, [], presentation=presentation)
        forms = {"": self._app}
        if self._app.versions and presentation is Presentation.AWAKE:
            forms = {self._app.versions: self._app, "others": self._old_app}
        for apps, app in forms.items():
            made, fill = self._editions(batch, app), payload.kept_for(ttl)
            for locale, at_longest in editions.longest(message, PLATFORM):
                phone = Recipient(0, NOBODY, "token", 0, locale)
                (body,) = payload.addressed([phone], made.contents([phone], fill).bodies, validate_only=False)
                assert body is not None
                size = self._render(app, campaign, presentation, at_longest).size
                found.append(Preview(locale, {}, body, size, payload.LIMIT, apps))
        return found

    async def send(self, batch: Batch) -> Outcomes:
        """Push to every recipient (``Transport.send``). If cancelled, the outcome of what was sent is unknown."""
        now = self._clock()
        if now >= batch.expires_at:
            return all_alike(batch, Outcome.EXPIRED, "expired before it was sent")
        ttl, begin_before = lifetime(batch, now)
        recipients = batch.recipients
        keys, tails, exceptions = self._contents(batch, ttl)
        contents = payload.addressed([recipients[key] for key in keys], tails, batch.validate_only)
        rows: list[Row] = [
            (key, b"", b"", content, ()) for key, content in zip(keys, contents, strict=True) if content is not None
        ]
        if len(rows) < len(contents):
            exceptions += [
                Exceptional(key, Outcome.REJECTED, f"FCM has no token kind {recipients[key].kind!r}")
                for key, content in zip(keys, contents, strict=True)
                if content is None
            ]
        dispatch = Dispatch(batch, rows, self._template, self._decide, self._renew, self._clock, begin_before)
        dispatch.outcomes.exceptions += exceptions

        async def prepare() -> str | None:
            # A batch that expires before Google gives a token goes on to the pool, which lets it expire.
            expiry = trio.current_time() + max(0, batch.expires_at - self._clock()) / 1_000 + 0.01
            with trio.move_on_at(min(expiry, batch.begin_until)):
                return await self.token.wait()
            if batch.begin_until < expiry:
                return f"Google gives no access token: {self.token.outage or 'no answer'}"
            return None

        return await dispatch.run(self.pool, prepare)

    def _contents(self, batch: Batch, ttl: int) -> Contents:
        """What each recipient gets. Where the form depends on the app's version, by their last value."""
        fill = payload.kept_for(ttl)
        if not self._app.versions:
            return self._editions(batch, self._app).contents(batch.recipients, fill)
        count = len(personal.fields(batch.message))
        new = [_has_new_app(each, count) for each in batch.recipients]
        bodies: dict[int, bytes] = {}
        rejected: list[Exceptional] = []
        for app, wanted in ((self._app, True), (self._old_app, False)):
            own = [key for key, is_new in enumerate(new) if is_new is wanted]
            if own:
                found = self._editions(batch, app).contents([batch.recipients[key] for key in own], fill)
                bodies.update(zip((own[key] for key in found.keys), found.bodies, strict=True))
                rejected += [each._replace(index=own[each.index]) for each in found.rejected]
        return Contents(list(bodies), list(bodies.values()), rejected)

    def _editions(self, batch: Batch, app: payload.KnownApp) -> Editions[payload.Body]:
        """The batch's message, rendered once for all batches of its campaign: it takes as long as forty recipients."""
        render = partial(self._render, app, batch.collapse, batch.presentation)
        make = partial(Editions[payload.Body], batch.message, PLATFORM, render, _tail)
        return self._messages.of((batch.campaign, batch.presentation, app), batch.message, make)

    def _render(
        self, app: payload.KnownApp, campaign: int, presentation: Presentation, message: Message
    ) -> payload.Body:
        return payload.render(message, campaign_text(campaign), presentation, app)

    def _template(self) -> Template:
        value = self.token.value
        if self._made is None or self._made[0] != value:
            # The token has a thousand octets and is the same for most of an hour: it may enter Google's header table.
            fields = ((b"authorization", value), (b"content-type", b"application/json"))
            self._made = value, Template(self.pool.origin.authority, self._path, fields)
        return self._made[1]

    def _decide(self, answer: Answer, attempt: int) -> Decision:
        after = parse_retry_after(answer.retry_after, self._clock())
        return outcomes.decide(answer.status, outcomes.parse(answer.body), attempt, after)

    def _renew(self, answer: Answer, then: Then) -> bool:
        self.token.renew(answer.template.value(b"authorization"))
        return True


def _has_new_app(recipient: Recipient, fields: int) -> bool:
    """Whether the value behind those of the message's fields says so. Without one the app counts as old."""
    values = recipient.values if isinstance(recipient, PersonalRecipient) else ()
    return len(values) > fields and values[-1] == NEW_APP


def build(
    settings: TransportSettings, *, timing: Timing | None = None, backoff: Callable[[], Backoff] = Backoff
) -> FcmTransport:
    """Check settings and key without connecting. Raises ``CredentialsError`` naming the field and the remedy."""
    source, own_project = keyless.source(settings.credentials, settings.ca, settings.proxy)
    project = settings.app or own_project
    if not project.isascii() or not project.replace("-", "").replace(":", "").replace(".", "").isalnum():
        raise CredentialsError(f'app: "{project}" is not a Firebase project id like news-1a2b3')
    pool = Pool(
        parse_origin(settings.origin or ORIGIN),
        context=client_context(settings.ca, alpn=("h2",)),
        connections=settings.connections,
        upper=settings.upper_lane,
        most=settings.most_connections,
        every=settings.connect_every,
        proxy=settings.proxy,
        timing=timing or Timing(deadline=settings.deadline, idle=math.inf),
        backoff=backoff,
    )
    versions = settings.android_v2 if isinstance(settings.android_v2, str) else ""
    app = payload.KnownApp(
        quiet_channel=settings.quiet_channel,
        android_v2=bool(settings.android_v2),
        versions=versions,
        collapse_slots=settings.collapse_slots,
        devices=frozenset(settings.devices or DEVICES),
    )
    token = credentials.AccessToken(source, backoff=backoff)
    transport = FcmTransport(project, token, pool, app=app)
    if settings.warm_up is not None:
        transport.warm_up_with(settings.warm_up, settings.channel)
    return transport
