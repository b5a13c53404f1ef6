"""``[http]``: where the API listens, under which names, and how it is served by TLS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from broadside.config import strict_toml
from broadside.config.tarantool import Network, is_loopback, read_network, split_address
from broadside.errors import shown

ADDRESS = 'write host:port, as in "127.0.0.1:8765"'
PROXIES = 'addresses or networks, as in proxies = ["10.0.0.7"]'
METRICS_ADDRESS = 'write another host:port, as in "127.0.0.1:9765"'
HTTP_REMEDIES = {"http.bind": ADDRESS, "http.metrics_bind": METRICS_ADDRESS, "http.proxies": PROXIES}
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
    metrics_bind: str | None = None
    """An address of their own for ``/metrics``, ``/healthz`` and ``/readyz``, where they need no key."""
    behind_proxy: bool = False
    """Whether clients reach the API through a proxy alone, which serves it by TLS."""
    proxies: tuple[str, ...] = ()
    """Addresses or networks of those proxies: nobody else may connect to ``bind``, but this machine always may."""

    @property
    def secure(self) -> bool:
        """Whether browsers reach the API by TLS alone."""
        return self.certificate is not None or self.behind_proxy

    @property
    def clients(self) -> tuple[Network, ...]:
        """Networks from which alone connections are taken; none: from everywhere."""
        return tuple(network for entry in self.proxies if (network := read_network(entry)) is not None)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port of ``bind``. Port 0 lets the system choose."""
        return split_address(self.bind)

    @property
    def metrics_address(self) -> tuple[str, int] | None:
        """Host and port of ``metrics_bind``."""
        return None if self.metrics_bind is None else split_address(self.metrics_bind)


def _check_bind(reader: strict_toml.Reader, http: Http) -> bool:
    """Whether ``bind`` is an address."""
    try:
        host, _ = http.address
    except ValueError:
        reader.problem("http.bind", f"{shown(http.bind)} is not an address", ADDRESS, http.bind)
        return False
    if not is_loopback(host) and not http.secure:
        what = f"{shown(http.bind)} can be reached from other machines, and keys would cross the network in the clear"
        remedy = "give a certificate and its private_key, or behind_proxy = true if a proxy serves TLS"
        reader.problem("http.bind", what, remedy, http.bind)
    return True


def _check_proxies(reader: strict_toml.Reader, http: Http) -> None:
    for entry in http.proxies:
        if read_network(entry) is None:
            remedy = f"{PROXIES}; names are not looked up"
            reader.problem("http.proxies", f"{shown(entry)} is not an address", remedy, entry)
    if http.proxies and not http.behind_proxy:
        reader.problem("http.proxies", "has no use without behind_proxy", "remove it, or set behind_proxy = true")
    open_to_all = http.behind_proxy and not http.proxies and http.certificate is None
    if open_to_all and not is_loopback(http.address[0]):
        what = f"is missing, and {http.bind} can be reached from other machines: they could pass the proxy by, in clear"
        reader.problem("http.proxies", what, f"list the proxies' {PROXIES}")


def _check_metrics_bind(reader: strict_toml.Reader, http: Http) -> None:
    try:
        where = http.metrics_address
    except ValueError:
        reader.problem(
            "http.metrics_bind", f"{shown(http.metrics_bind)} is not an address", METRICS_ADDRESS, http.metrics_bind
        )
        return
    if where is not None and where[1] and where[1] == split_address(http.bind)[1]:
        what = f"{shown(http.metrics_bind)} has the port of the API itself"
        reader.problem("http.metrics_bind", what, METRICS_ADDRESS, http.metrics_bind)


def checked_http(reader: strict_toml.Reader, http: Http) -> Http:
    """Check the address, the names and the files of TLS, whose paths become absolute."""
    if _check_bind(reader, http):
        _check_metrics_bind(reader, http)
        _check_proxies(reader, http)
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
