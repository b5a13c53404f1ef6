"""Huawei's Push Kit as a twin plays it: three forms of its API, and the endpoint that gives access tokens.

Sources: developer.huawei.com, "https-send-api", "open-platform-oauth" (HMSCore), "push-scenariozed-api" and
"push-jwt-token" (HarmonyOS). No live server was asked.
"""

from __future__ import annotations

import re
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qs

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from simulators import reasons, twin_credentials
from simulators.answers import JSON_UTF_8, STATUS, Rejection, TwinAnswer, is_silent, raw, scripted
from simulators.anything import Anything
from simulators.faults.director import Director
from simulators.faults.script import Rule
from simulators.http2.header_compression import Field
from simulators.http2.received_request import ReceivedRequest
from simulators.huawei.huawei_rules import HuaweiRequest, judge
from simulators.issued_tokens import IssuedTokens, refused_by
from simulators.ledger import Entry, Ledger
from simulators.provider import BuiltTwin, Provider, TwinParts

_PATH = re.compile(rb"/(v[123])/([0-9A-Za-z_-]{1,64})/messages:send")
_TOKEN = re.compile(r"[A-Za-z0-9_.=+/-]{1,1024}")
_AUDIENCE: Final = "https://oauth-login.cloud.huawei.com/oauth2/v3/token"
_DAY: Final = 86_400
_SKEW: Final = 300
CLIENT_ID: Final = "100000001"
_ACCOUNT: Final = "twin-account"
_KEY_ID: Final = "twin-key"


