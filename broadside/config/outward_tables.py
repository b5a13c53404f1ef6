"""``[herd]``, ``[[hooks]]``, ``[[webhooks]]``: what the node asks of the newsroom's other systems, and tells them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from broadside.config.kinds import read_seconds
from broadside.config.strict_toml import Reader
from broadside.config.tarantool import NAME, NAME_RULE, is_loopback, read_password
from broadside.errors import ConfigError, shown
from campaigns.duration import parse_duration
from transports.errors import CredentialsError
from transports.tls.context import client_context

MOST = 20
"""Hooks and webhooks of a node, each."""
URL, IMAGE = "{url}", "{image}"
"""Stand in a hook's url for the story's link and its picture."""
SHORTEST_SECRET = 16
_METHOD = re.compile(r"[A-Z]{3,10}")

REMEDIES = {
    "herd.rate": "people a second, over the whole ring; leave it out for no limit",
    "herd.target": "a share of what the site bears, 0.1 to 0.95; 0.85 is 85 %",
    "herd.every": "seconds between two looks at health_url, 0.5 to 60",
    "hooks.within": "seconds, 0.1 to 10: a Fire waits as long at most",
    "hooks.method": 'as in "GET", "HEAD", "POST" or "PURGE"',
    "webhooks.within": "seconds, 0.5 to 8",
}


class HerdConfig(msgspec.Struct, frozen=True, kw_only=True):
    """``[herd]``: how fast people may be reached, for the sake of the newsroom's own site."""

    rate: Annotated[float, Meta(gt=0)] | None = None
    """People a second, over the whole ring, of a campaign whose kind and editor say nothing else; None: no limit."""
    ramp: str = "0s"
    """The time from the start over which the rate rises to this."""
    health_url: str | None = None
    """A page of the site that shows its load, asked while a campaign with a rate is under way."""
    every: Annotated[float, Meta(ge=0.5, le=60)] = 1.0
    """Seconds between two looks at it."""
    posted: bool = False
    """Whether the newsroom posts its load (``POST /v1/load``)."""
    target: Annotated[float, Meta(ge=0.1, le=0.95)] = 0.85
    """The load that a campaign may bring the site to; 1 is all that it bears."""
    lag: str = "15s"
    """The time within which half of those who open a push have opened it: so fast the rate may change."""

    @property
    def governed(self) -> bool:
        """Whether the newsroom's load governs campaigns with a rate."""
        return self.health_url is not None or self.posted

    @property
    def ramp_seconds(self) -> float:
        """``ramp`` in seconds."""
        return float(parse_duration(self.ramp) or 0)

    @property
    def lag_seconds(self) -> float:
        """``lag`` in seconds."""
        return float(parse_duration(self.lag) or 0)


class Hook(msgspec.Struct, frozen=True, kw_only=True):
    """``[[hooks]]``: one request before a campaign fires: to purge a cache, to warm a page."""

    name: str
    url: str
    """``{url}`` and ``{image}`` in it stand for the story's link and picture; alone they are the whole address."""
    method: Annotated[str, Meta(pattern=_METHOD.pattern + r"\Z")] = "GET"
    within: Annotated[float, Meta(ge=0.1, le=10)] = 2.0
    """Seconds for the answer; then the campaign fires without it."""
    authorization_file: Path | None = None
    """A file with the value of the header Authorization."""
    authorization_env: str | None = None

    def authorization(self) -> str:
        """Read the header's value; empty: there is none (raises ``ConfigError``)."""
        return _secret(self.authorization_file, self.authorization_env)


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """``[[webhooks]]``: a system that hears of every change of a campaign's state."""

    name: str
    url: str
    secret_file: Path | None = None
    """A file with the secret that calls are signed with."""
    secret_env: str | None = None
    within: Annotated[float, Meta(ge=0.5, le=8)] = 5.0
    """Seconds for the answer."""
    ca: Path | None = None
    """PEM file of the authority that signed its certificate, instead of the system's."""

    def secret(self) -> str:
        """Read the secret (raises ``ConfigError``)."""
        return _secret(self.secret_file, self.secret_env)


def _secret(file: Path | None, variable: str | None) -> str:
    return read_password(file) if file is not None else os.environ.get(variable or "", "")


T = TypeVar("T", Hook, Webhook)


def read_herd(reader: Reader, table: object) -> HerdConfig:
    """Read ``[herd]``."""
    herd = reader.table(HerdConfig, table, "herd", REMEDIES)
    if herd is None:
        return HerdConfig()
    if herd.health_url is not None:
        _check_url(reader, "herd.health_url", herd.health_url, plain=True)
    for name in ("ramp", "lag"):
        read_seconds(reader, getattr(herd, name), f"herd.{name}")
    return herd


