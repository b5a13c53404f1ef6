"""Apple's push service as a twin plays it: which requests it takes, and how it answers the others.

Sources: Apple, "Sending notification requests to APNs", "Handling notification responses from APNs", "Establishing a
token-based connection to APNs", "Establishing a certificate-based connection to APNs".
"""

from __future__ import annotations

import itertools
import math
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from simulators import reasons
from simulators import twin_credentials as keys
from simulators.answers import JSON, STATUS, Rejection, TwinAnswer, scripted
from simulators.anything import Anything
from simulators.apns.broadcast_rules import Broadcast, BroadcastChannels
from simulators.apns.delivery_exports import DeliveryExports
from simulators.apns.push_rules import SUFFIXES, TOKEN, UUID, is_asleep, judge_delivery, judge_payload, judge_topic
from simulators.apns.token_verifier import ProviderKey, TokenVerifier
from simulators.delivery_counts import DeliveryCounts
from simulators.faults.director import Director
from simulators.faults.script import CertificateRule, Rule
from simulators.http2.received_request import ReceivedRequest
from simulators.ledger import Entry, Ledger
from simulators.provider import BuiltTwin, Provider, Session, TwinParts
from simulators.push_certificates import PushCertificate, read_certificate
from simulators.script_player import ScriptPlayer

_PATH: Final = b"/3/device/"
_CHANNEL_PATHS: Final = (b"/1/", b"/4/")
_CACHED: Final = 2048

#: First part of this process's UUIDs; a counter follows, because a random UUID each time costs 4 µs a push.
_BOOT: Final = str(uuid.uuid4())[:24].encode()
_numbers = itertools.count()

FIRST_STREAMS: Final = 1
"""Streams allowed until a request with a valid token has succeeded."""


@dataclass(frozen=True, slots=True)
class _Terms:
    """The verdict on the headers that requests share."""

    topic: str
    push_type: str
    priority: str | None
    collapse: str | None
    expires: int | None
    """Milliseconds UTC."""
    good_until: float
    """Seconds UTC at which the provider token expires."""
    token: str | None
    """The provider token, to notice a change; None: the connection has a client certificate."""
    key: ProviderKey | None


class ApnsTwin(Provider):
    """The APNs twin's rules.

    Args:
        verifier: checks provider tokens.
        director, ledger, apps, latency: see :class:`simulators.provider.Provider`; ``apps`` are bundle ids.
        revoked: bundle ids whose certificates are refused.
        counts, exports: what was accepted, and the exports of delivery metrics, which are all that HTTP/1.1 is for;
            None: there are none.
    """

    usual_streams: ClassVar[int] = 1000

    def __init__(
        self,
        verifier: TokenVerifier,
        director: Director,
        ledger: Ledger,
        apps: tuple[str, ...] = (),
        latency: Callable[[], float] = float,
        revoked: frozenset[str] = frozenset(),
        counts: DeliveryCounts | None = None,
        exports: Session | None = None,
    ) -> None:
        super().__init__(director, ledger, apps, latency)
        self.counts = counts
        self._exports = exports
        if exports is not None:
            self.protocols = ("h2", "http/1.1")
        self.verifier = verifier
        self.environment = director.script.environment
        self._revoked = revoked
        self._payloads: dict[tuple[bytes, str], Rejection | None] = {}
        self._sleeping: dict[tuple[bytes, str, str | None], bool] = {}
        self.channels = BroadcastChannels(director.script.broadcast_channels, apps)
        anything = Anything("apns", reasons.APNS, director.script.seed)
        self.player = ScriptPlayer(anything, reasons.APNS_USUAL, reasons.APNS, JSON, ledger, latency)

    def http1_session(self) -> Session:
        """Begin a connection for exports of delivery metrics: pushes need HTTP/2."""
        return self.session() if self._exports is None else self._exports

    def session(self, certificate: bytes | None = None) -> ApnsSession:
        """Begin a connection: with one stream until a token is seen, or with a client certificate."""
        if certificate is None:
            return ApnsSession(self, None)
        return ApnsSession(self, self._judge_certificate(read_certificate(certificate)))

    def check_payload(self, body: bytes, push_type: str) -> Rejection | None:
        """Judge a body. Cached: a campaign sends the same few bodies to everyone."""
        key = (body, push_type)
        try:
            return self._payloads[key]
        except KeyError:
            if len(self._payloads) >= _CACHED:
                self._payloads.clear()
            verdict = self._payloads[key] = judge_payload(body, push_type)
            return verdict

    def is_asleep(self, body: bytes, push_type: str, priority: str | None) -> bool:
        """Whether an accepted body wakes nobody. Cached as :meth:`check_payload` is."""
        key = (body, push_type, priority)
        try:
            return self._sleeping[key]
        except KeyError:
            if len(self._sleeping) >= _CACHED:
                self._sleeping.clear()
            verdict = self._sleeping[key] = is_asleep(body, push_type, priority)
            return verdict

    def _judge_certificate(self, read: PushCertificate | Rejection) -> PushCertificate | Rejection:
        if isinstance(read, Rejection):
            return read
        if read.app in self._revoked:
            return Rejection(403, "BadCertificate", f"the certificate of {read.app} is revoked")
        if self.environment not in read.environments:
            why = f"the certificate of {read.app} is for {', '.join(read.environments)} only"
            return Rejection(403, "BadCertificateEnvironment", why)
        return read


