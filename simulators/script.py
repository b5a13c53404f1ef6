"""Fault scripts: which pushes a twin answers otherwise than with 200, and which connections it treats badly.

A script is a TOML or JSON file (docs/twins.md). Reading is strict: a key that nobody knows is an error, because a
misspelt fault which never happens makes a test that proves nothing.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from simulators.errors import ScriptError
from simulators.frames import CODES

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
NotNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]
Status = Annotated[int, msgspec.Meta(ge=200, le=599)]
_TOP = 2.0**64


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=False):
    """What some tokens are answered. Rules are tried in order; the first that matches answers."""

    answer: Literal["accept", "dead", "429", "500", "503", "slow", "refuse", "mute", "reset", 429, 500, 503]
    prefix: str | None = None
    """Only tokens that start so."""
    share: Share | None = None
    """Only this share of the tokens (0–1), drawn by a hash of token and seed: the same token, the same fate."""
    times: Count | None = None
    """Only the first so many requests for a token; later ones go on to the next rule."""
    from_seconds: NotNegative = 0.0
    """Only from this time after the twin's start …"""
    until_seconds: NotNegative | None = None
    """… until this one."""
    reason: str | None = None
    """Another reason than the usual one: APNs ``reason``, FCM ``errorCode``."""
    status: Status | None = None
    """Another status; required for ``refuse``."""
    retry_after: Natural | None = None
    """Seconds, sent as ``retry-after``."""
    delay_ms: NotNegative = 0.0
    """The answer comes so much later; required for ``slow``."""
    timestamp: Natural | None = None
    """APNs 410: since when the token is dead, ms UTC (default: the moment of the answer)."""
    timestamp_ago_seconds: NotNegative | None = None
    """The same, so long before the moment of the answer."""
    code: str = "REFUSED_STREAM"
    """``reset``: the error code's name in RFC 9113."""
    delivered: bool = False
    """The push goes to the ledger although the answer refuses it, or never comes."""


class ConnectionFaultRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to a connection after so many requests."""

    after: Natural
    """Requests taken on the connection before it happens (0: at once)."""
    do: Literal["goaway", "settings", "close", "mute", "stall"]
    times: Count | None = None
    """Only on the first so many connections (default: on every one)."""
    reason: str | None = None
    """``goaway``: Apple's debug data ``{"reason": …}``."""
    code: str = "NO_ERROR"
    """``goaway``: the error code's name in RFC 9113."""
    unanswered: Natural = 0
    """``goaway``, ``close``: the last so many requests are taken, and never answered."""
    max_concurrent_streams: Natural | None = None
    """``settings``: the new limit."""
    initial_window_size: Natural | None = None
    """``settings``: the new window of a stream, bytes."""


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A whole script file."""

    seed: int = 0
    """Another seed, another choice of tokens for each ``share``."""
    latency_ms: NotNegative | None = None
    """Every answer takes so long (overrides ``--latency``)."""
    connection_window: Annotated[int, msgspec.Meta(ge=65_535, le=2**31 - 1)] | None = None
    """Bytes of the connection's flow-control window; Apple's is 65,535, the twin's usual one 16 MiB."""
    token_update_seconds: NotNegative = 1200.0
    """APNs: a new provider token sooner than this after the last one is refused with 429."""
    access_token_seconds: Count = 3599
    """FCM: life of an access token."""
    rules: tuple[Rule, ...] = ()
    connections: tuple[ConnectionFaultRule, ...] = ()


def load_script(path: Path) -> Script:
    """Read a ``.toml`` or ``.json`` script (raises ``ScriptError``: file, key, remedy)."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ScriptError(f"script {path}: {error.strerror}: name a readable .toml or .json file") from None
    try:
        if path.suffix == ".json":
            script = msgspec.json.decode(text, type=Script)
        elif path.suffix == ".toml":
            script = msgspec.convert(tomllib.loads(text.decode()), Script)
        else:
            raise ScriptError(f"script {path}: end its name in .toml or .json, so that its format is known")
    except msgspec.ValidationError as error:
        raise ScriptError(f"script {path}: {_located(str(error))}: see docs/twins.md for the keys") from None
    except (msgspec.DecodeError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
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
        if rule.answer == "refuse" and (rule.status is None or rule.reason is None):
            raise ScriptError(f'{where}.status: answer "refuse" needs a status and a reason, as in status = 403')
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


def _check_code(where: str, code: str) -> None:
    if code not in CODES:
        raise ScriptError(f"{where}: {code!r} is none of {', '.join(CODES)}")


class Director:
    """Tells which rule answers a request. Keeps count where a rule has ``times``.

    Args:
        script: the rules.
        clock: seconds on any monotonic scale; rules' windows count from construction.
    """

    def __init__(self, script: Script, clock: Callable[[], float]) -> None:
        self.script = script
        self._clock = clock
        self._started = clock()
        self._keys = [f"{script.seed}:{number}".encode() for number in range(len(script.rules))]
        self._used: dict[tuple[int, str], int] = {}

    def rule_for(self, token: str) -> Rule | None:
        """Return the rule for this request for ``token`` and count it; None: accept."""
        for number, rule in enumerate(self.script.rules):
            if not self._concerns(number, rule, token):
                continue
            if rule.times is not None:
                used = self._used.get((number, token), 0)
                if used >= rule.times:
                    continue
                self._used[number, token] = used + 1
            return rule
        return None

    def _concerns(self, number: int, rule: Rule, token: str) -> bool:
        if rule.prefix is not None and not token.startswith(rule.prefix):
            return False
        if rule.share is not None and draw(self._keys[number], token) >= rule.share:
            return False
        if rule.from_seconds or rule.until_seconds is not None:
            elapsed = self._clock() - self._started
            if elapsed < rule.from_seconds or (rule.until_seconds is not None and elapsed >= rule.until_seconds):
                return False
        return True


def draw(key: bytes, token: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.blake2b(token.encode(), digest_size=8, key=key[:64]).digest()
    return int.from_bytes(digest) / _TOP
