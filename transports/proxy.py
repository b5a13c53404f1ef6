"""An HTTP proxy between us and the providers, and which hosts are reached through it."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec

from transports.errors import ConnectionLost, CredentialsError

_HINT = "as in http://proxy.example.org:3128"


class Proxy(msgspec.Struct, frozen=True, kw_only=True):
    """A proxy, and the hosts that are reached without it."""

    host: str
    port: int
    credentials: str = ""
    """``user:password``; empty: none, or those of the file."""
    credentials_file: str | None = None
    """Absolute path of a file with ``user:password``. It is read for each connection, so it may be changed."""
    bypass: tuple[str, ...] = ()
    """Hosts, domains (with all hosts in them), addresses and networks; ``*``: everything."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def __repr__(self) -> str:
        return f"Proxy({self})"

    def serves(self, host: str) -> bool:
        """Whether a host is reached through the proxy: this machine itself never is."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            name = host.lower().rstrip(".")
            if name == "localhost" or name.endswith(".localhost"):
                return False
            return not any(each == "*" or name == each or name.endswith(f".{each}") for each in self._names())
        return not address.is_loopback and not any(each == "*" or _holds(each, address) for each in self._names())

    def _names(self) -> list[str]:
        return [each.strip().lower().lstrip(".").rstrip(".") for each in self.bypass if each.strip()]

    def login(self) -> tuple[str, str] | None:
        """Return user and password; None: there are none (raises ``ConnectionLost`` for a file without them)."""
        text = self.credentials
        if self.credentials_file is not None:
            try:
                text = Path(self.credentials_file).read_text(encoding="utf-8-sig").strip("\r\n")
            except (OSError, UnicodeDecodeError) as error:
                raise ConnectionLost(f"the proxy's credentials cannot be read: {error}") from None
            if ":" not in text:
                raise ConnectionLost(f'the proxy\'s credentials in "{self.credentials_file}" are not user:password')
        if not text:
            return None
        user, _, password = text.partition(":")
        return user, password


def parse_proxy(text: str, bypass: str | tuple[str, ...] = (), credentials_file: str | None = None) -> Proxy:
    """Read ``http://[user:password@]host[:port]``; raises ``CredentialsError``, which shows no password.

    ``bypass``: as in ``NO_PROXY``, or its parts.
    """
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        host, port = url.hostname, url.port or 80
    except ValueError:
        raise CredentialsError(f"the proxy's address cannot be read: write it {_HINT}") from None
    if url.scheme != "http":
        raise CredentialsError(f'the proxy is reached by http, not "{url.scheme[:20]}": write it {_HINT}')
    if not host or not host.isascii() or url.path not in ("", "/") or url.query or url.fragment:
        raise CredentialsError(f"the proxy's address has no host, or more than host and port: write it {_HINT}")
    user, password = unquote(url.username or ""), unquote(url.password or "")
    parts = tuple(bypass.split(",")) if isinstance(bypass, str) else bypass
    return Proxy(
        host=host,
        port=port,
        credentials=f"{user}:{password}" if user or password else "",
        credentials_file=credentials_file,
        bypass=parts,
    )


def _holds(part: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(part.strip("[]"), strict=False)
    except ValueError:
        return False
