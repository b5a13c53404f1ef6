"""Sends to the webhook. Connections, deadlines, languages and personal fields are those of every platform."""

from __future__ import annotations

from campaigns.identity import campaign_text
from campaigns.message import Message
from campaigns.outcome import Death, Fault, Outcome
from campaigns.presentation import Presentation
from transports import credential_entries
from transports.contract import TransportSettings
from transports.decision import Decision, by_status, later, stop
from transports.errors import CredentialsError, PayloadError
from transports.http1_engine import EITHER_HTTP
from transports.http2.messages import Answer
from transports.json_texts.body import LATER_NUMBER, Body, encode
from transports.json_texts.channel_pool import channel_pool
from transports.json_texts.text_transport import OneByOne
from webhook_platform.platform import PATH, SECRET, options


class WebhookTransport(OneByOne[str]):
    """Sends one channel's pushes. ``app`` is the app's name."""

    platform, limit, longest = "webhook", 65_536, 604_800  # bytes of a message; seconds for which it may be kept
    nobody, heads = "nobody@example.invalid", {"token": b'{"to":"'}
    authorization = b""

    def _render(self, app: str, campaign: int, presentation: Presentation, message: Message) -> Body:
        options(message.options.get("webhook", {}))
        texts = {"title": message.title, "body": message.body, "url": message.url, "data": message.data}
        if (size := len(encode(texts))) > self.limit:
            raise PayloadError(f"message: {size} bytes for a webhook, which takes {self.limit}; shorten it")
        silent = presentation is Presentation.ASLEEP
        rest = {"app": app, "campaign": campaign_text(campaign), "seconds": LATER_NUMBER, "silent": silent, **texts}
        return Body(b'",' + encode(rest)[1:], size)

    def decide(self, answer: Answer, attempt: int) -> Decision:
        """What an answer other than 2xx means."""
        reason, asked = f"HTTP {answer.status}", self.asked(answer)
        match answer.status:
            case 401 | 403:
                return stop(reason, f"the webhook refuses the secret ({reason}): check credentials.secret")
            case 404 | 410:
                return Decision(Outcome.DEAD, reason, death=Death.LIKELY)
            case 429:
                return later(Fault.CHANNEL, reason, 10.0, attempt, asked)
            case status:
                return by_status(status, reason, 1.0, attempt, asked)


def build(settings: TransportSettings) -> WebhookTransport:
    """Check the settings without connecting. Raises ``CredentialsError`` naming the field and the remedy."""
    name, path = credential_entries.take(settings.credentials, [SECRET, PATH], "the webhook")
    if settings.origin is None:
        raise CredentialsError('origin: missing; it is the receiver\'s, as in "https://gateway.example.org"')
    transport = WebhookTransport(channel_pool(settings, settings.origin, EITHER_HTTP), path or "/", settings.app)
    transport.authorization = b"Bearer " + credential_entries.read_secret(SECRET, name, "secret")
    return transport
