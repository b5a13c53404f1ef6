"""Pushes to Apple over HTTP/2.

Source: developer.apple.com, "Sending notification requests to APNs".
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import partial
from itertools import compress, repeat

from campaigns.batch import Batch
from campaigns.clock import Clock, wall_clock
from campaigns.identity import campaign_text
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.presentation import Presentation
from campaigns.recipient import Recipient
from transports import editions
from transports.apns import certificate, credentials, outcomes, payload
from transports.apns.apns_id import apns_id_prefix, apns_ids
from transports.apns.broadcast_channels import ApnsBroadcasts
from transports.apns.certificate import Certificate
from transports.apns.credentials import ProviderToken
from transports.apns.fields import ENVIRONMENTS, MANAGEMENT
from transports.apns.options import WHERE
from transports.apns.payload import Push
from transports.apns.push_types import PUSH_TYPES
from transports.backoff import Backoff
from transports.contract import ENVIRONMENT, Exceptional, Outage, Outcomes, Preview, TransportSettings, all_alike
from transports.decision import Decision, Then
from transports.dispatch import Dispatch
from transports.editions import Editions, Messages
from transports.errors import CredentialsError, PayloadError
from transports.http2.connection import Timing, parse_origin
from transports.http2.messages import Answer, Header, Row, Template
from transports.http2.pool import Pool
from transports.load import Load
from transports.retry_after import parse_retry_after
from transports.tls.context import client_context
from transports.traffic import Traffic
from transports.warm_up import FirstRequest

PLATFORM = "apns"
IDLE = 60.0
"""Seconds between two PINGs of an idle connection: Apple allows them, and nobody on the way forgets it."""
"""Under this name a message has texts and options of its own."""
_content = operator.attrgetter("body")


class ApnsTransport:
    """Sends one channel's pushes to Apple."""

    quota = None
    """Apple names no rate."""

    def __init__(
        self,
        topic: str,
        credential: ProviderToken | Certificate,
        pool: Pool,
        clock: Clock = wall_clock,
        broadcasts: ApnsBroadcasts | None = None,
    ) -> None:
        """``topic``: the app's bundle id. ``credential``: the pool shows a certificate, its rules are checked here.

        ``clock``: ms UTC. ``broadcasts``: the app's broadcast channels, with a signing key.
        """
        self.shared = credential if isinstance(credential, ProviderToken) else None
        """The provider token; None: the connections use a client certificate."""
        self.pool = pool
        self._certificate = credential if isinstance(credential, Certificate) else None
        self._broadcasts = broadcasts
        self._clock = clock
        self._topic = topic
        self._messages: Messages[Push] = Messages()

    def warm_up_with(self, token: str, channel: str) -> None:
        """Send this device (hex) a background push, which shows nothing, as the first request of each connection."""
        silent = self._render(Message(title="", body="", options={"apns": {"push_type": "background"}}))
        row: Row = (0, token.lower().encode("ascii"), apns_ids([0])[0], silent.body, ())

        def make() -> FirstRequest:
            soon = Batch(0, Message(title="", body=""), 1, self._clock() + 60_000, [])
            return FirstRequest(row, self._template(soon, silent)(), self._decide, channel)

        self.pool.warm_up = make

    @property
    def outage(self) -> Outage | None:
        """Why Apple cannot be reached (``Transport.outage``)."""
        pool = self.pool
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

    def broadcasts(self) -> ApnsBroadcasts:
        """Return the app's broadcast channels (``Broadcasting.broadcasts``)."""
        if self._broadcasts is None:
            remedy = "give the channel key, key_id and team_id"
            raise CredentialsError(f"credentials.certificate: Apple takes broadcasts only with a signing key; {remedy}")
        return self._broadcasts

    def probe(self) -> None:
        """Ask silent connections whether they are alive (``Pooling``)."""
        self.pool.probe()

    async def run(self, ready: Callable[[], None]) -> None:
        """Own the connections until stopped; an outage is retried for ever."""
        await self.pool.run(ready)

    def stop(self) -> None:
        """Finish what is in flight, then end :meth:`run`."""
        self.pool.stop()

    def check(self, message: Message, presentation: Presentation = Presentation.AWAKE) -> None:
        """Raise ``PayloadError`` if Apple cannot carry one of this message's texts."""
        editions.check(message, PLATFORM, partial(self._render, presentation=presentation))

    def preview(
        self, message: Message, campaign: int, expires_at: int, presentation: Presentation = Presentation.AWAKE
    ) -> list[Preview]:
        """Render every text of the message (``Transport.preview``)."""
        self.check(message, presentation)
        found = []
        batch = Batch(campaign, message, 1, expires_at, [], presentation=presentation)
        made = self._editions(batch)
        for locale, at_longest in editions.longest(message, PLATFORM):
            push, longest = made.of(locale).made, self._render(at_longest, presentation)
            headers = (*self._fields(batch, push), _expiration(batch))
            fields = {name.decode(): value.decode() for name, value in headers}
            (body,) = made.contents([Recipient(0, "", "token", 0, locale)]).bodies
            found.append(Preview(locale, fields, body, len(longest.body), payload.limit(push)))
        return found

    async def send(self, batch: Batch) -> Outcomes:
        """Push to every recipient (``Transport.send``). If cancelled, the outcome of what was sent is unknown."""
        if batch.validate_only:
            return all_alike(batch, Outcome.DROPPED, "Apple has no dry run: only checked here")
        if self._clock() >= batch.expires_at:
            return all_alike(batch, Outcome.EXPIRED, "expired before it was sent")
        rows, exceptions = self._rows(batch)
        if not rows:
            return Outcomes(0, exceptions)
        # its header fields are those of every text
        push = self._editions(batch).of(batch.recipients[rows[0][0]].locale).made
        dispatch = Dispatch(batch, rows, self._template(batch, push), self._decide, self._renew, self._clock)
        dispatch.outcomes.exceptions += exceptions
        return await dispatch.run(self.pool)

    def _rows(self, batch: Batch) -> tuple[list[Row], list[Exceptional]]:
        """A request for each recipient with a usable token, and the outcomes of the others."""
        recipients = batch.recipients
        keys, bodies, exceptions = self._editions(batch).contents(recipients)
        tokens = [recipients[key].token for key in keys]
        paths = _hex(tokens)
        if paths is None:
            usable = [_hex([token]) is not None for token in tokens]
            wrong = [key for key, good in zip(keys, usable, strict=True) if not good]
            exceptions += [Exceptional(key, Outcome.REJECTED, "the token is not hexadecimal") for key in wrong]
            keys, bodies = list(compress(keys, usable)), list(compress(bodies, usable))
            paths = [recipients[key].token.lower().encode() for key in keys]
        idents = apns_ids([recipients[key].id for key in keys])
        return list(zip(keys, paths, idents, bodies, repeat(()), strict=False)), exceptions

    def _editions(self, batch: Batch) -> Editions[Push]:
        """The batch's message, rendered once for all batches of its campaign."""
        render = partial(self._render, presentation=batch.presentation)
        make = partial(Editions[Push], batch.message, PLATFORM, render, _content)
        return self._messages.of((batch.campaign, batch.presentation), batch.message, make)

    def _render(self, message: Message, presentation: Presentation = Presentation.AWAKE) -> Push:
        push = payload.render(message, presentation)
        if self._certificate is not None:
            objection = self._certificate.objection(push.push_type, self._topic_of(push))
            if objection is not None:
                remedy = "use another push type, or a channel with a signing key"
                raise PayloadError(f'{WHERE}.push_type: "{push.push_type}": {objection}; {remedy}')
        return push

    def _topic_of(self, push: Push) -> str:
        return self._topic + PUSH_TYPES[push.push_type].suffix

    def _fields(self, batch: Batch, push: Push) -> tuple[Header, ...]:
        """The header fields that depend on the message, and are the same for all of a campaign's batches."""
        return (
            (b"apns-topic", self._topic_of(push).encode("ascii")),
            (b"apns-push-type", push.push_type.encode("ascii")),
            (b"apns-priority", b"%d" % push.priority),
            (b"apns-collapse-id", (push.collapse_id or campaign_text(batch.collapse)).encode("ascii")),
        )

    def _template(self, batch: Batch, push: Push) -> Callable[[], Template]:
        authority = self.pool.origin.authority
        constant = self._fields(batch, push)
        unindexed: tuple[Header, ...] = (_expiration(batch),)
        if batch.window is None:
            constant, unindexed = constant + unindexed, ()
        # Each window class has another expiration: in Apple's header table they would shift all other fields, again
        # with each class, and each template would have to look up its fields anew.
        prefix = apns_id_prefix(batch.campaign)
        token = self.shared
        if token is None:
            fixed = Template(authority, b"/3/device/", constant, b"apns-id", prefix, unindexed)
            return lambda: fixed
        made: dict[bytes, Template] = {}

        def template() -> Template:
            value = token.header()
            if value not in made:
                # Apple's page on sending asks to keep the authorization out of its header table.
                secret = (b"authorization", value)
                made[value] = Template(authority, b"/3/device/", constant, b"apns-id", prefix, (*unindexed, secret))
            return made[value]

        return template

    def _decide(self, answer: Answer, attempt: int) -> Decision:
        now = self._clock()
        reason, timestamp = outcomes.parse(answer.body, now)
        after = parse_retry_after(answer.retry_after, now)
        return outcomes.decide(answer.status, reason, timestamp, attempt, after)

    def _renew(self, answer: Answer, then: Then) -> bool:
        if self.shared is None:
            return False  # a certificate is not renewed
        refused = answer.template.value(b"authorization")
        if then is Then.KEEP_TOKEN:
            self.shared.keep_previous()
            return False
        if then is Then.RENEW_IF_MISDATED:
            return self.shared.renew_if_misdated(refused)
        self.shared.renew(refused)
        return True


