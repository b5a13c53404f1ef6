"""Firebase Cloud Messaging (HTTP v1) as a twin plays it: which requests it takes, and how it answers the others.

Sources: Google, REST reference ``projects.messages.send``, ``ErrorCode``, and the AIP-193 form of errors.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from simulators import reasons
from simulators import twin_credentials as keys
from simulators.answers import STATUS, Rejection, TwinAnswer, is_silent, raw, refusal, scripted
from simulators.anything import Anything
from simulators.faults.director import Director
from simulators.faults.script import Rule
from simulators.fcm.keyless_endpoints import KeylessEndpoints
from simulators.fcm.message_rules import TARGETS, check_request, check_target, is_asleep
from simulators.fcm.token_endpoint import TokenEndpoint, refused_by
from simulators.http2.header_compression import Field
from simulators.http2.received_request import ReceivedRequest
from simulators.ledger import Entry, Ledger
from simulators.provider import BuiltTwin, Provider, TwinParts

_PATH = re.compile(rb"/v1/projects/([a-z0-9][a-z0-9\-]{0,62})/messages:send")
_JSON: Final = (b"content-type", b"application/json; charset=UTF-8")
_CACHED: Final = 2048
_TYPE: Final = "type.googleapis.com/"
_FCM_ERROR: Final = _TYPE + "google.firebase.fcm.v1.FcmError"
_FRONT_END: Final = ("Invalid JSON payload", "Invalid value at")
_APNS_ERROR: Final = _TYPE + "google.firebase.fcm.v1.ApnsError"

_BOOT: Final = secrets.token_hex(4)
_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class _Shape:
    """The verdict on bodies that differ only in their target."""

    collapse: str | None
    validate_only: bool
    asleep: bool
    ttl: float | None
    """Seconds for which it is kept."""


class FcmTwin(Provider):
    """The FCM twin's rules; also the token endpoint, on the same port.

    Args:
        tokens: issues and checks access tokens.
        director, ledger, apps, latency: see :class:`simulators.provider.Provider`; ``apps`` are project ids.
    """

    protocols: ClassVar[tuple[str, ...]] = ("h2", "http/1.1")
    plain: ClassVar[bool] = True
    usual_streams: ClassVar[int] = 100

    def __init__(
        self,
        tokens: TokenEndpoint,
        director: Director,
        ledger: Ledger,
        apps: tuple[str, ...] = (),
        latency: Callable[[], float] = float,
        keyless: KeylessEndpoints | None = None,
    ) -> None:
        super().__init__(director, ledger, apps, latency)
        self.tokens = tokens
        self._keyless = keyless
        self._decode = msgspec.json.Decoder().decode
        self._shapes: dict[bytes, _Shape | Rejection] = {}
        self._anything = Anything("fcm", reasons.FCM, director.script.seed)

    def session(self, certificate: bytes | None = None) -> FcmTwin:
        """Begin a connection: FCM keeps no state for it."""
        return self

    def answer(self, request: ReceivedRequest) -> TwinAnswer:
        """Judge one request, and add it to the ledger if accepted."""
        now = time.time()
        fields = dict(request.fields)
        path = fields.get(b":path", b"")
        if path == b"/token":
            return self._grant(self.tokens.answer(fields, request.body, now))
        if self._keyless is not None:
            judged_token = self._keyless.answer(fields, request.body, now, fields.get(b":scheme") == b"http")
            if judged_token is not None:
                return self._grant(judged_token)
        rejection, project = self._judge_head(fields, path, now)
        if rejection is not None:
            return self._refuse(rejection)
        judged = self._judge_body(request.body)
        if isinstance(judged, Rejection):
            return self._refuse(judged)
        shape, kind, target = judged
        name = f"projects/{project}/messages/{_message_id(now)}"
        if shape.validate_only:
            name = f"projects/{project}/messages/fake_message_id"
        rule = self.director.rule_for(target) if self.director.script.rules else None
        entry = Entry(
            time=int(now * 1000),
            token=target,
            kind=kind,
            collapse=shape.collapse,
            id=name,
            app=project,
            expires=None if shape.ttl is None else int((now + shape.ttl) * 1000) if shape.ttl else 0,
            asleep=shape.asleep,
            body=request.body.decode() if self.director.script.bodies else None,
            validated=shape.validate_only,
        )
        if rule is not None and rule.answer not in ("accept", "slow"):
            return self._script(rule, entry)
        self.ledger.add(entry)
        answer = self._say(200, {"name": name})
        return answer if rule is None else scripted(answer, rule, answer.delay)

    def _grant(self, judged: tuple[TwinAnswer, str | None]) -> TwinAnswer:
        answer, refused = judged
        if refused is None:
            rule = self.director.token_rule()
            if rule is None:
                return answer
            answer, refused = refused_by(rule)
        self.ledger.refuse(refused)
        return answer

    def _judge_head(self, fields: dict[bytes, bytes], path: bytes, now: float) -> tuple[Rejection | None, str]:
        match = _PATH.fullmatch(path)
        if match is None or fields.get(b":method") != b"POST":
            return Rejection(404, "", f"The requested URL {path.decode(errors='replace')} was not found."), ""
        authorization = fields.get(b"authorization")
        if authorization is None:
            return Rejection(
                401, "", "Request is missing required authentication credential.", "CREDENTIALS_MISSING"
            ), ""
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not self.tokens.is_good(token, now):
            said = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            return Rejection(401, "", said, "ACCESS_TOKEN_EXPIRED"), ""
        project = match[1].decode()
        if self.apps and project not in self.apps:
            said = f"Permission 'cloudmessaging.messages.create' denied on resource '//projects/{project}'."
            return Rejection(403, "", said, "IAM_PERMISSION_DENIED"), ""
        kind = fields.get(b"content-type", b"application/json")
        if not kind.startswith(b"application/json"):
            return Rejection(
                400, "INVALID_ARGUMENT", f"Unsupported content-type {kind.decode(errors='replace')}", "body"
            ), ""
        return None, project

    def _judge_body(self, body: bytes) -> Rejection | tuple[_Shape, str, str]:
        try:
            request = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Rejection(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error}", "body")
        kind, target = _target(request)
        shape = self._shape(body, request, kind, target)
        if isinstance(shape, Rejection):
            return shape
        return check_target(kind, target) or (shape, kind, target)

    def _shape(self, body: bytes, request: Any, kind: str, target: str) -> _Shape | Rejection:
        """Judge everything but the target. Cached: a campaign's bodies differ only in the target."""
        quoted = b'"%s"' % target.encode()
        key = b""
        if target and body.count(quoted) == 1:
            # A NUL is not legal in JSON, so no other body has this key.
            key = body.replace(quoted, b"\0" + kind.encode())
            known = self._shapes.get(key)
            if known is not None:
                return known
        wrong = check_request(request)
        shape = _shape_of(request) if wrong is None else wrong
        if key:
            if len(self._shapes) >= _CACHED:
                self._shapes.clear()
            self._shapes[key] = shape
        return shape

    def _script(self, rule: Rule, entry: Entry) -> TwinAnswer:
        if rule.answer == "anything":
            status, answer = self._anything.draw(entry.token, rule.status)
            if rule.delivered or 200 <= status < 300:
                self.ledger.add(msgspec.structs.replace(entry, answered=status))
            else:
                self.ledger.refuse(f"anything {status}")
            return scripted(answer, rule, self.latency())
        status, reason = refusal(rule, reasons.FCM_USUAL, reasons.FCM)
        if rule.answer == "raw":
            status = rule.status or 200
        if rule.delivered:
            self.ledger.add(msgspec.structs.replace(entry, answered=0 if is_silent(rule) else status))
        latency = self.latency()
        if rule.answer == "raw":
            self.ledger.refuse(f"raw {status}")
            return scripted(raw(rule, _JSON), rule, latency)
        said = rule.message or reasons.FCM_SAID.get(reason, reason)
        details = []
        if rule.apns_reason is not None:
            details.append({"@type": _APNS_ERROR, "statusCode": status, "reason": rule.apns_reason})
        rejection = Rejection(status, reason, said, rule.field or "")
        return scripted(self._refuse(rejection, rule.retry_after, details), rule, latency)

    def _refuse(
        self, rejection: Rejection, retry_after: int | None = None, more: Iterable[dict[str, object]] = ()
    ) -> TwinAnswer:
        name = reasons.RPC_NAMES.get(rejection.status, "UNKNOWN")
        self.ledger.refuse(rejection.reason or rejection.field or name, rejection.message)
        error: dict[str, object] = {"code": rejection.status, "message": rejection.message, "status": name}
        details = [*_details(rejection), *more]
        if details:
            error["details"] = details
        extra: tuple[Field, ...] = ()
        if retry_after is not None:
            extra = ((b"retry-after", str(retry_after).encode()),)
        return self._say(rejection.status, {"error": error}, extra)

    def _say(self, status: int, said: dict[str, Any], extra: tuple[Field, ...] = ()) -> TwinAnswer:
        return TwinAnswer((STATUS[status], _JSON, *extra), msgspec.json.encode(said), self.latency())


