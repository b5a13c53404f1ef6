"""Takes secrets, tokens and the news itself out of texts and records, by what they are and by what they look like."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

SECRET = "(secret)"  # noqa: S105 - what stands in its place
LEFT_OUT = "(left out)"
LEAST = 20
"""Characters: shorter words are no token of any platform."""
SHORTEST_SECRET = 4
"""Characters: a shorter password cannot be told from an ordinary word."""
_RUN = re.compile(r"[A-Za-z0-9_\-:%+=.~/]{20,}")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[T ]?[\d:.]*(Z|[+-]\d\d:?\d\d)?")
_HUMP = re.compile(r"[a-z][A-Z]")
_PEM = re.compile(r"-----BEGIN [^-]+-----.*?(-----END [^-]+-----|\Z)", re.S)
_USERINFO = re.compile(r"(://)[^/@\s]+@")
_QUERY = re.compile(r"(https?://[^\s?#\"']+)[?#][^\s\"']*")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+\S+")

# fmt: off
NAMED = frozenset((
    "token", "tokens", "key", "password", "secret", "authorization", "cookie", "credential", "credentials", "private",
    "title", "body", "texts", "data", "url", "image", "link", "fields", "examples",
))
# fmt: on
"""Fields whose text is left out, whatever it is: secrets, tokens, and the news, which may not be out yet."""

# fmt: off
OPEN = frozenset((
    "name", "data", "logs", "memory", "bind", "names", "metrics_bind", "uri", "user", "others", "replica", "listen",
    "hosts", "proxies", "no_proxy", "module", "platform", "app", "environment", "quiet_channel", "collapse_slots",
    "devices", "zone", "quiet", "quiet_hours", "lane", "urgency", "ttl", "repeat", "approval_for", "ramp", "keep",
    "method", "lag", "certificate", "private_key", "ca", "key", "certificate_key", "service_account", "password_file",
    "peers_password_file", "proxy_credentials", "authorization_file", "secret_file",
))
# fmt: on
"""Keys of broadside.toml whose texts are no secrets: they are names, addresses, or the paths of files."""


class Redactor:
    """Knows this node's secrets, and what a token looks like."""

    def __init__(self, secrets: Iterable[str]) -> None:
        """``secrets``: texts that must not appear; the longest are replaced first."""
        known = sorted({each for each in secrets if len(each) >= SHORTEST_SECRET}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def text(self, text: str) -> str:
        """The same text without them."""
        if self._known is not None:
            text = self._known.sub(SECRET, text)
        text = _BEARER.sub(rf"\1 {SECRET}", _PEM.sub(SECRET, text))
        text = _QUERY.sub(r"\1", _USERINFO.sub(r"\1", text))
        return _RUN.sub(lambda found: _shown(found[0]), text)

    def record(self, value: object) -> object:
        """The same record: the fields of `NAMED` left out, all other texts redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self.text(str(name)): LEFT_OUT if name in NAMED and each else self.record(each)
                for name, each in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.record(each) for each in value]
        return value if isinstance(value, bool | int | float) or value is None else self.text(str(value))

    def configuration(self, table: object, key: str = "") -> object:
        """A table of broadside.toml: numbers stay, and the texts that `OPEN` names; of an address its server alone."""
        if isinstance(table, Mapping):
            return {self.text(str(name)): self.configuration(each, str(name)) for name, each in table.items()}
        if isinstance(table, list):
            return [self.configuration(each, key) for each in table]
        if not isinstance(table, str):
            return self.record(table)
        if "://" in table:
            return _server(table)
        return self.text(table) if key in OPEN or key.endswith("_env") else LEFT_OUT


def _server(url: str) -> str:
    try:
        parts = urlsplit(url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    except ValueError:
        return LEFT_OUT


def _shown(run: str) -> str:
    if looks_secret(run):
        return f"({len(run)} characters)"
    if "/" not in run:
        return run
    return "/".join(f"({len(part)} characters)" if looks_secret(part) else part for part in run.split("/"))


def looks_secret(word: str) -> bool:
    """Whether a word may be a token or a key: long, and mixed as no word of a language or a program is."""
    if len(word) < LEAST or _UUID.fullmatch(word) or _INSTANT.fullmatch(word):
        return False
    if "/" in word:  # a path, or base64: that has no dots, and goes on for long without one
        return "." not in word and not word.startswith("/") and len(word) >= 2 * LEAST and _mixed(word)
    return _mixed(word)


def _mixed(word: str) -> bool:
    digits, letters = any(c.isdigit() for c in word), any(c.isalpha() for c in word)
    lower, upper = any(c.islower() for c in word), sum(c.isupper() for c in word)
    return (digits and letters) or len(_HUMP.findall(word)) >= 4 or (lower and 3 * upper > len(word))
