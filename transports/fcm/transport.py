"""Pushes to Firebase Cloud Messaging, HTTP v1, one message a request.

Source: firebase.google.com/docs/cloud-messaging/send/v1-api.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from campaigns import personal
from campaigns.batch import Batch
from campaigns.clock import Clock, wall_clock
from campaigns.identity import campaign_text
from campaigns.message import Message
from campaigns.presentation import Presentation
from campaigns.recipient import NEW_APP, PersonalRecipient, Recipient
from transports.access_token import AccessToken
from transports.backoff import Backoff
from transports.contract import Exceptional, Outage, Quota, TransportSettings
from transports.decision import Decision, Then
from transports.editions import Contents
from transports.errors import CredentialsError
from transports.fcm import keyless, outcomes, payload
from transports.fcm.fields import DEVICES, ORIGIN
from transports.fcm.options import MAX_TTL
from transports.http2.connection import Timing
from transports.http2.messages import Answer
from transports.http2.pool import Pool
from transports.json_texts.body import Body, addressed, kept_for
from transports.json_texts.channel_pool import channel_pool
from transports.json_texts.text_transport import OneByOne
from transports.warm_up import FirstRequest

A_MINUTE = 600_000
"""Pushes a minute that Google allows a project, unless it granted more (docs/cloud-messaging/throttling-and-quotas)."""
RAMP = 60.0
"""Seconds over which Google asks senders to rise to the full rate (docs/cloud-messaging/scale-fcm)."""

NOBODY = f"{'0' * 22}:APA91b{'0' * 64}"
"""The token of a preview: it belongs to nobody."""


class FcmTransport(OneByOne[payload.KnownApp]):
    """Sends one channel's pushes to Google."""

    platform = "fcm"
    limit = payload.LIMIT
    longest = MAX_TTL
    nobody = NOBODY
    heads = payload.HEADS
    judging_heads = payload.JUDGING_HEADS

    def __init__(
        self,
        project: str,
        token: AccessToken,
        pool: Pool,
        clock: Clock = wall_clock,
        app: payload.KnownApp = payload.KnownApp(),  # noqa: B008 - immutable
    ) -> None:
        """``project``: Firebase project id. ``clock``: ms UTC."""
        super().__init__(pool, f"/v1/projects/{project}/messages:send", app, clock)
        self._project = project
        self._old_app = app._replace(android_v2=False)
        self.token = self.shared = token

    def warm_up_with(self, token: str, channel: str) -> None:
        """Have Google validate a message to this device, which nobody sees, as the first request of each connection."""
        body = self._render(self.app, 0, Presentation.AWAKE, Message(title="warm-up", body="warm-up"))
        tail = kept_for(60, MAX_TTL)(body.tail)
        (content,) = addressed([Recipient(0, token, "token", 0, "")], [tail], self.judging_heads)
        assert content is not None

        def make() -> FirstRequest | None:
            if not self.token.value:
                return None  # connected before Google granted a token
            return FirstRequest((0, b"", b"", content, ()), self.template(), self.decide, channel)

        self.pool.warm_up = make

    @property
    def quota(self) -> Quota | None:
        """Google's quota; None: the channel does not connect to Google (``Transport.quota``)."""
        if not self.pool.origin.host.endswith(".googleapis.com"):
            return None
        return Quota(f"project {self._project}", A_MINUTE, RAMP)

    @property
    def outage(self) -> Outage | None:
        """Why Google cannot be reached, or gives no access token (``Transport.outage``)."""
        return self.token.missing("Google") or super().outage

    async def run(self, ready: Callable[[], None]) -> None:
        """Own the connections and the access token until stopped; an outage is retried for ever."""
        await self.token.beside(partial(super().run, ready))

    def stop(self) -> None:
        """Finish what is in flight, then end :meth:`run`."""
        self.token.close()
        super().stop()

    def _render(self, app: payload.KnownApp, campaign: int, presentation: Presentation, message: Message) -> Body:
        """Build a text's body (``TextTransport._render``)."""
        return payload.render(message, campaign_text(campaign), presentation, app)

    def forms(self, presentation: Presentation) -> Mapping[str, payload.KnownApp]:
        """The forms in which a message is sent, by versions of the app."""
        if self.app.versions and presentation is Presentation.AWAKE:
            return {self.app.versions: self.app, "others": self._old_app}
        return super().forms(presentation)

    def contents(self, batch: Batch, fill: Callable[[bytes], bytes]) -> Contents:
        """What each recipient gets. Where the form depends on the app's version, by their last value."""
        if not self.app.versions:
            return super().contents(batch, fill)
        count = len(personal.fields(batch.message))
        new = [_has_new_app(each, count) for each in batch.recipients]
        bodies: dict[int, bytes] = {}
        rejected: list[Exceptional] = []
        for app, wanted in ((self.app, True), (self._old_app, False)):
            own = [key for key, is_new in enumerate(new) if is_new is wanted]
            if own:
                found = self.editions(batch, app).contents([batch.recipients[key] for key in own], fill)
                bodies.update(zip((own[key] for key in found.keys), found.bodies, strict=True))
                rejected += [each._replace(index=own[each.index]) for each in found.rejected]
        return Contents(list(bodies), list(bodies.values()), rejected)

    @property
    def authorization(self) -> bytes:
        """The access token."""
        return self.token.value

    async def prepare(self, batch: Batch) -> str | None:
        """Wait for an access token (``OneByOne.prepare``)."""
        return await self.token.wait_for(batch, self._clock(), "Google")

    def decide(self, answer: Answer, attempt: int) -> Decision:
        """What an answer means."""
        return outcomes.decide(answer.status, outcomes.parse(answer.body), attempt, self.asked(answer))

    def renew(self, answer: Answer, then: Then) -> bool:
        """Replace the access token that was refused."""
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
    pool = channel_pool(settings, ORIGIN, timing=timing, backoff=backoff)
    versions = settings.android_v2 if isinstance(settings.android_v2, str) else ""
    app = payload.KnownApp(
        quiet_channel=settings.quiet_channel,
        android_v2=bool(settings.android_v2),
        versions=versions,
        collapse_slots=settings.collapse_slots,
        devices=frozenset(settings.devices or DEVICES),
        labelled=settings.labelled,
    )
    token = AccessToken(source, backoff=backoff)
    transport = FcmTransport(project, token, pool, app=app)
    if settings.warm_up is not None:
        transport.warm_up_with(settings.warm_up, settings.channel)
    return transport