class HuaweiTwin(Provider):
    """Huawei's rules; ``apps`` are project and app ids.

    Args:
        secret: of the client :data:`CLIENT_ID`.
        key: of the service account.
        director, ledger, apps, latency: see :class:`simulators.provider.Provider`.
    """

    protocols = ("http/1.1",)
    usual_streams: ClassVar[int] = 100

    def __init__(
        self,
        secret: str,
        key: rsa.RSAPublicKey,
        director: Director,
        ledger: Ledger,
        apps: tuple[str, ...] = (),
        latency: Callable[[], float] = float,
    ) -> None:
        super().__init__(director, ledger, apps, latency)
        self._secret = secret
        self._key = key
        self._issued = IssuedTokens("twin-", director.script.access_token_seconds)
        self._anything = Anything("huawei", reasons.HUAWEI, director.script.seed)

    def session(self, certificate: bytes | None = None) -> HuaweiTwin:
        """Begin a connection: Huawei keeps no state for it."""
        return self

    def answer(self, request: ReceivedRequest) -> TwinAnswer:
        """Judge one request, and add the accepted pushes to the ledger."""
        now = time.time()
        fields = dict(request.fields)
        if fields.get(b":path") == b"/oauth2/v3/token":
            return self._grant(fields, request.body, now)
        head = self._judge_head(fields, now)
        if isinstance(head, Rejection):
            return self._refuse(head)
        api, app = head
        try:
            document = msgspec.json.decode(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return self._refuse(Rejection(400, "80100001", "Check Parameter Error."))
        asked = judge(document, harmony=api == "v3")
        if isinstance(asked, Rejection):
            return self._refuse(asked)
        return self._push(asked, api, app, request.body, now)

    def _push(self, asked: HuaweiRequest, api: str, app: str, body: bytes, now: float) -> TwinAnswer:
        refused: defaultdict[str, list[str]] = defaultdict(list)
        entries: list[Entry] = []
        whole: Rule | None = None
        request_id = secrets.token_hex(8)
        for token in asked.tokens:
            rule = self.director.rule_for(token) if self.director.script.rules else None
            cause = _cause(rule, api)
            if not _TOKEN.fullmatch(token):
                cause = "tokenFormatError"
            if cause is not None:
                refused[cause].append(token)
                continue
            if rule is not None and rule.answer != "accept" and whole is None:
                whole = rule
            entries.append(
                Entry(
                    time=int(now * 1000),
                    token=token,
                    collapse=asked.collapse,
                    id=request_id,
                    app=app,
                    expires=None if asked.ttl is None else int((now + asked.ttl) * 1000) if asked.ttl else 0,
                    asleep=asked.asleep,
                    body=body.decode() if self.director.script.bodies else None,
                    validated=asked.validate_only,
                )
            )
        if whole is not None and whole.answer != "slow":
            return self._script(whole, entries)
        for entry in entries:
            self.ledger.add(entry)
        for cause, tokens in refused.items():
            for _ in tokens:
                self.ledger.refuse(cause)
        answer = self._judged(refused, len(entries), api, request_id)
        return answer if whole is None else scripted(answer, whole, answer.delay)

    def _judged(self, refused: dict[str, list[str]], good: int, api: str, request_id: str) -> TwinAnswer:
        bad = sum(map(len, refused.values()))
        if not bad:
            return self._say(200, "80000000", "Success", request_id)
        code = "80100000" if good else "80300007"
        if api == "v3":
            said: dict[str, Any] = {"success": good, "failure": bad, "illegalTokens": refused}
        elif good:
            listed = [token for tokens in refused.values() for token in tokens]
            said = {"success": good, "failure": bad, "illegal_tokens": listed}
        else:
            return self._say(200, code, reasons.HUAWEI_SAID[code], request_id)
        return self._say(200, code, msgspec.json.encode(said).decode(), request_id)

    def _script(self, rule: Rule, entries: Sequence[Entry]) -> TwinAnswer:
        """What a rule says about the whole request."""
        status = rule.status or 200
        if rule.answer == "anything":
            status, answer = self._anything.draw(entries[0].token, rule.status)
        elif rule.answer == "raw":
            answer = raw(rule, JSON_UTF_8)
        else:
            code = rule.reason or reasons.HUAWEI_USUAL.get(str(rule.answer), "")
            status = rule.status or reasons.HUAWEI.get(code, 500)
            extra: tuple[Field, ...] = ()
            if rule.retry_after is not None:
                extra = ((b"retry-after", str(rule.retry_after).encode()),)
            said = rule.message or reasons.HUAWEI_SAID.get(code, code)
            answer = self._say(status, code, said, secrets.token_hex(8), extra)
            self.ledger.refuse(code or f"HTTP {status}")
        if rule.delivered:
            for entry in entries:
                self.ledger.add(msgspec.structs.replace(entry, answered=0 if is_silent(rule) else status))
        return scripted(answer, rule, self.latency())

    def _judge_head(self, fields: dict[bytes, bytes], now: float) -> Rejection | tuple[str, str]:
        match = _PATH.fullmatch(fields.get(b":path", b""))
        if match is None or fields.get(b":method") != b"POST":
            return Rejection(404, "", "no such service")
        api, app = match[1].decode(), match[2].decode()
        scheme, _, token = fields.get(b"authorization", b"").partition(b" ")
        if scheme != b"Bearer":
            return Rejection(401, "80200001", "Authentication Error.")
        if api == "v3":
            wrong = self._judge_jwt(token.decode(errors="replace"), now)
            if wrong is not None:
                return Rejection(401, wrong, reasons.HUAWEI_SAID[wrong])
            if fields.get(b"push-type") != b"0":
                return Rejection(400, "80100001", "push-type: the twin plays notifications (0)")
        elif not self._issued.is_good(token, now):
            return Rejection(401, "80200003", reasons.HUAWEI_SAID["80200003"])
        if self.apps and app not in self.apps:
            return Rejection(403, "80300002", reasons.HUAWEI_SAID["80300002"])
        if not fields.get(b"content-type", b"").startswith(b"application/json"):
            return Rejection(400, "80100001", "Check Parameter Error.")
        return api, app

    def _judge_jwt(self, text: str, now: float) -> str | None:
        """Return the code for a service account's JWT that is not good."""
        try:
            if jwt.get_unverified_header(text).get("kid") != _KEY_ID:
                return "80200001"
            options: Any = {"verify_exp": False, "verify_iat": False}
            claims = jwt.decode(text, self._key, algorithms=["PS256"], audience=_AUDIENCE, options=options)
        except jwt.InvalidTokenError:
            return "80200001"
        issued, expires = claims.get("iat"), claims.get("exp")
        if claims.get("iss") != _ACCOUNT or type(issued) is not int or type(expires) is not int:
            return "80200001"
        if expires - issued > _DAY:
            return "80300036"
        return "80200005" if expires < now or issued > now + _SKEW else None

    def _grant(self, fields: dict[bytes, bytes], body: bytes, now: float) -> TwinAnswer:
        """Answer a request for an access token (RFC 6749 §4.4)."""
        form = parse_qs(body.decode("ascii", "replace"))
        wanted = {"grant_type": ["client_credentials"], "client_id": [CLIENT_ID], "client_secret": [self._secret]}
        if fields.get(b":method") != b"POST" or form != wanted:
            said = {"error": 1101, "sub_error": 20001, "error_description": "invalid client"}
            self.ledger.refuse("token: 1101")
            return TwinAnswer((STATUS[400], JSON_UTF_8), msgspec.json.encode(said))
        rule = self.director.token_rule()
        if rule is None:
            return self._issued.grant(now)
        answer, refused = refused_by(rule)
        self.ledger.refuse(refused)
        return answer

    def _refuse(self, rejection: Rejection) -> TwinAnswer:
        self.ledger.refuse(rejection.reason or f"HTTP {rejection.status}", rejection.message)
        return self._say(rejection.status, rejection.reason, rejection.message, secrets.token_hex(8))

    def _say(self, status: int, code: str, said: str, request_id: str, extra: tuple[Field, ...] = ()) -> TwinAnswer:
        body = msgspec.json.encode({"code": code, "msg": said, "requestId": request_id}) if code else b""
        return TwinAnswer((STATUS[status], JSON_UTF_8, *extra), body, self.latency())


def _cause(rule: Rule | None, api: str) -> str | None:
    """The cause for which a rule refuses this one token; None: it does not, or it speaks of the whole request."""
    if rule is None:
        return None
    if rule.answer == "dead":
        return rule.reason or "tokenFormatError"
    if rule.answer == "refuse" and rule.reason in reasons.HUAWEI_CAUSES:
        return rule.reason
    return None


def build_twin(parts: TwinParts) -> BuiltTwin:
    """Build the twin of Huawei's Push Kit, with its token endpoint on the same port."""
    app = parts.apps[0] if parts.apps else "twin-project"
    entries = {"key_id": _KEY_ID, "sub_account": _ACCOUNT, "project_id": app, "token_uri": _AUDIENCE}
    account, key = twin_credentials.ensure_account(parts.made, "huawei-service-account.json", entries)
    secret = twin_credentials.ensure_secret(parts.made, "huawei-client-secret")
    provider = HuaweiTwin(secret.read_text(), key, parts.director, parts.ledger, parts.apps, parts.latency)
    by_client = {
        "client_id": CLIENT_ID,
        "client_secret": str(secret),
        "token_uri": f"{parts.origin}/oauth2/v3/token",
    }
    return BuiltTwin(provider, {"service_account": str(account)}, keys=(by_client,))
