"""Pushes to Apple over HTTP/2.

Source: developer.apple.com, "Sending notification requests to APNs".
"""

from __future__ import annotations

from collections.abc import Callable

from transports.apns import credentials, outcomes, payload
from transports.backoff import Backoff
from transports.connection import Timing, parse_origin
from transports.contract import Batch, Exceptional, Message, Outcome, Outcomes, TransportSettings
from transports.decision import Decision, Then
from transports.dispatch import Dispatch
from transports.errors import CredentialsError, PayloadError
from transports.http2 import Answer, Header, Request, Template
from transports.identity import apns_id, apns_id_prefix, campaign_text
from transports.pool import Pool, wall_ms
from transports.retry_after import parse_retry_after
from transports.tls import client_context

ORIGINS = {
    "production": "https://api.push.apple.com:443",
    "sandbox": "https://api.sandbox.push.apple.com:443",
}


class ApnsTransport:
    """One channel's way to Apple."""

    def __init__(
        self, topic: str, token: credentials.ProviderToken, pool: Pool, clock: Callable[[], int] = wall_ms
    ) -> None:
        """``topic``: the app's bundle id. ``clock``: ms UTC."""
        self.token = token
        self.pool = pool
        self._clock = clock
        self._topic = topic.encode("ascii")

    async def run(self, ready: Callable[[], None]) -> None:
        """Own the connections until stopped; an outage is retried for ever."""
        await self.pool.run(ready)

    def stop(self) -> None:
        """Finish what is in flight, then end :meth:`run`."""
        self.pool.stop()

    def check(self, message: Message) -> None:
        """Raise ``PayloadError`` if Apple cannot carry this message."""
        payload.render(message)

    async def send(self, batch: Batch) -> Outcomes:
        """Push to every recipient (``Transport.send``). Cancelled: what was sent is unknown to the caller."""
        recipients = batch.recipients
        if self._clock() >= batch.expires_at:
            return _all(batch, Outcome.EXPIRED, "expired before it was sent")
        try:
            body = payload.render(batch.message)
        except PayloadError as error:
            return _all(batch, Outcome.REJECTED, str(error))
        prefix = apns_id_prefix(batch.campaign)
        requests = []
        malformed = []
        for index, recipient in enumerate(recipients):
            token = recipient.token
            if _is_hex(token):
                requests.append(Request(index, token.lower().encode(), apns_id(prefix, recipient.id), body))
            else:
                malformed.append(Exceptional(index, Outcome.REJECTED, "the token is not hexadecimal"))
        dispatch = Dispatch(batch, self._template(batch), self._decide, self._renew)
        dispatch.outcomes.exceptions += malformed
        return await dispatch.run(self.pool, requests)

    def _template(self, batch: Batch) -> Callable[[], Template]:
        authority = self.pool.origin.authority
        constant: tuple[Header, ...] = (
            (b"apns-topic", self._topic),
            (b"apns-push-type", b"alert"),
            (b"apns-priority", b"10"),
            (b"apns-expiration", b"%d" % (batch.expires_at // 1_000)),
            (b"apns-collapse-id", campaign_text(batch.campaign).encode()),
        )

        def template() -> Template:
            fields = ((b"authorization", self.token.header()), *constant)
            return Template(authority, b"/3/device/", fields, ident=b"apns-id")

        return template

    def _decide(self, answer: Answer, attempt: int) -> Decision:
        reason, timestamp = outcomes.parse(answer.body)
        after = parse_retry_after(answer.retry_after, self._clock())
        return outcomes.decide(answer.status, reason, timestamp, attempt, after)

    def _renew(self, answer: Answer, then: Then) -> None:
        if then is Then.KEEP_TOKEN:
            self.token.keep_previous()
        else:
            self.token.renew(dict(answer.template.fields)[b"authorization"])


def _is_hex(token: str) -> bool:
    try:
        # fromhex skips spaces; a token has none.
        return 0 < len(bytes.fromhex(token)) * 2 == len(token)
    except ValueError:
        return False


def _all(batch: Batch, outcome: Outcome, reason: str) -> Outcomes:
    return Outcomes(0, [Exceptional(index, outcome, reason) for index in range(len(batch.recipients))])


def build(
    settings: TransportSettings, *, timing: Timing | None = None, backoff: Callable[[], Backoff] = Backoff
) -> ApnsTransport:
    """Check settings and key, connect nothing yet. Raises ``CredentialsError`` naming the field and the remedy."""
    token = credentials.load(settings.credentials)
    environment = settings.credentials.get("environment", "production")
    if environment not in ORIGINS:
        raise CredentialsError(f'credentials.environment: "{environment}" is neither production nor sandbox')
    if not settings.app or not settings.app.isascii() or not settings.app.replace(".", "").replace("-", "").isalnum():
        raise CredentialsError(f'app: "{settings.app}" is not a bundle id like com.example.news')
    pool = Pool(
        parse_origin(settings.origin or ORIGINS[environment]),
        context=client_context(settings.ca, alpn=("h2",)),
        connections=settings.connections,
        timing=timing or Timing(deadline=settings.deadline),
        backoff=backoff,
    )
    return ApnsTransport(settings.app, token, pool)
