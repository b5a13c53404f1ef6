"""Apple's push service as a twin sees it: which requests it takes, and what it says to the others.

Sources: Apple, "Sending notification requests to APNs", "Handling notification responses from APNs", "Establishing a
token-based connection to APNs".
"""

from __future__ import annotations

import re
import time
import uuid
from dataclasses import dataclass
from typing import Final

import msgspec

from simulators.answers import Answer, Rejection, scripted
from simulators.http2 import Limits
from simulators.ledger import Entry, Ledger
from simulators.provider_tokens import TokenVerifier
from simulators.requests import Request
from simulators.script import Director, Rule

_PATH: Final = b"/3/device/"
_TOKEN = re.compile(r"(?:[0-9a-f]{2}){1,128}")
_UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TOPIC = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9_-]+)*")
_DIGITS = re.compile(r"0|[1-9][0-9]{0,18}")
_STATUS: Final = {status: (b":status", str(status).encode()) for status in range(200, 600)}
_JSON: Final = (b"content-type", b"application/json")
_COLLAPSE_LIMIT: Final = 64
_CACHED: Final = 2048

#: Topic suffix by push type; ``mdm`` has a topic of its own kind (the UID of the MDM certificate's subject).
SUFFIXES: Final = {
    "alert": "",
    "background": "",
    "voip": ".voip",
    "complication": ".complication",
    "fileprovider": ".pushkit.fileprovider",
    "mdm": "",
    "location": ".location-query",
    "liveactivity": ".push-type.liveactivity",
    "pushtotalk": ".voip-ptt",
    "widgets": ".push-type.widgets",
    "controls": ".push-type.controls",
}
_USUAL: Final[dict[str, tuple[int, str]]] = {
    "dead": (410, "Unregistered"),
    "429": (429, "TooManyRequests"),
    "500": (500, "InternalServerError"),
    "503": (503, "ServiceUnavailable"),
}
#: Statuses of reasons that a script may put in place of the usual one.
_STATUS_OF: Final = {"BadDeviceToken": 400, "DeviceTokenNotForTopic": 400, "Shutdown": 503, "ExpiredToken": 410}

FIRST_STREAMS: Final = 1
"""Streams allowed until a request with a valid token has succeeded."""
STREAMS: Final = 1000


@dataclass(frozen=True, slots=True)
class _Terms:
    """What the headers that requests share came to."""

    topic: str
    push_type: str
    collapse: str | None
    good_until: float
    """Seconds UTC at which the provider token expires."""
    issued: object
    """The provider token, to tell one from the next."""


class Apns:
    """The APNs twin's rules.

    Args:
        verifier: checks provider tokens.
        director: the fault script.
        ledger: takes what is accepted.
        apps: bundle ids served; empty: any well-formed one.
        latency: seconds before each answer.
    """

    protocols: tuple[str, ...] = ("h2",)

    def __init__(
        self,
        verifier: TokenVerifier,
        director: Director,
        ledger: Ledger,
        apps: tuple[str, ...] = (),
        latency: float = 0.0,
    ) -> None:
        window = director.script.connection_window
        self.limits = Limits(max_concurrent_streams=FIRST_STREAMS)
        if window is not None:
            self.limits = Limits(max_concurrent_streams=FIRST_STREAMS, connection_window=window)
        self.verifier = verifier
        self.director = director
        self.ledger = ledger
        self.apps = apps
        self.latency = latency
        self._payloads: dict[tuple[bytes, str], Rejection | None] = {}

    def session(self) -> ApnsSession:
        """Begin a connection: one stream, no token seen."""
        return ApnsSession(self)

    def check_payload(self, body: bytes, push_type: str) -> Rejection | None:
        """Judge a body. Remembered: a campaign sends the same few bodies to everyone."""
        key = (body, push_type)
        try:
            return self._payloads[key]
        except KeyError:
            if len(self._payloads) >= _CACHED:
                self._payloads.clear()
            verdict = self._payloads[key] = check_payload(body, push_type)
            return verdict


