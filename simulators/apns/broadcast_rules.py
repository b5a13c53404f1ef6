"""Apple's broadcast channels as the APNs twin plays them: made, listed, deleted, and broadcast to.

Sources: Apple, "Sending channel management requests to APNs", "Sending broadcast push notification requests to APNs".
Apple's own hosts for the two are others than for pushes; the twin answers all at its one address.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from simulators.answers import Rejection
from simulators.apns.push_rules import DIGITS, judge_activity
from simulators.http2.received_request import ReceivedRequest

LIMIT: Final = 5120
"""Octets of a broadcast's body."""
_PATH = re.compile(rb"/(?:4/(broadcasts)/apps/([^/]+)|1/apps/([^/]+)/(channels|all-channels))")
_ID = re.compile(r"[A-Za-z0-9+/]{22}==")
_METHODS: Final = {
    "broadcasts": ("POST",),
    "channels": ("POST", "GET", "DELETE"),
    "all-channels": ("GET",),
}
_POLICIES: Final = (0, 1)


@dataclass(frozen=True, slots=True)
class Broadcast:
    """A request about channels that is well-formed."""

    what: str
    """``make``, ``read``, ``delete``, ``list`` or ``broadcast``."""
    app: str
    channel: str = ""
    stored: bool = False
    """Of ``make``: the last message is kept."""
    expires: int = 0
    """Of ``broadcast``: seconds UTC; 0: not kept."""
    timestamp: int = 0
    """Of ``broadcast``: of the card, seconds UTC."""

    @property
    def target(self) -> str:
        """What rules of a script go by: the channel's id, or ``make`` and ``list``."""
        return self.channel or self.what


@dataclass(slots=True)
class _Channel:
    app: str
    stored: bool
    newest: int = 0


