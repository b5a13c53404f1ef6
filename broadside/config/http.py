"""``[http]``: where the API listens, under which names, and how it is served by TLS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from broadside.config import strict_toml
from broadside.config.tarantool import is_loopback, split_address
from broadside.errors import shown

ADDRESS = 'write host:port, as in "127.0.0.1:8765"'
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*")

HOST_PATTERN = re.compile(rf"((\*\.)?{_HOST_NAME.pattern}|\[[0-9a-fA-F:.]+\])(:[0-9]{{1,5}})?")
"""A host of others, or all hosts below a name; with a port if it has a special one."""


class Http(msgspec.Struct, frozen=True, kw_only=True):
    """``[http]``: the address of the API."""

    bind: str = "127.0.0.1:8765"
    names: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    """Names under which clients reach the API, besides its addresses and localhost."""
    certificate: Path | None = None
    """PEM file: with ``private_key`` the API is served by TLS."""
    private_key: Path | None = None
    behind_proxy: bool = False
    """Whether clients reach the API through a proxy alone, which serves it by TLS."""

    @property
    def secure(self) -> bool:
        """Whether browsers reach the API by TLS alone."""
        return self.certificate is not None or self.behind_proxy

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of ``bind``. Port 0 lets the system choose."""
        return split_address(self.bind)


def _check_bind(reader: strict_toml.Reader, http: Http) -> None:
    try:
        host, _ = http.address
    except ValueError:
        reader.problem("http.bind", f"{shown(http.bind)} is not an address", ADDRESS, http.bind)
        return
    if not is_loopback(host) and not http.secure:
        what = f"{shown(http.bind)} can be reached from other machines, and keys would cross the network in the clear"
        remedy = "give a certificate and its private_key, or behind_proxy = true behind a proxy that serves TLS"
        reader.problem("http.bind", what, remedy, http.bind)


def checked_http(reader: strict_toml.Reader, http: Http) -> Http:
    """Check the address, the names and the files of TLS, whose paths become absolute."""
    _check_bind(reader, http)
    for number, name in enumerate(http.names):
        if not _HOST_NAME.fullmatch(name):
            remedy = "a host name without a port, as in push.example.org"
            reader.problem(f"http.names[{number}]", f"{shown(name)} is not a host name", remedy, name)
    if (http.certificate is None) != (http.private_key is None):
        missing = "private_key" if http.private_key is None else "certificate"
        reader.problem(f"http.{missing}", "is missing", "give both files, or neither")
        return http
    if http.certificate is None or http.private_key is None:
        return http
    certificate = reader.file("http.certificate", http.certificate, secret=False)
    private_key = reader.file("http.private_key", http.private_key, secret=True)
    return msgspec.structs.replace(http, certificate=certificate, private_key=private_key)