class ApnsSession:
    """One connection to the APNs twin."""

    def __init__(self, apns: Apns) -> None:
        self.streams = FIRST_STREAMS
        self._apns = apns
        self._terms: dict[tuple[bytes | None, ...], _Terms] = {}
        self._token: object = None
        self._token_since = 0.0

    def answer(self, request: Request) -> Answer:
        """Judge one request, enter it in the ledger if accepted."""
        now = time.time()
        fields = dict(request.fields)
        apns_id = fields.get(b"apns-id")
        verdict = self._judge(request, fields, apns_id, now)
        if isinstance(verdict, Rejection):
            if apns_id is None or not _UUID.fullmatch(apns_id):
                apns_id = str(uuid.uuid4()).encode()
            return self._refuse(verdict, apns_id)
        if apns_id is None:
            apns_id = str(uuid.uuid4()).encode()
        self.streams = STREAMS
        apns = self._apns
        token = fields[b":path"][len(_PATH) :].decode()
        rule = apns.director.rule_for(token) if apns.director.script.rules else None
        if rule is not None and rule.answer not in ("accept", "slow"):
            return self._script(rule, verdict, token, apns_id, now)
        self._accept(verdict, token, apns_id, now)
        answer = Answer((_STATUS[200], (b"apns-id", apns_id)), delay=apns.latency)
        return answer if rule is None else self._delayed(answer, rule)

    def _accept(self, terms: _Terms, token: str, apns_id: bytes, now: float, answered: int = 200) -> None:
        self._apns.ledger.add(
            Entry(
                time=int(now * 1000),
                token=token,
                collapse=terms.collapse,
                id=apns_id.decode(),
                app=terms.topic,
                answered=answered,
            )
        )

    def _delayed(self, answer: Answer, rule: Rule) -> Answer:
        scripted(answer, rule)
        answer.delay += self._apns.latency
        return answer

    def _script(self, rule: Rule, terms: _Terms, token: str, apns_id: bytes, now: float) -> Answer:
        status, reason = _USUAL.get(str(rule.answer), (500, rule.answer))
        if rule.reason is not None:
            reason = rule.reason
            status = _STATUS_OF.get(reason, status)
        status = rule.status or status
        silent = rule.answer in ("mute", "reset")
        if rule.delivered:
            self._accept(terms, token, apns_id, now, 0 if silent else status)
        since = None
        if status == 410:
            since = int(now * 1000 - 1000 * (rule.timestamp_ago_seconds or 0.0))
            if rule.timestamp is not None:
                since = rule.timestamp
        answer = self._refuse(Rejection(status, str(reason)), apns_id, since, rule.retry_after)
        return self._delayed(answer, rule)

    def _refuse(
        self, rejection: Rejection, apns_id: bytes, timestamp: int | None = None, retry_after: int | None = None
    ) -> Answer:
        self._apns.ledger.refused[rejection.reason] += 1
        fields = [_STATUS[rejection.status], (b"apns-id", apns_id), _JSON]
        if retry_after is not None:
            fields.append((b"retry-after", str(retry_after).encode()))
        said: dict[str, object] = {"reason": rejection.reason}
        if timestamp is not None:
            said["timestamp"] = timestamp
        return Answer(tuple(fields), msgspec.json.encode(said), self._apns.latency)

    def _judge(
        self, request: Request, fields: dict[bytes, bytes], apns_id: bytes | None, now: float
    ) -> Rejection | _Terms:
        if len(fields) != len(request.fields):
            return Rejection(400, "DuplicateHeaders")
        if fields[b":method"] != b"POST":
            return Rejection(405, "MethodNotAllowed")
        path = fields[b":path"]
        if not path.startswith(_PATH):
            return Rejection(404, "BadPath")
        get = fields.get
        key = (
            get(b"authorization"),
            get(b"apns-topic"),
            get(b"apns-push-type"),
            get(b"apns-priority"),
            get(b"apns-expiration"),
            get(b"apns-collapse-id"),
        )
        terms = self._terms.get(key)
        if terms is None or now >= terms.good_until:
            judged = self._judge_terms(key, now)
            if isinstance(judged, Rejection):
                return judged
            if len(self._terms) >= _CACHED:
                self._terms.clear()
            terms = self._terms[key] = judged
        if terms.issued != self._token:
            if self._token is not None and now - self._token_since < self._apns.director.script.token_update_seconds:
                return Rejection(429, "TooManyProviderTokenUpdates")
            self._token = terms.issued
            self._token_since = now
        if apns_id is not None and not _UUID.fullmatch(apns_id):
            return Rejection(400, "BadMessageId")
        rejection = self._apns.check_payload(request.body, terms.push_type)
        if rejection is not None:
            return rejection
        token = path[len(_PATH) :].decode("ascii", "replace")
        if not token:
            return Rejection(400, "MissingDeviceToken")
        if not _TOKEN.fullmatch(token):
            return Rejection(400, "BadDeviceToken")
        return terms

    def _judge_terms(self, key: tuple[bytes | None, ...], now: float) -> Rejection | _Terms:
        authorization, topic, push_type, priority, expiration, collapse = (
            None if value is None else value.decode("utf-8", "replace") for value in key
        )
        verified = self._apns.verifier.verify(authorization, now)
        if isinstance(verified, Rejection):
            return verified
        # Apple defaults an absent push type to alert (watchOS 6 and later demand it): send it always.
        kind = push_type if push_type is not None else "alert"
        if kind not in SUFFIXES:
            return Rejection(400, "InvalidPushType")
        rejection = self._judge_topic(topic, kind) or _judge_delivery(kind, priority, expiration)
        if rejection is not None:
            return rejection
        if collapse is not None and not 0 < len(collapse.encode()) <= _COLLAPSE_LIMIT:
            return Rejection(400, "BadCollapseId")
        assert topic is not None
        return _Terms(topic, kind, collapse, verified.good_until, verified.token)

    def _judge_topic(self, topic: str | None, kind: str) -> Rejection | None:
        if not topic:
            return Rejection(400, "MissingTopic")
        suffix = SUFFIXES[kind]
        if not _TOPIC.fullmatch(topic):
            return Rejection(400, "BadTopic")
        if not topic.endswith(suffix):
            return Rejection(400, "BadTopic")
        bundle = topic.removesuffix(suffix)
        if not suffix and kind != "mdm" and any(other and topic.endswith(other) for other in SUFFIXES.values()):
            return Rejection(400, "BadTopic")
        if self._apns.apps and bundle not in self._apns.apps:
            return Rejection(400, "TopicDisallowed")
        return None