@dataclass(slots=True)
class BroadcastChannels:
    """All channels of one twin. ``most``: how many an app may have; ``apps``: those that may have any, none: all."""

    most: int
    apps: tuple[str, ...] = ()
    _channels: dict[str, _Channel] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    def judge(self, request: ReceivedRequest, fields: dict[bytes, bytes]) -> Broadcast | Rejection:
        """Judge a request whose sender is known."""
        found = _PATH.fullmatch(fields[b":path"])
        if found is None:
            return Rejection(404, "BadPath", "neither a channel's path nor a broadcast's")
        kind = (found[1] or found[4]).decode()
        app = (found[2] or found[3]).decode("ascii", "replace")
        method = fields[b":method"].decode(errors="replace")
        if method not in _METHODS[kind]:
            return Rejection(405, "MethodNotAllowed", f"{method} is not {' or '.join(_METHODS[kind])}")
        if self.apps and app not in self.apps:
            return Rejection(400, "FeatureNotEnabled", f"{app!r} is not one of {', '.join(sorted(self.apps))}")
        if kind == "all-channels":
            return Broadcast("list", app)
        if kind == "channels" and method == "POST":
            return self._judge_new(app, request.body)
        known = self._known(app, fields)
        if isinstance(known, Rejection):
            return known
        if kind == "channels":
            return Broadcast("read" if method == "GET" else "delete", app, known)
        return self._judge_broadcast(app, known, fields, request.body)

    def carry_out(self, wanted: Broadcast) -> tuple[str, dict[str, Any] | None]:
        """Do what a request asks for; return the channel's id and the answer's body."""
        if wanted.what == "make":
            digest = hashlib.sha256(f"{wanted.app} {next(self._numbers)}".encode()).digest()[:16]
            id = base64.b64encode(digest).decode()
            self._channels[id] = _Channel(wanted.app, wanted.stored)
            return id, None
        if wanted.what == "list":
            return "", {"channels": [id for id, each in self._channels.items() if each.app == wanted.app]}
        if wanted.what == "delete":
            del self._channels[wanted.channel]
            return wanted.channel, None
        channel = self._channels[wanted.channel]
        if wanted.what == "read":
            return wanted.channel, {"message-storage-policy": int(channel.stored), "push-type": "LiveActivity"}
        channel.newest = max(channel.newest, wanted.timestamp)
        return wanted.channel, None

    def is_overtaken(self, wanted: Broadcast) -> bool:
        """Whether an older card comes after a newer one."""
        return wanted.timestamp < self._channels[wanted.channel].newest

    def _known(self, app: str, fields: dict[bytes, bytes]) -> str | Rejection:
        id = fields.get(b"apns-channel-id", b"").decode("ascii", "replace")
        if not id:
            return Rejection(400, "MissingChannelId", "no apns-channel-id header")
        if not _ID.fullmatch(id):
            return Rejection(400, "BadChannelId", f"{id!r} is not 16 octets in base64")
        if id not in self._channels:
            return Rejection(400, "ChannelNotRegistered", f"there is no channel {id}")
        if (owner := self._channels[id].app) != app:
            return Rejection(403, "TopicMismatch", f"channel {id} belongs to {owner}")
        return id

    def _judge_new(self, app: str, body: bytes) -> Broadcast | Rejection:
        try:
            wanted = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            wanted = None
        if not isinstance(wanted, dict):
            return Rejection(400, "BadRequestPayload", "not a JSON object")
        policy = wanted.get("message-storage-policy")
        if isinstance(policy, bool) or policy not in _POLICIES:
            return Rejection(400, "BadRequestPayload", f"message-storage-policy {policy!r} is not 0 or 1")
        if wanted.get("push-type") != "LiveActivity":
            return Rejection(400, "BadRequestPayload", f"push-type {wanted.get('push-type')!r} is not LiveActivity")
        if sum(each.app == app for each in self._channels.values()) >= self.most:
            return Rejection(400, "CannotCreateChannelConfig", f"{app} has {self.most} channels, which is the most")
        return Broadcast("make", app, stored=policy == 1)

    def _judge_broadcast(self, app: str, id: str, fields: dict[bytes, bytes], body: bytes) -> Broadcast | Rejection:
        kind = fields.get(b"apns-push-type")
        if kind is None:
            return Rejection(400, "MissingPushType", "no apns-push-type header")
        if kind != b"liveactivity":
            return Rejection(400, "InvalidPushType", f"apns-push-type {kind.decode(errors='replace')!r}")
        if fields.get(b"apns-priority", b"10") not in (b"5", b"10"):
            return Rejection(400, "BadPriority", "apns-priority is not 5 or 10")
        expiration = fields.get(b"apns-expiration", b"").decode("ascii", "replace")
        if not DIGITS.fullmatch(expiration):
            return Rejection(400, "BadExpirationDate", f"apns-expiration {expiration!r} is not whole seconds")
        if expiration != "0" and not self._channels[id].stored:
            return Rejection(400, "BadExpirationDate", "the channel keeps no message: apns-expiration must be 0")
        if b"apns-topic" in fields or b"apns-collapse-id" in fields:
            return Rejection(400, "BadRequestParams", "a broadcast has no topic and no collapse id")
        if not body:
            return Rejection(400, "PayloadEmpty", "no body")
        if len(body) > LIMIT:
            return Rejection(413, "PayloadTooLarge", f"{len(body)} bytes; a broadcast may have {LIMIT}")
        try:
            payload = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            payload = None
        aps = payload.get("aps") if isinstance(payload, dict) else None
        if not isinstance(aps, dict):
            return Rejection(400, "BadRequestPayload", "no aps object")
        if aps.get("event") == "start":
            return Rejection(400, "BadRequestPayload", "a broadcast updates or ends: event start is for a device")
        if (rejection := judge_activity(aps)) is not None:
            return Rejection(400, "BadRequestPayload", rejection.message)
        return Broadcast("broadcast", app, id, expires=int(expiration), timestamp=aps["timestamp"])
