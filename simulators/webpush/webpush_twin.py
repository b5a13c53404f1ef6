"""The browsers' push services as a twin plays them, all at one address: ``:authority`` says which one is meant.

Sources: RFC 8030, 8291, 8292; Apple, "Sending web push notifications in web apps and browsers"; Mozilla, autopush-rs
"Error Codes"; Microsoft, "WNS HTTP response codes".
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import ClassVar, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from simulators import reasons
from simulators import twin_credentials as keys
from simulators.answers import JSON, STATUS, Rejection, TwinAnswer, scripted
from simulators.anything import Anything
from simulators.faults.director import Director
from simulators.faults.script import Rule
from simulators.http2.header_compression import Field
from simulators.http2.received_request import ReceivedRequest
from simulators.ledger import Entry, Ledger
from simulators.provider import BuiltTwin, Provider, TwinParts
from simulators.script_player import ScriptPlayer
from simulators.webpush.push_request_rules import LIMIT, Signed, judge_content, judge_fields, judge_vapid
from simulators.webpush.subscriptions import Unopened, check_form, digits_of, opened

_CACHED: Final = 2_048
_ERRNO: Final = {400: 110, 401: 109, 403: 109, 404: 102, 410: 103, 413: 104, 429: 999, 500: 999, 503: 201}
"""Mozilla's numbers."""
_numbers = itertools.count()


class WebPushTwin(Provider):
    """The push services' rules.

    Args:
        key: the public half of the site's VAPID key.
        director, ledger, apps, latency: see :class:`simulators.provider.Provider`; ``apps`` are sites' addresses.
    """

    usual_streams: ClassVar[int] = 100

    def __init__(
        self,
        key: ec.EllipticCurvePublicKey,
        director: Director,
        ledger: Ledger,
        apps: tuple[str, ...] = (),
        latency: Callable[[], float] = float,
    ) -> None:
        super().__init__(director, ledger, apps, latency)
        self._key = key
        self._signed: dict[tuple[str, str | None], Signed] = {}
        anything = Anything("apns", reasons.WEBPUSH, director.script.seed)
        self._player = ScriptPlayer(anything, reasons.WEBPUSH_USUAL, reasons.WEBPUSH, JSON, ledger, latency)

    def session(self, certificate: bytes | None = None) -> WebPushTwin:
        """Begin a connection: push services keep no state for it."""
        return self

    def answer(self, request: ReceivedRequest) -> TwinAnswer:
        """Judge one request, and add it to the ledger if accepted."""
        now = time.time()
        fields = dict(request.fields)
        authority = fields.get(b":authority", b"").decode("ascii", "replace")
        path = fields.get(b":path", b"").decode("ascii", "replace")
        verdict = self._judge(fields, authority, path, request.body, now)
        if isinstance(verdict, Rejection):
            return self._refuse(verdict, authority)
        target, plain, silent = verdict
        ttl = int(fields[b"ttl"])
        topic = fields.get(b"topic")
        entry = Entry(
            time=int(now * 1000),
            token=f"https://{authority}{path}",
            kind="sealed" if plain is None else "token",
            collapse=None if topic is None else topic.decode(),
            id=f"https://{authority}/m/{next(_numbers)}",
            app=self.apps[0] if self.apps else "",
            answered=201,
            expires=int((now + ttl) * 1000) if ttl else 0,
            asleep=silent and fields.get(b"urgency") in (b"low", b"very-low"),
            body=plain.decode() if plain is not None and self.director.script.bodies else None,
        )
        rule = self.director.rule_for(target, service=authority) if self.director.script.rules else None
        if rule is not None and rule.answer not in ("accept", "slow"):
            return self._script(rule, entry, authority)
        self.ledger.add(entry)
        answer = TwinAnswer((STATUS[201], (b"location", entry.id.encode())), delay=self.latency())
        return answer if rule is None else scripted(answer, rule, answer.delay)

    def _judge(
        self, fields: dict[bytes, bytes], authority: str, path: str, body: bytes, now: float
    ) -> Rejection | tuple[str, bytes | None, bool]:
        """Judge a push: the text that rules match, its content, and whether it is silent."""
        if fields.get(b":method") != b"POST":
            return Rejection(405, "MethodNotAllowed", "not POST")
        authorization = fields.get(b"authorization", b"").decode("ascii", "replace")
        signed = self._signed.get((authority, authorization))
        if signed is None or now >= signed.until:
            judged = judge_vapid(authorization, authority, self._key, now)
            if isinstance(judged, Rejection):
                return judged
            if len(self._signed) >= _CACHED:
                self._signed.clear()
            self._signed[authority, authorization] = judged
        if (wrong := judge_fields(fields, authority)) is not None:
            return wrong
        if len(body) > LIMIT:
            return Rejection(413, "PayloadTooLarge", f"{len(body)} octets; {LIMIT} are taken")
        digits = digits_of(path)
        try:
            if digits is None:  # a real browser's, in a drill: only that browser can open it
                check_form(body)
                return f"https://{authority}{path}", None, False
            plain = opened(digits, body)
        except Unopened as error:
            return Rejection(400, "BadPayload", str(error))
        notification = judge_content(plain)
        if isinstance(notification, Rejection):
            return notification
        return digits, plain, notification.get("silent") is True

    def _script(self, rule: Rule, entry: Entry, authority: str) -> TwinAnswer:
        def accept(status: int) -> None:
            self.ledger.add(msgspec.structs.replace(entry, answered=status))

        def refuse(status: int, reason: str) -> TwinAnswer:
            rejection = Rejection(status, reason or str(rule.answer), rule.message or "")
            return self._refuse(rejection, authority, rule.retry_after)

        return self._player.play(rule, entry.token, accept, refuse)

    def _refuse(self, rejection: Rejection, authority: str, retry_after: int | None = None) -> TwinAnswer:
        """Refuse in the words of the push service that is meant."""
        self.ledger.refuse(rejection.reason, rejection.message)
        status, fields, body = _said(rejection, authority)
        if retry_after is not None:
            fields += ((b"retry-after", str(retry_after).encode()),)
        return TwinAnswer((STATUS[status], *fields), body, self.latency())