def _details(rejection: Rejection) -> list[dict[str, object]]:
    """The ``details`` as Google orders them: an FcmError if FCM itself answers, then the explanation."""
    details: list[dict[str, object]] = []
    if not rejection.reason:
        if rejection.status in (401, 403) and rejection.field:
            info: dict[str, object] = {"reason": rejection.field, "domain": "googleapis.com"}
            details.append({"@type": _TYPE + "google.rpc.ErrorInfo", **info})
        return details
    # A body that does not fit the API's types never reaches FCM: Google's front end answers, without an FcmError.
    if not (rejection.reason == "INVALID_ARGUMENT" and rejection.message.startswith(_FRONT_END)):
        details.append({"@type": _FCM_ERROR, "errorCode": rejection.reason})
    if rejection.field:
        violation = {"field": rejection.field, "description": rejection.message}
        details.append({"@type": _TYPE + "google.rpc.BadRequest", "fieldViolations": [violation]})
    if rejection.reason == "QUOTA_EXCEEDED":
        failure = {"subject": "project", "description": rejection.message}
        details.append({"@type": _TYPE + "google.rpc.QuotaFailure", "violations": [failure]})
    return details


def _target(request: Any) -> tuple[str, str]:
    message = request.get("message") if isinstance(request, dict) else None
    if isinstance(message, dict):
        for kind in TARGETS:
            value = message.get(kind)
            if isinstance(value, str) and value:
                return kind, value
    return "", ""


