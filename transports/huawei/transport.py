"""Pushes to Huawei's Push Kit: up to a thousand tokens a request, whose answer names those that got nothing.

Sources: developer.huawei.com, "https-send-api" (HMSCore) and "push-scenariozed-api" (HarmonyOS).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from functools import partial

from campaigns.batch import Batch
from campaigns.clock import Clock, wall_clock
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.presentation import Presentation
from transports.access_token import AccessToken
from transports.backoff import Backoff
from transports.contract import Exceptional, Outage, Outcomes, TransportSettings, all_alike
from transports.decision import Then
from transports.dispatch import lifetime
from transports.errors import CredentialsError
from transports.group_dispatch import GroupDispatch, GroupVerdict
from transports.http1_engine import Http1Engine
from transports.http2.connection import HTTP_1_1, Timing
from transports.http2.messages import Answer, Row
from transports.http2.pool import Pool
from transports.huawei import credentials, outcomes, payload
from transports.huawei.credentials import AccountToken
from transports.huawei.fields import ORIGIN, SERVICE_ACCOUNT
from transports.huawei.options import MAX_TTL
from transports.huawei.payload import HARMONY, OLD, Form
from transports.json_texts.body import Body, kept_for, quoted_tokens
from transports.json_texts.channel_pool import channel_pool
from transports.json_texts.text_transport import TextTransport

NOBODY = "0" * 64
"""The token of a preview: it belongs to nobody."""
_APP = re.compile(r"[0-9A-Za-z_-]{1,64}")


class HuaweiTransport(TextTransport[Form]):
    """Sends one channel's pushes to Huawei."""

    platform = "huawei"
    limit = payload.LIMIT
    longest = MAX_TTL
    nobody = NOBODY

    def __init__(
        self, path: str, token: AccountToken | AccessToken, pool: Pool, form: Form, clock: Clock = wall_clock
    ) -> None:
        """``path``: of its requests. ``pool``: its engines must pass on all answers. ``clock``: ms UTC."""
        super().__init__(pool, path, form, clock)
        self.token = token
        self.shared = token if isinstance(token, AccessToken) else None

    @property
    def authorization(self) -> bytes:
        """The credential as it is now."""
        return self.token.value

    @property
    def outage(self) -> Outage | None:
        """Why Huawei cannot be reached, or gives no access token (``Transport.outage``)."""
        missing = self.token.missing("Huawei") if isinstance(self.token, AccessToken) else None
        return missing or super().outage

    def constant_fields(self) -> tuple[tuple[bytes, bytes], ...]:
        """The push type: a notification."""
        return ((b"push-type", b"0"),) if self.app.harmony else ()

    async def run(self, ready: Callable[[], None]) -> None:
        """Own the connections and the access token until stopped; an outage is retried for ever."""
        if isinstance(self.token, AccessToken):
            await self.token.beside(partial(super().run, ready))
        else:
            await super().run(ready)

    def stop(self) -> None:
        """Finish what is in flight, then end :meth:`run`."""
        if isinstance(self.token, AccessToken):
            self.token.close()
        super().stop()

    def _render(self, app: Form, campaign: int, presentation: Presentation, message: Message) -> Body:
        """Build a text's body (``TextTransport._render``)."""
        return payload.render(message, campaign, presentation, app)

    def preview_body(self, tail: bytes) -> bytes:
        """The whole JSON for a token that belongs to nobody."""
        return self.app.body([self.nobody.encode()], tail)

    async def send(self, batch: Batch) -> Outcomes:
        """Push to every recipient (``Transport.send``). If cancelled, the outcome of what was sent is unknown."""
        now = self._clock()
        if now >= batch.expires_at:
            return all_alike(batch, Outcome.EXPIRED, "expired before it was sent")
        if batch.validate_only and self.app.harmony:
            return all_alike(batch, Outcome.DROPPED, "Huawei judges no push of this form without showing it")
        ttl, begin_before = lifetime(batch, now)
        keys, tails, exceptions = self.contents(batch, kept_for(ttl, self.longest))
        recipients = batch.recipients
        wrong = {key for key in keys if recipients[key].kind != "token"}
        exceptions += [
            Exceptional(key, Outcome.REJECTED, f"Huawei has no token kind {recipients[key].kind!r}") for key in wrong
        ]
        tokens = quoted_tokens([recipients[key] for key in keys])
        by_tail: defaultdict[bytes, list[tuple[int, bytes]]] = defaultdict(list)
        for key, tail, token in zip(keys, tails, tokens, strict=True):
            if key not in wrong:
                by_tail[tail].append((key, token))
        groups: list[list[int]] = []
        rows: list[Row] = []
        for tail, members in by_tail.items():
            for at in range(0, len(members), payload.TOKENS):
                few = members[at : at + payload.TOKENS]
                body = self.app.body([token for _, token in few], tail, batch.validate_only)
                rows.append((len(groups), b"", b"", body, ()))
                groups.append([key for key, _ in few])
        dispatch = GroupDispatch(
            batch, groups, rows, self.template, self._verdict, self._renew, self._clock, begin_before
        )
        dispatch.outcomes.exceptions += exceptions
        return await dispatch.run(self.pool, partial(self._prepare, batch))

    async def _prepare(self, batch: Batch) -> str | None:
        if isinstance(self.token, AccessToken):
            return await self.token.wait_for(batch, self._clock(), "Huawei")
        return None

    def _verdict(self, answer: Answer, attempt: int) -> GroupVerdict:
        return outcomes.verdict(answer.status, outcomes.parse(answer.body), attempt, self.asked(answer))

    def _renew(self, answer: Answer, then: Then) -> bool:
        refused = answer.template.value(b"authorization")
        if isinstance(self.token, AccessToken):
            self.token.renew(refused)
            return True
        return self.token.renew(refused)


def build(
    settings: TransportSettings, *, timing: Timing | None = None, backoff: Callable[[], Backoff] = Backoff
) -> HuaweiTransport:
    """Check settings and key without connecting. Raises ``CredentialsError`` naming the field and the remedy."""
    token: AccountToken | AccessToken
    if SERVICE_ACCOUNT.name in settings.credentials:
        token, project = credentials.load_account(settings.credentials)
        api, app = "v3", settings.app or project
    else:
        grant, api = credentials.load_client(settings.credentials, settings.ca, settings.proxy)
        token = AccessToken(grant, backoff=backoff)
        app = settings.app
    if not _APP.fullmatch(app):
        raise CredentialsError(f'app: "{app}" is not an id of Huawei\'s, which are numbers')
    pool = channel_pool(
        settings, ORIGIN, {HTTP_1_1: partial(Http1Engine, judge_all=True)}, timing=timing, backoff=backoff
    )
    return HuaweiTransport(f"/{api}/{app}/messages:send", token, pool, HARMONY if api == "v3" else OLD)