def read_hooks(reader: Reader, tables: object) -> tuple[Hook, ...]:
    """Read ``[[hooks]]``."""

    def check(hook: Hook, key: str) -> None:
        if hook.url not in (URL, IMAGE):
            place = re.split(r"[?#]", hook.url, maxsplit=1)[0]
            if "{" in place:
                remedy = f'write {URL} behind a "?", as in https://cdn.example.com/purge?page={URL}, or alone'
                reader.problem(f"{key}.url", f"{shown(hook.url)} has a placeholder in its path", remedy, hook.url)
            _check_url(reader, f"{key}.url", hook.url, plain=True)
            for placeholder in re.findall(r"{[^}]*}", hook.url):
                if placeholder not in (URL, IMAGE):
                    what = f"{shown(placeholder)} is unknown"
                    reader.problem(f"{key}.url", what, f"known: {URL}, {IMAGE}", hook.url)
        elif hook.authorization_file is not None or hook.authorization_env is not None:
            reader.problem(f"{key}.authorization_file", "a link of an editor gets no secret", "remove it")
        _check_secret(reader, key, "authorization", hook.authorization_file, hook.authorization_env, needed=False)

    return _read(reader, tables, "hooks", Hook, check)


def read_webhooks(reader: Reader, tables: object) -> tuple[Webhook, ...]:
    """Read ``[[webhooks]]``."""

    def check(hook: Webhook, key: str) -> None:
        _check_url(reader, f"{key}.url", hook.url, plain=False)
        if hook.ca is not None:
            _check_authority(reader, f"{key}.ca", hook.ca)
        if _check_secret(reader, key, "secret", hook.secret_file, hook.secret_env, needed=True):
            try:
                short = len(hook.secret()) < SHORTEST_SECRET
            except ConfigError:
                return  # noted already
            if short:
                remedy = "write at least 16 characters into it, as of `openssl rand -hex 32`"
                reader.problem(f"{key}.secret_file", "the secret is too short", remedy)

    return _read(reader, tables, "webhooks", Webhook, check)


def _read(reader: Reader, tables: object, key: str, cls: type[T], check: Callable[[T, str], None]) -> tuple[T, ...]:
    if not isinstance(tables, list):
        reader.problem(key, f"{shown(tables)} where tables belong", f"write each as [[{key}]]")
        return ()
    if len(tables) > MOST:
        reader.problem(key, f"there are {len(tables)}", f"at most {MOST}")
    found: dict[str, T] = {}
    for number, table in enumerate(tables[:MOST]):
        where = f"{key}[{number}]"
        one: Any = reader.table(cls, table, where, REMEDIES)
        if one is None:
            continue
        if not NAME.fullmatch(one.name) or one.name in found:
            what = "is the name of another" if one.name in found else "cannot be a name"
            reader.problem(f"{where}.name", f"{shown(one.name)} {what}", NAME_RULE, one.name)
        before = len(reader.problems)
        check(one, where)
        if len(reader.problems) == before:
            found[one.name] = one
    return tuple(found.values())


def _check_url(reader: Reader, key: str, url: str, *, plain: bool) -> None:
    """``plain``: whether http is allowed to other machines, too."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        parts, host = urlsplit(""), ""
    remedy = "as in https://hooks.example.com/broadside"
    if parts.scheme not in ("http", "https") or not host or not url.isascii() or " " in url:
        reader.problem(key, f"{shown(url)} is not a link", remedy, url)
    elif parts.username or parts.password:
        reader.problem(key, "a secret does not belong in the configuration", "put it into a file of mode 0600")
    elif parts.scheme == "http" and not plain and host != "localhost" and not is_loopback(host):
        reader.problem(key, f"{shown(url)} is not https", remedy, url)


def _check_authority(reader: Reader, key: str, ca: Path) -> None:
    before = len(reader.problems)
    reader.file(key, ca, secret=False)
    if len(reader.problems) == before:
        try:
            client_context(ca)
        except CredentialsError as error:
            remedy = "write the authority's certificate into it, as PEM"
            reader.problem(key, str(error).removeprefix("ca: "), remedy, str(ca))


def _check_secret(
    reader: Reader, key: str, name: str, file: Path | None, variable: str | None, *, needed: bool
) -> bool:
    before = len(reader.problems)
    if (file is None) == (variable is None) and (needed or file is not None):
        what = f"has both {name}_file and {name}_env" if file is not None else f"has no {name}"
        remedy = f"give either {name}_file (a file of mode 0600) or {name}_env (a variable's name)"
        reader.problem(key, what, remedy)
    if file is not None:
        reader.file(f"{key}.{name}_file", file, secret=True)
    elif variable is not None and not os.environ.get(variable):
        what = f"environment variable {shown(variable)} is not set"
        reader.problem(f"{key}.{name}_env", what, "export it before the node starts", variable)
    return len(reader.problems) == before