def _said(rejection: Rejection, authority: str) -> tuple[int, tuple[Field, ...], bytes]:
    status = rejection.status
    if authority.endswith(".notify.windows.com"):
        throttled = status == 429
        word = b"appthrottled" if throttled else b"dropped"
        why = rejection.message.encode("ascii", "replace")[:200].strip()
        return 406 if throttled else status, ((b"x-wns-status", word), (b"x-wns-error-description", why)), b""
    if authority.endswith(".apple.com"):
        return status, (JSON,), msgspec.json.encode({"reason": rejection.reason})
    if authority.endswith(".mozilla.com"):
        status = 401 if status == 403 else status
        message = "VAPID public key mismatch" if rejection.reason == "VapidPkHashMismatch" else rejection.message
        said = {"code": status, "errno": _ERRNO.get(status, 999), "error": rejection.reason, "message": message}
        return status, (JSON,), msgspec.json.encode(said)
    sentence = rejection.message or rejection.reason
    if rejection.reason == "VapidPkHashMismatch":
        sentence = (
            "the VAPID credentials in the authorization header do not correspond to the credentials used to create the "
            "subscriptions."
        )
    return status, ((b"content-type", b"text/plain; charset=utf-8"),), f"{sentence}\n".encode()


def build_twin(parts: TwinParts) -> BuiltTwin:
    """Build the twin of the push services, with a VAPID key for its site."""
    path = keys.ensure_vapid_key(parts.made)
    provider = WebPushTwin(keys.read_p256_key(path), parts.director, parts.ledger, parts.apps, parts.latency)
    return BuiltTwin(provider, {"vapid_key": str(path), "subject": "mailto:push@twin.example.org"})