class ApnsSession:
    """One connection to the APNs twin."""

    def __init__(self, apns: ApnsTwin, certificate: PushCertificate | Rejection | None) -> None:
        first = apns.director.script.first_streams or FIRST_STREAMS
        self.streams = min(first, apns.streams) if certificate is None else apns.streams
        self._apns = apns
        self._certificate = certificate
        self._terms: dict[tuple[bytes | None, ...], _Terms] = {}
        self._token: str | None = None
        self._token_since = 0.0
        self._bound: ProviderKey | None = None

    def answer(self, request: ReceivedRequest) -> TwinAnswer:
        """Judge one request, and add it to the ledger if accepted."""
        now = time.time()
        fields = dict(request.fields)
        if fields[b":path"].startswith(_CHANNEL_PATHS):
            return self._answer_channels(request, fields, now)
        apns_id = fields.get(b"apns-id")
        verdict = self._judge(request, fields, apns_id, now)
        apns = self._apns
        if isinstance(verdict, Rejection):
            if apns_id is None or not UUID.fullmatch(apns_id):
                apns_id = _new_id()
            return self._refuse(verdict, apns_id)
        if apns_id is None:
            apns_id = _new_id()
        self.streams = apns.streams
        token = fields[b":path"][len(_PATH) :].decode()
        rule = apns.director.rule_for(token) if apns.director.script.rules else None
        if rule is not None and rule.answer not in ("accept", "slow"):
            return self._script(rule, verdict, token, apns_id, now, request.body)
        self._accept(verdict, token, apns_id, now, request.body)
        answer = TwinAnswer(self._head(200, apns_id), delay=apns.latency())
        return answer if rule is None else scripted(answer, rule, answer.delay)

    def _answer_channels(self, request: ReceivedRequest, fields: dict[bytes, bytes], now: float) -> TwinAnswer:
        """Answer a request about broadcast channels. Apple echoes its ``apns-request-id``, or makes one."""
        request_id = fields.get(b"apns-request-id") or _new_id()
        wanted = self._judge_channels(request, fields, now)
        if isinstance(wanted, Rejection):
            return self._refuse(wanted, request_id)
        apns = self._apns
        self.streams = apns.streams

        channel, body = "", None

        def carry_out(status: int) -> None:
            nonlocal channel, body
            if wanted.what == "broadcast":
                self._note(wanted, request_id, now, request.body, status)
            channel, body = apns.channels.carry_out(wanted)

        def accept() -> TwinAnswer:
            carry_out(200)
            good = {"make": 201, "delete": 204}.get(wanted.what, 200)
            named = ((b"apns-channel-id", channel.encode()),) if wanted.what == "make" else ()
            said = b"" if body is None else msgspec.json.encode(body)
            json = (JSON,) if said else ()
            return TwinAnswer((STATUS[good], (b"apns-request-id", request_id), *named, *json), said, apns.latency())

        rule = apns.director.rule_for(wanted.target, kind="channel") if apns.director.script.rules else None
        if rule is None or rule.answer in ("accept", "slow"):
            answer = accept()
            return answer if rule is None else scripted(answer, rule, answer.delay)

        def refuse(status: int, reason: str) -> TwinAnswer:
            return self._refuse(Rejection(status, reason or str(rule.answer)), request_id, None, rule.retry_after)

        return apns.player.play(rule, wanted.target, carry_out, refuse)

    def _judge_channels(
        self, request: ReceivedRequest, fields: dict[bytes, bytes], now: float
    ) -> Broadcast | Rejection:
        if len(fields) != len(request.fields):
            return Rejection(400, "DuplicateHeaders", "a header occurs twice")
        if self._certificate is not None:
            return Rejection(403, "MissingProviderToken", "broadcasts need a provider token; this is a certificate")
        authorization = fields.get(b"authorization")
        verified = self._apns.verifier.verify(None if authorization is None else authorization.decode(), now)
        if isinstance(verified, Rejection):
            return verified
        wanted = self._apns.channels.judge(request, fields)
        if isinstance(wanted, Broadcast) and verified.key.topics and wanted.app not in verified.key.topics:
            return Rejection(403, "TopicMismatch", f"key {verified.key.key_id} is not for {wanted.app}")
        return wanted

    def _note(self, wanted: Broadcast, request_id: bytes, now: float, body: bytes, answered: int) -> None:
        self._apns.ledger.add(
            Entry(
                time=int(now * 1000),
                token=wanted.channel,
                kind="channel",
                id=request_id.decode(),
                app=wanted.app,
                answered=answered,
                expires=wanted.expires * 1000,
                timestamp=wanted.timestamp,
                overtaken=self._apns.channels.is_overtaken(wanted),
                body=body.decode() if self._apns.director.script.bodies else None,
            )
        )

    def _head(self, status: int, apns_id: bytes) -> tuple[tuple[bytes, bytes], ...]:
        if self._apns.environment == "sandbox":
            return STATUS[status], (b"apns-id", apns_id), (b"apns-unique-id", _new_id())
        return STATUS[status], (b"apns-id", apns_id)

    def _accept(self, terms: _Terms, token: str, apns_id: bytes, now: float, body: bytes, answered: int = 200) -> None:
        if self._apns.counts is not None and terms.push_type == "alert":
            self._apns.counts.add(now, terms.topic)
        self._apns.ledger.add(
            Entry(
                time=int(now * 1000),
                token=token,
                collapse=terms.collapse,
                id=apns_id.decode(),
                app=terms.topic,
                answered=answered,
                expires=terms.expires,
                asleep=self._apns.is_asleep(body, terms.push_type, terms.priority),
                body=body.decode() if self._apns.director.script.bodies else None,
            )
        )

    def _script(self, rule: Rule, terms: _Terms, token: str, apns_id: bytes, now: float, body: bytes) -> TwinAnswer:
        def accept(status: int) -> None:
            self._accept(terms, token, apns_id, now, body, status)

        def refuse(status: int, reason: str) -> TwinAnswer:
            since = None
            if status == 410:
                since = int(now * 1000 - 1000 * (rule.timestamp_ago_seconds or 0.0))
                if rule.timestamp is not None:
                    since = rule.timestamp
            rejection = Rejection(status, reason or str(rule.answer))
            return self._refuse(rejection, apns_id, since, rule.retry_after)

        return self._apns.player.play(rule, token, accept, refuse)

    def _refuse(
        self, rejection: Rejection, apns_id: bytes, timestamp: int | None = None, retry_after: int | None = None
    ) -> TwinAnswer:
        self._apns.ledger.refuse(rejection.reason, rejection.message)
        fields = [*self._head(rejection.status, apns_id), JSON]
        if retry_after is not None:
            fields.append((b"retry-after", str(retry_after).encode()))
        said: dict[str, object] = {"reason": rejection.reason}
        if timestamp is not None:
            said["timestamp"] = timestamp
        return TwinAnswer(tuple(fields), msgspec.json.encode(said), self._apns.latency())

    def _judge(
        self, request: ReceivedRequest, fields: dict[bytes, bytes], apns_id: bytes | None, now: float
    ) -> Rejection | _Terms:
        if len(fields) != len(request.fields):
            return Rejection(400, "DuplicateHeaders", "a header occurs twice")
        if fields[b":method"] != b"POST":
            return Rejection(405, "MethodNotAllowed", f"{fields[b':method'].decode(errors='replace')} is not POST")
        path = fields[b":path"]
        if not path.startswith(_PATH):
            return Rejection(404, "BadPath", "the path does not start with /3/device/")
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
        if terms.token != self._token:
            rejection = self._judge_change(terms, now)
            if rejection is not None:
                return rejection
        if apns_id is not None and not UUID.fullmatch(apns_id):
            return Rejection(400, "BadMessageId", "apns-id is not a lower-case UUID, 8-4-4-4-12")
        rejection = self._apns.check_payload(request.body, terms.push_type)
        if rejection is not None:
            return rejection
        token = path[len(_PATH) :].decode("ascii", "replace")
        if not token:
            return Rejection(400, "MissingDeviceToken", "nothing after /3/device/")
        if not TOKEN.fullmatch(token):
            return Rejection(400, "BadDeviceToken", "not lower-case hex, two digits a byte")
        return terms

    def _judge_change(self, terms: _Terms, now: float) -> Rejection | None:
        """Judge a change of provider token; the first token binds the connection to its team and scope."""
        if self._bound is not None and terms.key is not None and not self._bound.is_related(terms.key):
            why = f"key {terms.key.key_id} on a connection that key {self._bound.key_id} has bound"
            return Rejection(403, "UnrelatedKeyIdInToken", why)
        pause = self._apns.director.script.token_update_seconds
        if self._token is not None and now - self._token_since < pause:
            why = f"another token {now - self._token_since:.0f} s after the last; {pause:.0f} s must pass"
            return Rejection(429, "TooManyProviderTokenUpdates", why)
        self._token = terms.token
        self._token_since = now
        self._bound = self._bound or terms.key
        return None

    def _judge_terms(self, fields: tuple[bytes | None, ...], now: float) -> Rejection | _Terms:
        authorization, topic, push_type, priority, expiration, collapse = (
            None if value is None else value.decode("utf-8", "replace") for value in fields
        )
        certificate = self._certificate
        if isinstance(certificate, Rejection):
            return certificate
        token: str | None = None
        key: ProviderKey | None = None
        good_until = math.inf
        if certificate is None:
            verified = self._apns.verifier.verify(authorization, now)
            if isinstance(verified, Rejection):
                return verified
            token, key, good_until = verified.token, verified.key, verified.good_until
        elif topic is None:
            topic = certificate.app
        # Apple defaults an absent push type to alert (watchOS 6 and later demand it): send it always.
        kind = push_type if push_type is not None else "alert"
        if kind not in SUFFIXES:
            return Rejection(400, "InvalidPushType", f"apns-push-type {kind!r}")
        rejection = judge_topic(topic, kind, self._apns.apps) or judge_delivery(kind, priority, expiration, collapse)
        if rejection is None and key is not None and key.topics:
            rejection = judge_topic(topic, kind, key.topics)
        if rejection is not None:
            return rejection
        assert topic is not None
        if certificate is not None and topic not in certificate.topics:
            why = f"{topic!r} is not one of the certificate's topics: {', '.join(sorted(certificate.topics))}"
            return Rejection(400, "TopicDisallowed", why)
        expires = None if expiration is None else int(expiration) * 1000
        return _Terms(topic, kind, priority, collapse, expires, good_until, token, key)