def _shape_of(request: dict[str, Any]) -> _Shape:
    validate_only = request.get("validate_only", request.get("validateOnly"))
    message = request["message"]
    ttl = _android(message).get("ttl")
    seconds = None if ttl is None else float(ttl[:-1])
    return _Shape(_collapse_of(message), bool(validate_only), is_asleep(message), seconds)


def _android(message: dict[str, Any]) -> dict[str, Any]:
    """The options for Android in either form."""
    found: dict[str, Any] = message.get("android") or message.get("android_v2") or message.get("androidV2") or {}
    return found


def _collapse_of(message: dict[str, Any]) -> str | None:
    """The id under which a repeat replaces this message: the tag, or its counterpart for iPhones or browsers.

    A message with only data has no tag; a message without any of these ids may still have a collapse key.
    """
    android = _android(message)
    remote = android.get("remote_notification") or android.get("remoteNotification") or {}
    named = [
        (android.get("notification") or remote.get("notification") or {}).get("tag"),
        _header(message, "apns", "apns-collapse-id"),
        _header(message, "webpush", "topic"),
        android.get("collapse_key", android.get("collapseKey")),
    ]
    return next((name for name in named if name), None)


def _header(message: dict[str, Any], platform: str, wanted: str) -> str | None:
    headers: dict[str, str] = (message.get(platform) or {}).get("headers") or {}
    return next((value for name, value in headers.items() if name.lower() == wanted), None)


def _message_id(now: float) -> str:
    return f"0:{int(now * 1_000_000)}%{_BOOT}{next(_numbers):08x}"


def build_twin(parts: TwinParts) -> BuiltTwin:
    """Build the twin of Firebase Cloud Messaging, with its token endpoint on the same port."""
    project = parts.apps[0] if parts.apps else keys.PROJECT
    account = keys.publish_service_account(parts.made, project, f"{parts.origin}/token")
    endpoint = TokenEndpoint(account, parts.director.script.access_token_seconds)
    keyless = KeylessEndpoints(endpoint, parts.made.directory, parts.origin)
    provider = FcmTwin(endpoint, parts.director, parts.ledger, parts.apps, parts.latency, keyless)
    return BuiltTwin(provider, {"service_account": str(parts.made.service_account)})
