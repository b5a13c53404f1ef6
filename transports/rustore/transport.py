"""Pushes to RuStore, one message a request, over HTTP/2 or HTTP/1.1: whichever its server chooses (ALPN).

Source: rustore.ru/help/en/sdk/push-notifications/send-push-notifications.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from campaigns.clock import Clock, wall_clock
from campaigns.message import Message
from campaigns.presentation import Presentation
from transports.backoff import Backoff
from transports.contract import TransportSettings
from transports.decision import Decision
from transports.errors import CredentialsError
from transports.http1_engine import EITHER_HTTP
from transports.http2.connection import Timing
from transports.http2.messages import Answer
from transports.http2.pool import Pool
from transports.json_texts import rpc_error
from transports.json_texts.body import Body
from transports.json_texts.channel_pool import channel_pool
from transports.json_texts.text_transport import OneByOne
from transports.rustore import credentials, outcomes, payload
from transports.rustore.fields import ORIGIN
from transports.rustore.options import MAX_TTL

NOBODY = "0" * 64
"""The token of a preview: it belongs to nobody."""
_PROJECT = re.compile(r"[A-Za-z0-9_-]{1,128}")


class RustoreTransport(OneByOne[payload.RustoreApp]):
    """Sends one channel's pushes to RuStore."""

    platform = "rustore"
    limit = payload.LIMIT
    longest = MAX_TTL
    nobody = NOBODY
    heads = payload.HEADS

    def __init__(
        self,
        project: str,
        service_token: bytes,
        pool: Pool,
        app: payload.RustoreApp = payload.RustoreApp(),  # noqa: B008 - immutable
        clock: Clock = wall_clock,
    ) -> None:
        """``clock``: ms UTC."""
        super().__init__(pool, f"/v1/projects/{project}/messages:send", app, clock)
        self._authorization = b"Bearer " + service_token

    @property
    def authorization(self) -> bytes:
        """The service token."""
        return self._authorization

    def _render(self, app: payload.RustoreApp, campaign: int, presentation: Presentation, message: Message) -> Body:
        """Build a text's body (``TextTransport._render``)."""
        return payload.render(message, presentation, app)

    def decide(self, answer: Answer, attempt: int) -> Decision:
        """What an answer means."""
        return outcomes.decide(answer.status, rpc_error.parse(answer.body), attempt, self.asked(answer))


def build(
    settings: TransportSettings, *, timing: Timing | None = None, backoff: Callable[[], Backoff] = Backoff
) -> RustoreTransport:
    """Check settings and token without connecting. Raises ``CredentialsError`` naming the field and the remedy."""
    token = credentials.load(settings.credentials)
    if not _PROJECT.fullmatch(settings.app):
        raise CredentialsError(f'app: "{settings.app}" is not a RuStore project id: letters, digits, _ and -')
    pool = channel_pool(settings, ORIGIN, EITHER_HTTP, timing=timing, backoff=backoff)
    return RustoreTransport(settings.app, token, pool, payload.RustoreApp(settings.quiet_channel))
