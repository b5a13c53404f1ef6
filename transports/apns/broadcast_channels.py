"""Apple's broadcast channels: a Live Activity on every lock screen, changed by one request.

Sources: developer.apple.com, "Sending channel management requests to APNs", "Sending broadcast push notification
requests to APNs". There are some requests a minute, so each has a connection of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from campaigns.clock import Clock, wall_clock
from campaigns.message import Message
from campaigns.outcome import Outcome
from transports import foreign
from transports.apns import outcomes, payload
from transports.apns.credentials import ProviderToken
from transports.broadcasts import BroadcastLater, BroadcastRefused, CardState
from transports.decision import Decision, Then
from transports.errors import ConnectionLost
from transports.http1 import ask_whole
from transports.proxy import Proxy
from transports.retry_after import parse_retry_after

LIMIT = 10_000
"""Channels of one app in one environment."""
LARGEST_BODY = 5_120
"""Octets of a broadcast."""
WITHIN = 10.0
"""Seconds for one answer."""
LARGEST_LIST = 2 << 20
"""Bytes of the list of all channels: 10,000 ids of 24 characters take 270 KB."""
LONGEST_ID = 64
_GONE = ("BadChannelId", "ChannelNotRegistered")
_URGENT, _SPARING = "10", "5"

_Id = Annotated[str, Meta(min_length=1, max_length=LONGEST_ID, pattern="^[!-~]+$")]


class _All(msgspec.Struct):
    channels: list[_Id]


class ApnsBroadcasts:
    """The channels of one bundle id (``transports.broadcasts.Broadcasts``).

    ``sends``, ``manages``: the two origins; ``ca``: PEM file of the authority that signed them, None: the system's.
    """

    limit = LIMIT

    def __init__(
        self,
        app: str,
        token: ProviderToken,
        *,
        sends: str,
        manages: str,
        ca: Path | None = None,
        proxy: Proxy | None = None,
        clock: Clock = wall_clock,
    ) -> None:
        self._token = token
        self._ca = ca
        self._proxy = proxy
        self._clock = clock
        self._sends = f"{sends}/4/broadcasts/apps/{app}"
        self._channels = f"{manages}/1/apps/{app}/channels"
        self._all = f"{manages}/1/apps/{app}/all-channels"
        self.place = f"{app} at {manages.removeprefix('https://')}"

    def body(self, card: CardState) -> bytes:
        """Render a broadcast (``Broadcasts.body``). Raises ``PayloadError``."""
        aps: dict[str, Any] = {"event": card.event, "timestamp": card.timestamp, "content-state": dict(card.state)}
        if card.stale_at is not None:
            aps["stale-date"] = card.stale_at
        if card.dismiss_at is not None:
            aps["dismissal-date"] = card.dismiss_at
        told = card.alert or Message()
        options = {"apns": {"push_type": "liveactivity", "aps": aps}}
        whole = Message(title=told.title, body=told.body, data=dict(card.data), options=options)
        return payload.render(whole, most=LARGEST_BODY).body

    async def create(self, *, stored: bool) -> str:
        """Make a channel (``Broadcasts.create``)."""
        wanted = {"message-storage-policy": int(stored), "push-type": "LiveActivity"}
        status, headers, _ = await self._ask("POST", self._channels, json=wanted)
        made = headers.get("apns-channel-id", "")
        try:
            return msgspec.convert(made, _Id)
        except msgspec.ValidationError:
            raise ConnectionLost(f"{self._channels} answered {status} without a channel's id") from None

    async def channels(self) -> list[str]:
        """List all channels (``Broadcasts.channels``)."""
        _, _, body = await self._ask("GET", self._all)
        try:
            return msgspec.json.decode(body, type=_All).channels
        except foreign.UNREADABLE:
            raise ConnectionLost(f"{self._all} answered 200 without a list of channels") from None

    async def delete(self, channel: str) -> None:
        """Delete a channel (``Broadcasts.delete``)."""
        try:
            await self._ask("DELETE", self._channels, {"apns-channel-id": channel})
        except BroadcastRefused as error:
            if not error.gone:
                raise

    async def send(self, channel: str, body: bytes, *, urgent: bool, kept_until: int) -> None:
        """Broadcast (``Broadcasts.send``)."""
        headers = {
            "apns-channel-id": channel,
            "apns-push-type": "liveactivity",
            "apns-priority": _URGENT if urgent else _SPARING,
            "apns-expiration": str(kept_until),
        }
        await self._ask("POST", self._sends, headers, content=body)

    async def _ask(self, method: str, url: str, headers: dict[str, str] | None = None, **content: Any) -> Any:
        """Ask, with another token if Apple calls ours expired; return (status, headers, body) of a good answer."""
        renewed = False
        while True:
            token = self._token.header()
            fields = {"authorization": token.decode("ascii"), **(headers or {})}
            answer = await ask_whole(
                method, url, self._ca, WITHIN, self._proxy, fields, http2=True, largest=LARGEST_LIST, **content
            )
            status, said, body = answer
            if 200 <= status < 300:
                return answer
            decision = self._judge(status, said.get("retry-after"), body)
            if renewed or not self._renew(decision.then, token):
                raise self._refusal(status, body)
            renewed = True

    def _judge(self, status: int, retry_after: str | None, body: bytes) -> Decision:
        """Return what a refusal means; raises ``BroadcastLater`` for one that passes."""
        now = self._clock()
        reason, timestamp = outcomes.parse(body, now)
        after = parse_retry_after(None if retry_after is None else retry_after.encode(), now)
        decision = outcomes.decide(status, reason, timestamp, 1, after)
        if decision.then is Then.KEEP_TOKEN:
            self._token.keep_previous()
        if decision.outcome is Outcome.RETRY:
            raise BroadcastLater(f"Apple answers {status} ({decision.reason})", min(decision.after, 60.0))
        return decision

    def _renew(self, then: Then, refused: bytes) -> bool:
        """Return whether there is another token now, with which the request may be good."""
        if then is Then.RENEW_IF_MISDATED:
            return self._token.renew_if_misdated(refused)
        if then is Then.RENEW_AND_RECONNECT:
            self._token.renew(refused)
            return True
        return False

    def _refusal(self, status: int, body: bytes) -> BroadcastRefused:
        reason, _ = outcomes.parse(body, self._clock())
        sentence = _SENTENCES.get(reason)
        if sentence is None:
            decision = outcomes.decide(status, reason)
            sentence = decision.stop or f"Apple refuses the request ({decision.reason})"
        else:
            sentence = sentence.format(reason=reason)
        return BroadcastRefused(sentence, gone=reason in _GONE)


_DELETED = "Apple does not know the channel ({reason}): it was deleted; end the story and open another"
_SENTENCES = {
    "FeatureNotEnabled": "broadcasts are not enabled for this app ({reason}): switch on Broadcast Capability under "
    "Push Notifications of the app's identifier at developer.apple.com",
    "CannotCreateChannelConfig": "Apple makes no more channels for this app ({reason}): it keeps "
    f"{LIMIT:,}; delete those that nobody uses",
    "ChannelNotRegistered": _DELETED,
    "BadChannelId": _DELETED,
    "TopicMismatch": "the channel belongs to another app ({reason}): check the channel's app (the bundle id)",
    "PayloadTooLarge": f"Apple takes {LARGEST_BODY:,} bytes ({{reason}}): shorten the card's state",
}
