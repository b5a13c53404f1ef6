"""Fault scripts: which pushes a twin does not answer with 200, and which connections it disturbs.

A script is a TOML or JSON file (docs/twins.md). Reading is strict: an unknown key is an error, because a test whose
misspelt fault never happens proves nothing.
"""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from simulators import reasons
from simulators.errors import ScriptError
from simulators.faults.forgery import Forgery
from simulators.faults.latency import Latency, mistake_of
from simulators.http2.framing import CODES

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Status = Annotated[int, msgspec.Meta(ge=100, le=999)]
Window = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Environment = Literal["production", "sandbox"]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=False):
    """How requests for some tokens are answered. Rules are tried in order; the first match answers."""

    answer: Literal[
        "accept", "dead", "429", "500", "503", "slow", "refuse", "mute", "reset", "raw", "anything", 429, 500, 503
    ]
    prefix: str | None = None
    """Only tokens that start with this text."""
    kind: Literal["token", "fid", "channel"] | None = None
    """FCM: only targets of this kind. APNs: only pushes (``token``), or only requests about broadcast channels
    (``channel``)."""
    while_file: str | None = None
    """Only while this file is there, so that a test says when."""
    share: Share | None = None
    """Only this share of the tokens (0–1), drawn by a hash of token and seed: the same tokens every time."""
    service: str | None = None
    """Web Push: only pushes for this push service: its host, or the domain of its hosts."""
    times: Count | None = None
    """Only the first N requests for a token; later ones go on to the next rule."""
    from_seconds: NotNegative = 0.0
    """Only from this time after the twin's start …"""
    until_seconds: NotNegative | None = None
    """… until this one."""
    reason: str | None = None
    """A reason other than the usual one: APNs ``reason``, FCM ``errorCode``, RuStore ``status``, Huawei's
    code (for all tokens of a request) or the cause in ``illegalTokens``."""
    status: Status | None = None
    """A status other than the usual one; required for ``refuse`` if the reason is not the provider's own.

    ``anything``: always this status.
    """
    message: str | None = None
    """FCM, RuStore, Huawei: another sentence in the error."""
    field: str | None = None
    """FCM: a ``BadRequest`` detail that names this field."""
    apns_reason: str | None = None
    """FCM: an ``ApnsError`` detail with this reason of Apple's."""
    content_type: str | None = None
    """``raw``: the content-type (default: the provider's own; "" sends none)."""
    body: str = ""
    """``raw``: the body, as it is."""
    body_bytes: Natural | None = None
    """``raw``: repeat or cut the body to this length."""
    retry_after: Natural | None = None
    """Seconds, sent as ``retry-after``."""
    delay_ms: NotNegative = 0.0
    """The answer comes this much later; required for ``slow``."""
    timestamp: Natural | None = None
    """APNs 410: since when the token is dead, ms UTC (default: the moment of the answer)."""
    timestamp_ago_seconds: NotNegative | None = None
    """The same, as seconds before the moment of the answer."""
    code: str = "REFUSED_STREAM"
    """``reset``: the error code's name in RFC 9113."""
    delivered: bool = False
    """The push goes into the ledger although the answer refuses it or never comes."""


class ConnectionFaultRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to a connection after a number of requests."""

    after: Natural
    """Requests taken on the connection before it happens (0: at once)."""
    do: Literal["goaway", "settings", "close", "mute", "stall", "illegal", "cut"]
    times: Count | None = None
    """Only on the first N connections (default: on every one)."""
    reason: str | None = None
    """``goaway``: Apple's debug data ``{"reason": …}``."""
    code: str = "NO_ERROR"
    """``goaway``: the error code's name in RFC 9113."""
    unanswered: Natural = 0
    """``goaway``, ``close``, ``cut``: the last N requests are taken, and never answered."""
    max_concurrent_streams: Natural | None = None
    """``settings``: the new limit."""
    initial_window_size: Window | None = None
    """``settings``: the new window of a stream, bytes; 0: no body can be sent any more."""
    frame: Forgery | None = None
    """``illegal``: which frame."""
    count: Count = 1000
    """``illegal``: frames of a flood."""


class KeyRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """APNs: one more provider key; ``AuthKey_<key_id>.p8`` is made in the twin's directory if it is missing."""

    key_id: Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{10}$")]
    team_id: Annotated[str, msgspec.Meta(pattern="^[A-Z0-9]{10}$")]
    topics: tuple[str, ...] = ()
    """Bundle ids that the key is scoped to; none: all of its team's."""
    environment: Environment | None = None
    """The only environment it is good for; none: both."""


class CertificateRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """APNs: a client certificate, ``certificate_<app>.pem`` (with its key), made in the twin's directory if missing."""

    app: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*$")]
    """The bundle id; ``.voip`` and ``.complication`` are its topics too."""
    environment: Environment | None = None
    """The only environment it is good for; none: both."""
    revoked: bool = False
    """It is refused with ``BadCertificate``."""


class TokenEndpointRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """FCM, Huawei: how the token endpoint answers a valid request instead of granting a token."""

    status: Status = 400
    error: str = "invalid_grant"
    times: Count | None = None
    """Only the first N requests; later ones go on to the next rule."""
    body: str | None = None
    """This body, as it is, instead of the JSON with ``error``."""
    delay_ms: NotNegative = 0.0
    mute: bool = False
    """No answer at all."""


class DeliveryRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """APNs, FCM: the provider's own figures of what it delivered."""

    delivered: Share = 0.9
    waiting: Share = 0.05
    discarded: Share = 0.04
    """Shares of the accepted pushes."""
    days_ago: Natural = 0
    """The figures are those of so many days ago."""
    processing: Natural = 1
    """APNs: looks at an export before it is made."""
    status: Status | None = None
    """This answer instead of the figures."""
    times: Count | None = None
    """Only to the first N requests."""


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole script file."""

    seed: int = 0
    """Another seed chooses other tokens for each ``share``."""
    latency_ms: NotNegative | None = None
    """Every answer takes this long (overrides ``--latency``)."""
    latency: Latency | None = None
    """Or answers take times drawn from a distribution."""
    bodies: bool = False
    """The ledger also has each accepted request's body."""
    environment: Environment = "production"
    """APNs: which of Apple's two environments this is."""
    keys: tuple[KeyRule, ...] = ()
    client_certificates: Literal["none", "accept", "demand"] = "none"
    """APNs: whether TLS asks for a client certificate, and whether a client must have one."""
    certificates: tuple[CertificateRule, ...] = ()
    broadcast_channels: Count = 10_000
    """APNs: the most broadcast channels of an app."""
    first_streams: Count | None = None
    """APNs: streams allowed until a request with a valid token succeeds (default 1)."""
    http: Literal["either", "1.1"] = "either"
    """RuStore: which HTTP it offers."""
    streams: Count | None = None
    """Streams allowed (default: APNs 1000, FCM 100)."""
    stream_window: Window = 65_535
    """Bytes of each stream's flow-control window, announced in the first SETTINGS."""
    connection_window: Annotated[int, msgspec.Meta(ge=65_535, le=2**31 - 1)] | None = None
    """Bytes of the connection's flow-control window; Apple's is 65,535, the twin's default 16 MiB."""
    token_update_seconds: NotNegative = 1200.0
    """APNs: a new provider token sooner than this after the last one is refused with 429."""
    access_token_seconds: Count = 3599
    """FCM, Huawei: lifetime of an access token."""
    token_endpoint: tuple[TokenEndpointRule, ...] = ()
    delivery: DeliveryRule | None = None
    """APNs: it answers requests for exports too, which have another host at Apple, by HTTP/1.1."""
    rules: tuple[Rule, ...] = ()
    connections: tuple[ConnectionFaultRule, ...] = ()


def load_script(path: Path) -> Script:
    """Read a ``.toml`` or ``.json`` script (raises ``ScriptError``: file, key, remedy)."""
    try:
        text = path.read_bytes().removeprefix(codecs.BOM_UTF8)  # some editors write this mark
    except OSError as error:
        raise ScriptError(f"script {path}: {error.strerror}: name a readable .toml or .json file") from None
    try:
        if path.suffix == ".json":
            script = msgspec.json.decode(text, type=Script)
        elif path.suffix == ".toml":
            script = msgspec.convert(tomllib.loads(text.decode()), Script)
        else:
            raise ScriptError(f"script {path}: its name must end in .toml or .json, which says its format")
    except msgspec.ValidationError as error:
        raise ScriptError(f"script {path}: {_located(str(error))}: see docs/twins.md for the keys") from None
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ScriptError(f"script {path}: not valid {path.suffix[1:].upper()}: {error}") from None
    _check(path, script)
    return script


def _located(error: str) -> str:
    """Turn ``Object … - at `$.rules[0]``` into ``rules[0]: Object …``."""
    what, separator, where = error.rpartition(" - at `$")
    return f"{where.rstrip('`').lstrip('.')}: {what}" if separator else error


def _check(path: Path, script: Script) -> None:
    for number, rule in enumerate(script.rules):
        where = f"script {path}: rules[{number}]"
        if rule.answer == "refuse" and rule.status is None and not _is_known(rule.reason):
            raise ScriptError(
                f'{where}.status: answer "refuse" needs a status, or a reason that the provider documents; '
                f"not {rule.reason!r} alone"
            )
        if rule.answer != "raw" and (rule.body or rule.body_bytes is not None or rule.content_type is not None):
            raise ScriptError(f'{where}.answer: a body or content_type of your own needs answer = "raw"')
        if rule.answer == "slow" and not rule.delay_ms:
            raise ScriptError(f'{where}.delay_ms: answer "slow" needs it, as in delay_ms = 500')
        if rule.until_seconds is not None and rule.until_seconds <= rule.from_seconds:
            raise ScriptError(f"{where}.until_seconds: must be later than from_seconds ({rule.from_seconds})")
        if rule.timestamp is not None and rule.timestamp_ago_seconds is not None:
            raise ScriptError(f"{where}.timestamp: give it or timestamp_ago_seconds, not both")
        _check_code(f"{where}.code", rule.code)
    for number, fault in enumerate(script.connections):
        where = f"script {path}: connections[{number}]"
        _check_code(f"{where}.code", fault.code)
        if fault.do == "settings" and fault.max_concurrent_streams is None and fault.initial_window_size is None:
            raise ScriptError(f'{where}.do: "settings" needs max_concurrent_streams or initial_window_size')
        if (fault.do == "illegal") != (fault.frame is not None):
            raise ScriptError(f'{where}.frame: do = "illegal" and frame go together, as in frame = "bad-hpack"')
    if script.latency is not None:
        wrong = "give it or latency_ms, not both" if script.latency_ms is not None else mistake_of(script.latency)
        if wrong is not None:
            raise ScriptError(f"script {path}: latency: {wrong}")
    if script.certificates and script.client_certificates == "none":
        raise ScriptError(f'script {path}: client_certificates: set it to "accept" or "demand" to use certificates')


def _is_known(reason: str | None) -> bool:
    return reason in reasons.KNOWN


def _check_code(where: str, code: str) -> None:
    if code not in CODES:
        raise ScriptError(f"{where}: {code!r} is not one of {', '.join(CODES)}")
