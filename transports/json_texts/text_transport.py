"""What transports have in common whose messages are JSON: texts rendered once, connections of one pool, a preview.

``OneByOne`` sends a request for each recipient; a platform that takes many tokens in one request has a ``send`` of its
own.
"""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import partial
from typing import ClassVar, Generic, TypeVar

from campaigns.batch import Batch
from campaigns.clock import Clock, wall_clock
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.presentation import Presentation
from campaigns.recipient import Recipient
from transports import editions
from transports.contract import Exceptional, Outage, Outcomes, Preview, Quota, all_alike
from transports.decision import Decision, Then
from transports.dispatch import Dispatch, lifetime
from transports.editions import Contents, Editions, Messages
from transports.http2.messages import Answer, Row, Template
from transports.http2.pool import Pool
from transports.json_texts.body import Body, addressed, kept_for
from transports.load import Load
from transports.retry_after import parse_retry_after
from transports.traffic import Traffic

A = TypeVar("A")
"""What is known of a channel's app: each platform's ``payload`` has its own record of it."""
_tail = operator.attrgetter("tail")


class TextTransport(ABC, Generic[A]):
    """Renders and previews texts, and owns the pool (``transports.contract.Transport``)."""

    platform: ClassVar[str]
    """Under this name a message has texts and options of its own."""
    limit: ClassVar[int]
    """Most octets of a message."""
    longest: ClassVar[int]
    """Most seconds for which the provider keeps a push."""
    nobody: ClassVar[str]
    """The token of a preview: it belongs to nobody."""

    def __init__(self, pool: Pool, path: str, app: A, clock: Clock = wall_clock) -> None:
        """``path``: of each request. ``clock``: ms UTC."""
        self.pool = pool
        self.app = app
        self._clock = clock
        self._path = path.encode("ascii")
        self._messages: Messages[Body] = Messages()
        self._made: tuple[bytes, Template] | None = None

    @abstractmethod
    def _render(self, app: A, campaign: int, presentation: Presentation, message: Message) -> Body:
        """Build a text's body. Raises ``PayloadError`` if the platform cannot carry it."""

    @property
    @abstractmethod
    def authorization(self) -> bytes:
        """The value of ``authorization``."""

    @abstractmethod
    def preview_body(self, tail: bytes) -> bytes:
        """The whole JSON for a token that belongs to nobody."""

    def forms(self, presentation: Presentation) -> Mapping[str, A]:
        """The forms in which a message is sent, by versions of the app (``Preview.apps``)."""
        return {"": self.app}

    def constant_fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """Further header fields of each request."""
        return ()

    @property
    def quota(self) -> Quota | None:
        """None: the provider names no rate (``Transport.quota``)."""
        return None

    @property
    def outage(self) -> Outage | None:
        """Why nothing can be sent (``Transport.outage``)."""
        return None if self.pool.outage is None else Outage(self.pool.outage, self.pool.outage_since)

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
        """Own the connections until stopped; an outage is retried for ever."""
        await self.pool.run(ready)

    def stop(self) -> None:
        """Finish what is in flight, then end :meth:`run`."""
        self.pool.stop()

    def check(self, message: Message, presentation: Presentation = Presentation.AWAKE) -> None:
        """Raise ``PayloadError`` if the platform cannot carry one of this message's texts."""
        editions.check(message, self.platform, partial(self._render, self.app, 0, presentation))

    def preview(
        self, message: Message, campaign: int, expires_at: int, presentation: Presentation = Presentation.AWAKE
    ) -> list[Preview]:
        """Render every text of the message (``Transport.preview``)."""
        self.check(message, presentation)
        found = []
        fill = kept_for(max(0, expires_at - self._clock()) // 1_000, self.longest)
        batch = Batch(campaign, message, 1, expires_at, [], presentation=presentation)
        fields = {name.decode(): value.decode() for name, value in self.constant_fields()}
        for apps, app in self.forms(presentation).items():
            made = self.editions(batch, app)
            for locale, at_longest in editions.longest(message, self.platform):
                phone = Recipient(0, self.nobody, "token", 0, locale)
                (tail,) = made.contents([phone], fill).bodies
                size = self._render(app, campaign, presentation, at_longest).size
                found.append(Preview(locale, fields, self.preview_body(tail), size, self.limit, apps))
        return found

    def contents(self, batch: Batch, fill: Callable[[bytes], bytes]) -> Contents:
        """What each recipient gets."""
        return self.editions(batch, self.app).contents(batch.recipients, fill)

    def editions(self, batch: Batch, app: A) -> Editions[Body]:
        """The batch's message, rendered once for all batches of its campaign: it takes as long as forty recipients."""
        render = partial(self._render, app, batch.collapse, batch.presentation)
        make = partial(Editions[Body], batch.message, self.platform, render, _tail)
        return self._messages.of((batch.campaign, batch.presentation, app), batch.message, make)

    def template(self) -> Template:
        """What all requests share, with the credential as it is now."""
        value = self.authorization
        if self._made is None or self._made[0] != value:
            # The credential is the same for long: it may enter the provider's header table.
            fields = ((b"authorization", value), (b"content-type", b"application/json"), *self.constant_fields())
            self._made = value, Template(self.pool.origin.authority, self._path, fields)
        return self._made[1]

    def asked(self, answer: Answer) -> float | None:
        """Seconds for which an answer asks us to wait."""
        return parse_retry_after(answer.retry_after, self._clock())


class OneByOne(TextTransport[A]):
    """Sends a request for each recipient."""

    heads: ClassVar[Mapping[str, bytes]]
    """By kind of token, what a body has before the token (``addressed``)."""
    judging_heads: ClassVar[Mapping[str, bytes] | None] = None
    """The same for a push that is judged and not shown; None: the provider cannot do that."""

    @abstractmethod
    def decide(self, answer: Answer, attempt: int) -> Decision:
        """What an answer means."""

    def renew(self, answer: Answer, then: Then) -> bool:
        """Replace the credential that was refused. Returns whether that is worth another try."""
        return False

    async def prepare(self, batch: Batch) -> str | None:
        """Wait for a credential, or return why there will be none."""
        return None

    def preview_body(self, tail: bytes) -> bytes:
        """The whole JSON for a token that belongs to nobody."""
        (body,) = addressed([Recipient(0, self.nobody, "token", 0, "")], [tail], self.heads)
        assert body is not None  # each platform has tokens
        return body

    async def send(self, batch: Batch) -> Outcomes:
        """Push to every recipient (``Transport.send``). If cancelled, the outcome of what was sent is unknown."""
        now = self._clock()
        if now >= batch.expires_at:
            return all_alike(batch, Outcome.EXPIRED, "expired before it was sent")
        heads = self.judging_heads if batch.validate_only else self.heads
        if heads is None:
            return all_alike(batch, Outcome.DROPPED, "this provider judges no push without showing it")
        ttl, begin_before = lifetime(batch, now)
        rows, exceptions = self._rows(batch, heads, ttl)
        dispatch = Dispatch(batch, rows, self.template, self.decide, self.renew, self._clock, begin_before)
        dispatch.outcomes.exceptions += exceptions
        return await dispatch.run(self.pool, partial(self.prepare, batch))

    def _rows(self, batch: Batch, heads: Mapping[str, bytes], ttl: int) -> tuple[list[Row], list[Exceptional]]:
        """A request for each recipient with a usable token, and the outcomes of the others."""
        recipients = batch.recipients
        keys, tails, exceptions = self.contents(batch, kept_for(ttl, self.longest))
        found = addressed([recipients[key] for key in keys], tails, heads)
        rows: list[Row] = [(key, b"", b"", body, ()) for key, body in zip(keys, found, strict=True) if body is not None]
        if len(rows) < len(found):
            exceptions += [
                Exceptional(key, Outcome.REJECTED, f"its provider has no token kind {recipients[key].kind!r}")
                for key, body in zip(keys, found, strict=True)
                if body is None
            ]
        return rows, exceptions