def _judge_delivery(kind: str, priority: str | None, expiration: str | None) -> Rejection | None:
    if priority not in (None, "1", "5", "10"):
        return Rejection(400, "BadPriority")
    if kind == "background" and priority != "5":
        # An absent priority is 10.
        return Rejection(400, "BadPriority")
    if kind in ("location", "liveactivity") and priority == "1":
        return Rejection(400, "BadPriority")
    if expiration is not None and not _DIGITS.fullmatch(expiration):
        return Rejection(400, "BadExpirationDate")
    return None


def check_payload(body: bytes, push_type: str) -> Rejection | None:
    """Judge one body: size, JSON, and what its push type demands of ``aps``.

    Apple documents no reason for malformed JSON: the twin says ``BadPayload``, which no client can mistake for another.
    """
    if not body:
        return Rejection(400, "PayloadEmpty")
    if len(body) > (5120 if push_type == "voip" else 4096):
        return Rejection(413, "PayloadTooLarge")
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Rejection(400, "BadPayload")
    if not isinstance(payload, dict):
        return Rejection(400, "BadPayload")
    if push_type in ("voip", "mdm", "fileprovider", "complication", "pushtotalk", "location"):
        return None
    aps = payload.get("aps")
    if not isinstance(aps, dict):
        return Rejection(400, "BadPayload")
    if push_type == "background" and (aps.get("content-available") != 1 or {"alert", "badge", "sound"} & aps.keys()):
        return Rejection(400, "InvalidPushType")
    if push_type == "alert" and not {"alert", "badge", "sound", "content-available"} & aps.keys():
        return Rejection(400, "PayloadEmpty")
    if push_type == "widgets" and aps.get("content-changed") is not True:
        return Rejection(400, "InvalidPushType")
    if push_type == "liveactivity" and aps.get("event") not in ("start", "update", "end"):
        return Rejection(400, "BadPayload")
    return None