def _new_id() -> bytes:
    return b"%b%012x" % (_BOOT, next(_numbers))


_APP: Final = "org.example.news"
"""The app whose client certificate is made if neither script nor caller names an app."""


def build_twin(parts: TwinParts) -> BuiltTwin:
    """Build the twin of Apple's push service, with the keys and certificates that its script names."""
    script = parts.director.script
    known = [ProviderKey(keys.read_p256_key(parts.made.apns_key), keys.KEY_ID, keys.TEAM_ID)]
    tables = []
    for rule in script.keys:
        path = keys.ensure_apns_key(parts.made, rule.key_id)
        topics = frozenset(rule.topics)
        known.append(ProviderKey(keys.read_p256_key(path), rule.key_id, rule.team_id, topics, rule.environment))
        tables.append(_key_table(path, rule.key_id, rule.team_id))
    rules: Sequence[CertificateRule] = ()
    if script.client_certificates != "none":
        rules = script.certificates or [CertificateRule(app=app) for app in parts.apps or (_APP,)]
    paths = [keys.ensure_certificate(parts.made, rule.app, rule.environment) for rule in rules]
    revoked = frozenset(rule.app for rule in rules if rule.revoked)
    verifier = TokenVerifier(known, script.environment)
    counts = exports = None
    if script.delivery is not None:
        counts = DeliveryCounts(script.delivery)
        exports = DeliveryExports(parts.made.directory, parts.origin, counts, lambda: datetime.now(UTC))
    return BuiltTwin(
        ApnsTwin(verifier, parts.director, parts.ledger, parts.apps, parts.latency, revoked, counts, exports),
        _key_table(parts.made.apns_key, keys.KEY_ID, keys.TEAM_ID),
        tables,
        {path.name: str(path) for path in paths},
    )


def _key_table(path: Path, key_id: str, team_id: str) -> dict[str, str]:
    return {"key": str(path), "key_id": key_id, "team_id": team_id}