def _expiration(batch: Batch) -> Header:
    return b"apns-expiration", b"%d" % (batch.kept_until // 1_000)


def _hex(tokens: list[str]) -> list[bytes] | None:
    """The tokens as a path has them; None if one of them is not hexadecimal."""
    digits = "".join(tokens)
    try:
        # fromhex skips spaces; a token has none.
        whole = len(bytes.fromhex(digits)) * 2 == len(digits)
    except ValueError:
        return None
    if not whole or any(size % 2 or not size for size in set(map(len, tokens))):
        return None
    return ",".join(tokens).lower().encode("ascii").split(b",")


def build(
    settings: TransportSettings, *, timing: Timing | None = None, backoff: Callable[[], Backoff] = Backoff
) -> ApnsTransport:
    """Check settings and key without connecting. Raises ``CredentialsError`` naming the field and the remedy."""
    credential: ProviderToken | Certificate
    if any(field in settings.credentials for field in certificate.FIELDS):
        credential = certificate.load(settings.credentials)
    else:
        credential = credentials.load(settings.credentials)
    environment = settings.credentials.get(ENVIRONMENT, next(iter(ENVIRONMENTS)))
    if environment not in ENVIRONMENTS:
        known = " nor ".join(ENVIRONMENTS)
        raise CredentialsError(f'credentials.{ENVIRONMENT}: "{environment}" is neither {known}')
    if not settings.app or not settings.app.isascii() or not settings.app.replace(".", "").replace("-", "").isalnum():
        raise CredentialsError(f'app: "{settings.app}" is not a bundle id like com.example.news')
    files = (credential.file, credential.key_file) if isinstance(credential, Certificate) else None
    pool = Pool(
        parse_origin(settings.origin or ENVIRONMENTS[environment]),
        context=client_context(settings.ca, alpn=("h2",), certificate=files),
        connections=settings.connections,
        upper=settings.upper_lane,
        most=settings.most_connections,
        every=settings.connect_every,
        proxy=settings.proxy,
        timing=timing or Timing(deadline=settings.deadline, idle=IDLE),
        backoff=backoff,
    )
    broadcasts = None
    if isinstance(credential, ProviderToken):
        broadcasts = ApnsBroadcasts(
            settings.app,
            credential,
            sends=settings.broadcast_origin or settings.origin or ENVIRONMENTS[environment],
            manages=settings.manage_origin or settings.origin or MANAGEMENT[environment],
            ca=settings.ca,
            proxy=settings.proxy,
        )
    transport = ApnsTransport(settings.app, credential, pool, broadcasts=broadcasts)
    if settings.warm_up is not None:
        if _hex([settings.warm_up]) is None:
            raise CredentialsError(f'warm_up: "{settings.warm_up}" is not a hexadecimal device token')
        try:
            transport.warm_up_with(settings.warm_up, settings.channel)
        except PayloadError:
            raise CredentialsError("warm_up: the certificate allows no background pushes; remove warm_up") from None
    return transport
