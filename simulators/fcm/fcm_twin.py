"""Firebase Cloud Messaging (HTTP v1) as a twin plays it: which requests it takes, and how it answers the others.

Sources: Google, REST reference ``projects.messages.send``, ``ErrorCode``, and the AIP-193 form of errors.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, ClassVar, Final

from simulators import reasons
from simulators import twin_credentials as keys
from simulators.answers import Rejection, TwinAnswer
from simulators.delivery_counts import DeliveryCounts
from simulators.faults.director import Director
from simulators.faults.script import DeliveryRule, Rule
from simulators.fcm.delivery_lists import PATH, page
from simulators.fcm.keyless_endpoints import KeylessEndpoints
from simulators.fcm.message_rules import TARGETS, check_request, check_target, is_asleep
from simulators.fcm.token_endpoint import TokenEndpoint
from simulators.http2.received_request import ReceivedRequest
from simulators.issued_tokens import refused_by
from simulators.ledger import Ledger
from simulators.message_twin import MessageShape, MessageTwin
from simulators.provider import BuiltTwin, TwinParts

_PATH = re.compile(rb"/v1/projects/([a-z0-9][a-z0-9\-]{0,62})/messages:send")
_TYPE: Final = "type.googleapis.com/"
_FCM_ERROR: Final = _TYPE + "google.firebase.fcm.v1.FcmError"
_FRONT_END: Final = ("Invalid JSON payload", "Invalid value at")
_APNS_ERROR: Final = _TYPE + "google.firebase.fcm.v1.ApnsError"

_BOOT: Final = secrets.token_hex(4)
_numbers = itertools.count()


class FcmTwin(MessageTwin):
    """The FCM twin's rules; also the token endpoint, on the same port.

    Args:
        tokens: issues and checks access tokens.
        director, ledger, apps, latency: see :class:`simulators.provider.Provider`; ``apps`` are project ids.
    """

    protocols: tuple[str, ...] = ("h2", "http/1.1")
    plain: ClassVar[bool] = True
    usual_streams: ClassVar[int] = 100
    words = reasons.FCM
    usual = reasons.FCM_USUAL
    said = reasons.FCM_SAID

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
        self._counts = DeliveryCounts(director.script.delivery or DeliveryRule())
        self.tokens = tokens
        self._keyless = keyless

    def session(self, certificate: bytes | None = None) -> FcmTwin:
        """Begin a connection: FCM keeps no state for it."""
        return self

    def answer(self, request: ReceivedRequest) -> TwinAnswer:
        """Judge one request, and add it to the ledger if accepted."""
        fields = dict(request.fields)
        now = time.time()
        path = fields.get(b":path", b"")
        if path == b"/token":
            return self._grant(self.tokens.answer(fields, request.body, now))
        if self._keyless is not None:
            judged = self._keyless.answer(fields, request.body, now, fields.get(b":scheme") == b"http")
            if judged is not None:
                return self._grant(judged)
        if (found := PATH.fullmatch(path.decode(errors="replace"))) is not None and fields[b":method"] == b"GET":
            return self._delivery_data(fields, found, now)
        return super().answer(request)

    def accepted(self, shape: MessageShape, now: float) -> None:
        """Count a message under its label, for the delivery data."""
        if not shape.validate_only:
            self._counts.add(now, shape.label)

    def _delivery_data(self, fields: dict[bytes, bytes], found: re.Match[str], now: float) -> TwinAnswer:
        judged = self.judge_access(fields, found[1], now)
        made = judged if isinstance(judged, Rejection) else page(self._counts, found[2], found[3] or "")
        return self._refuse(made) if isinstance(made, Rejection) else self._say(200, made)

    def _grant(self, judged: tuple[TwinAnswer, str | None]) -> TwinAnswer:
        answer, refused = judged
        if refused is None:
            rule = self.director.token_rule()
            if rule is None:
                return answer
            answer, refused = refused_by(rule)
        self.ledger.refuse(refused)
        return answer

    def judge_head(self, fields: dict[bytes, bytes], now: float) -> Rejection | str:
        """Judge path and header fields; return what is wrong, or the project."""
        path = fields.get(b":path", b"")
        match = _PATH.fullmatch(path)
        if match is None or fields.get(b":method") != b"POST":
            return Rejection(404, "", f"The requested URL {path.decode(errors='replace')} was not found.")
        project = match[1].decode()
        if (refused := self.judge_access(fields, project, now)) is not None:
            return refused
        kind = fields.get(b"content-type", b"application/json")
        if not kind.startswith(b"application/json"):
            return Rejection(
                400, "INVALID_ARGUMENT", f"Unsupported content-type {kind.decode(errors='replace')}", "body"
            )
        return project

    def judge_access(self, fields: dict[bytes, bytes], project: str, now: float) -> Rejection | None:
        """Judge the access token, and whether its account may use the project."""
        authorization = fields.get(b"authorization")
        if authorization is None:
            return Rejection(401, "", "Request is missing required authentication credential.", "CREDENTIALS_MISSING")
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer" or not self.tokens.issued.is_good(token, now):
            said = "Request had invalid authentication credentials. Expected OAuth 2 access token."
            return Rejection(401, "", said, "ACCESS_TOKEN_EXPIRED")
        if self.apps and project not in self.apps:
            said = f"Permission 'cloudmessaging.messages.create' denied on resource '//projects/{project}'."
            return Rejection(403, "", said, "IAM_PERMISSION_DENIED")
        return None

    def target(self, request: Any) -> tuple[str, str]:
        """The kind of a body's target, and the target; both empty if there is none."""
        message = request.get("message") if isinstance(request, dict) else None
        if isinstance(message, dict):
            for kind in TARGETS:
                value = message.get(kind)
                if isinstance(value, str) and value:
                    return kind, value
        return "", ""

    def check_request(self, request: Any) -> Rejection | None:
        """Judge a decoded body in everything but the form of its target."""
        return check_request(request)

    def check_target(self, kind: str, value: str) -> Rejection | None:
        """Judge the form of a target."""
        return check_target(kind, value)

    def shape_of(self, request: dict[str, Any]) -> MessageShape:
        """The shape of a body that was found valid."""
        validate_only = request.get("validate_only", request.get("validateOnly"))
        message = request["message"]
        ttl = _android(message).get("ttl")
        seconds = None if ttl is None else float(ttl[:-1])
        labelled = message.get("fcm_options") or message.get("fcmOptions") or {}
        label = labelled.get("analytics_label") or labelled.get("analyticsLabel") or ""
        return MessageShape(_collapse_of(message), bool(validate_only), is_asleep(message), seconds, label)

    def name_of(self, project: str, shape: MessageShape, now: float) -> str:
        """The name of an accepted message."""
        return f"projects/{project}/messages/{'fake_message_id' if shape.validate_only else _message_id(now)}"

    def scripted_details(self, rule: Rule, status: int) -> list[dict[str, object]]:
        """What FCM passes on of Apple's answer."""
        if rule.apns_reason is None:
            return []
        return [{"@type": _APNS_ERROR, "statusCode": status, "reason": rule.apns_reason}]

    def details(self, rejection: Rejection) -> list[dict[str, object]]:
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
