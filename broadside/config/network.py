"""``[network]``: the way out to the providers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from broadside.config import strict_toml
from transports.errors import CredentialsError
from transports.proxy import Proxy, parse_proxy

OFF = "off"
REMEDIES = {
    "network.proxy": 'as in "http://proxy.example.org:3128", or "off"',
    "network.no_proxy": 'hosts, domains and networks, as in ["10.0.0.0/8", "example.org"]',
    "network.proxy_credentials": "a file with user:password",
}


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """``[network]``: the proxy that all providers are reached through."""

    proxy: str | None = None
    """``http://host:port``; ``off``: none, whatever the environment says; None: that of ``HTTPS_PROXY``."""
    no_proxy: Annotated[tuple[str, ...], Meta(max_length=100)] = ()
    """Hosts, domains, addresses and networks that are reached without it."""
    proxy_credentials: Path | None = None
    """A file with ``user:password``."""


def read_proxy(reader: strict_toml.Reader, table: object) -> Proxy | None:
    """Read ``[network]``, and where it names no proxy, the environment; None: there is no proxy."""
    network = reader.table(Network, table, "network", REMEDIES)
    if network is None or network.proxy == OFF:
        return None
    file = network.proxy_credentials
    if file is not None:
        file = reader.file("network.proxy_credentials", file, secret=True)
    where, address = ("network.proxy", network.proxy) if network.proxy else ("HTTPS_PROXY", _variable("HTTPS_PROXY"))
    if not address:
        if file is not None:
            reader.problem("network.proxy_credentials", "is given without a proxy", "add proxy to [network]")
        return None
    bypass = network.no_proxy if network.proxy else (*network.no_proxy, *_variable("NO_PROXY").split(","))
    try:
        proxy = parse_proxy(address, bypass, None if file is None else str(file))
    except CredentialsError as error:
        reader.problem(where, str(error), REMEDIES["network.proxy"])
        return None
    if network.proxy and proxy.credentials:
        remedy = "put user:password into a file of mode 0600, and name it as proxy_credentials"
        reader.problem(where, "a secret does not belong in the configuration", remedy)
    return proxy


def _variable(name: str) -> str:
    """Read an environment variable, whose name programs write in either case."""
    return os.environ.get(name) or os.environ.get(name.lower()) or ""
