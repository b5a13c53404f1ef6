"""RuStore's push API as a twin plays it. Source: RuStore, "Sending push notifications (API)"; nobody asked a server."""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Callable
from typing import Any, ClassVar, Final

from simulators import reasons
from simulators.answers import Rejection
from simulators.faults.director import Director
from simulators.ledger import Ledger
from simulators.message_twin import MessageShape, MessageTwin
from simulators.provider import BuiltTwin, TwinParts
from simulators.rustore import rustore_rules
from simulators.twin_credentials import ensure_secret

_PATH = re.compile(rb"/v1/projects/([A-Za-z0-9_-]{1,128})/messages:send")
_TOKEN: Final = re.compile(r"[!-~]{1,4096}")


class RustoreTwin(MessageTwin):
    """RuStore's rules; ``apps`` are project ids. ``service_token``: the only one that it takes."""

    protocols: tuple[str, ...] = ("h2", "http/1.1")
    usual_streams: ClassVar[int] = 100
    words = reasons.RUSTORE
    usual = reasons.RUSTORE_USUAL
    said = reasons.RUSTORE_SAID

    def __init__(
        self,
        service_token: str,
        director: Director,
        ledger: Ledger,
        apps: tuple[str, ...] = (),
        latency: Callable[[], float] = float,
    ) -> None:
        super().__init__(director, ledger, apps, latency)
        self._expected = b"Bearer " + service_token.encode()
        if director.script.http == "1.1":
            self.protocols = ("http/1.1",)

    def session(self, certificate: bytes | None = None) -> RustoreTwin:
        """Begin a connection: RuStore keeps no state for it."""
        return self

    def judge_head(self, fields: dict[bytes, bytes], now: float) -> Rejection | str:
        """Judge path and header fields; return what is wrong, or the project."""
        match = _PATH.fullmatch(fields.get(b":path", b""))
        if match is None or fields.get(b":method") != b"POST":
            return Rejection(404, "", "no such method")
        project = match[1].decode()
        if not hmac.compare_digest(fields.get(b"authorization", b""), self._expected):
            return Rejection(403, "PERMISSION_DENIED", self.said["PERMISSION_DENIED"])
        if self.apps and project not in self.apps:
            return Rejection(403, "PERMISSION_DENIED", "the service token is not this project's")
        if not fields.get(b"content-type", b"").startswith(b"application/json"):
            return Rejection(400, "INVALID_ARGUMENT", "the body must be application/json")
        return project

    def target(self, request: Any) -> tuple[str, str]:
        """The token."""
        message = request.get("message") if isinstance(request, dict) else None
        token = message.get("token") if isinstance(message, dict) else None
        return ("token", token) if isinstance(token, str) and token else ("", "")

    def check_request(self, request: Any) -> Rejection | None:
        """Judge a decoded body."""
        return rustore_rules.check_request(request)

    def check_target(self, kind: str, value: str) -> Rejection | None:
        """Judge a token's form."""
        return None if _TOKEN.fullmatch(value) else Rejection(400, "INVALID_ARGUMENT", self.said["INVALID_ARGUMENT"])

    def shape_of(self, request: dict[str, Any]) -> MessageShape:
        """Nothing replaces anything, and a phone is left asleep by the notification channel alone."""
        android = request["message"].get("android") or {}
        ttl = android.get("ttl")
        asleep = bool((android.get("notification") or {}).get("channel_id"))
        return MessageShape(None, False, asleep, None if ttl is None else float(ttl[:-1]))

    def name_of(self, project: str, shape: MessageShape, now: float) -> str:
        """An id for the ledger: RuStore's answer has none."""
        return secrets.token_hex(8)

    def granted(self, name: str) -> dict[str, Any]:
        """The body of a success: an empty object."""
        return {}


def build_twin(parts: TwinParts) -> BuiltTwin:
    """Build the twin of RuStore."""
    file = ensure_secret(parts.made, "rustore-service-token")
    provider = RustoreTwin(file.read_text(), parts.director, parts.ledger, parts.apps, parts.latency)
    return BuiltTwin(provider, {"service_token": str(file)})
