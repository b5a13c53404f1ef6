"""Reaches web servers of the newsroom, and nobody else's, whoever names them.

A link comes from whoever writes a campaign, so nothing but the configured hosts is ever asked. At every request the
host is looked up once, and the address that was checked is the one that is connected to: a name below a wildcard must
not lead into a private network. A proxy gets that address too; where this machine cannot look names up, it gets the
name of a host that the configuration names itself, and of no other.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import h11
import httpx
import trio

from broadside.errors import BroadsideError, Problem, RecordError, shown
from broadside.release import version
from transports.errors import ConnectionLost
from transports.proxy import Proxy
from transports.tls.context import client_context
from transports.tunnel import open_tunnel

PORTS = {"http": 80, "https": 443}
AS_IN = "write a link as in https://example.com/story/7"
AGAIN = "try again in a moment"
TRUSTED = "it needs one for this name, of an authority that this machine knows; a webhook may name its own as ca"


class LinkUnread(BroadsideError):
    """A web server was not reached, or did not answer as it must. ``url``: of what was asked for."""

    def __init__(self, url: str, why: str, remedy: str, *, late: bool = False) -> None:
        """Keep why, and what to do. ``late``: whether the answer did not come in time."""
        self.url, self.why, self.remedy, self.late = url, why, remedy, late
        super().__init__(f"{why} ({remedy})")


class WebAnswer(NamedTuple):
    """The answer to one request. Redirects are not followed."""

    status: int
    headers: dict[str, str]
    """By small letters."""
    body: bytes
    """At most as many bytes as were asked for."""
    seconds: float
    """From the beginning of the connection to the end of the answer."""


class GuardedWeb:
    """Connects to ``hosts`` alone: ``www.example.com``, ``*.example.com``, each with ``:port`` if it is not the usual.

    ``where``: the key of the configuration that lists them. ``proxy``: the way out, if there is one.
    """

    def __init__(
        self,
        hosts: Iterable[str],
        tls: ssl.SSLContext | None = None,
        *,
        proxy: Proxy | None = None,
        where: str = "[newsroom] link_hosts",
    ) -> None:
        self.hosts = frozenset(host.lower() for host in hosts)
        self._tls = tls
        self._proxy = proxy
        self._where = where

    async def ask(
        self,
        method: str,
        url: str,
        *,
        within: float,
        headers: Sequence[tuple[str, str]] = (),
        body: bytes = b"",
        largest: int = 1 << 16,
    ) -> WebAnswer:
        """Make one request. Raises ``RecordError`` for a link that may not be asked, ``LinkUnread`` without an answer.

        ``within``: seconds for all of it; ``largest``: bytes of the answer that are read.
        """
        began = trio.current_time()
        try:
            place = httpx.URL(url)
            with trio.fail_after(within):
                async with await self.connected(place) as stream:
                    status, found, read = await _exchange(stream, place, method, headers, body, largest)
        except trio.TooSlowError:
            raise LinkUnread(url, f"no answer came within {within:g} s", AGAIN, late=True) from None
        except httpx.InvalidURL as error:
            raise RecordError(Problem("url", f"{shown(url)} is not a link: {error}", AS_IN, url[:60])) from None
        except (OSError, trio.BrokenResourceError, h11.ProtocolError) as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                why = f"its certificate is not accepted: {error.__cause__.verify_message}"
                raise LinkUnread(url, why, TRUSTED) from None
            why = str(error.__cause__ or error) or type(error).__name__
            raise LinkUnread(url, f"it does not answer as a web server: {why}", AGAIN) from None
        return WebAnswer(status, found, read, trio.current_time() - began)

    async def connected(self, url: httpx.URL) -> trio.abc.Stream:
        """Connect to a link's host, by TLS for https (raises ``RecordError``, ``LinkUnread``, ``OSError``)."""
        port = url.port or PORTS.get(url.scheme, 0)
        if self.entry(url) is None:
            raise self._refused(url)
        proxy = self._proxy if self._proxy is not None and self._proxy.serves(url.host) else None
        addresses = await self._addresses(url, port, proxied=proxy is not None)
        for address in addresses[:-1]:
            with contextlib.suppress(OSError, LinkUnread):
                return await self._secured(await self._opened(url, address, port, proxy), url)
        return await self._secured(await self._opened(url, addresses[-1], port, proxy), url)

    async def _opened(self, url: httpx.URL, address: str, port: int, proxy: Proxy | None) -> trio.SocketStream:
        if proxy is None:
            return await trio.open_tcp_stream(address, port)
        try:
            return await open_tunnel(proxy, address, port)
        except ConnectionLost as error:
            raise LinkUnread(str(url), str(error), "let the proxy allow this host, or add it to no_proxy") from None

    async def _secured(self, stream: trio.SocketStream, url: httpx.URL) -> trio.abc.Stream:
        if url.scheme == "http":
            return stream
        if self._tls is None:
            self._tls = await trio.to_thread.run_sync(client_context, None)
        return trio.SSLStream(stream, self._tls, server_hostname=url.host, https_compatible=True)

    async def _addresses(self, url: httpx.URL, port: int, *, proxied: bool) -> list[str]:
        """Look a host up; return the addresses that may be connected to (raises ``RecordError``, ``LinkUnread``)."""
        wild = (self.entry(url) or "").startswith("*.")
        try:
            found = await trio.socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            if proxied and not wild:
                return [url.host]
            why = f"nobody knows the host {shown(url.host)}: {error.strerror}"
            raise LinkUnread(str(url), why, "check the link") from None
        addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
        # who writes a host's own name into the configuration means that host, wherever it is
        allowed = [each for each in addresses if not wild or _public(each)]
        if not allowed:
            what = f"{shown(url.host)} is in a private network ({addresses[0]})"
            remedy = f"write its own name into {self._where}: {shown(name_of(url))}"
            raise RecordError(Problem("url", what, remedy, str(url)[:60]))
        return allowed

    def entry(self, url: httpx.URL) -> str | None:
        """The entry of the configuration that allows a link's host; None: no entry does."""
        if url.scheme not in PORTS or not url.host:
            return None
        name = name_of(url)
        parts = name.split(".")
        wild = ("*." + ".".join(parts[n:]) for n in range(1, len(parts)))
        return next((entry for entry in (name, *wild) if entry in self.hosts), None)

    def _refused(self, url: httpx.URL) -> RecordError:
        if url.scheme not in PORTS:
            what, remedy = f"{shown(str(url))} is no web page", AS_IN
        elif not self.hosts:
            what, remedy = "this node reads no pages", f"write {shown(name_of(url))} into {self._where}"
        else:
            known = ", ".join(sorted(self.hosts)[:10])
            what, remedy = f"{shown(name_of(url))} is not a host of this newsroom", f"{self._where} has {known}"
        return RecordError(Problem("url", what, remedy, str(url)[:60]))


def name_of(url: httpx.URL) -> str:
    """A host as the configuration names it: with the port if it is not its scheme's."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return (host if url.port in (None, PORTS.get(url.scheme)) else f"{host}:{url.port}").lower()


async def _exchange(
    stream: trio.abc.Stream,
    url: httpx.URL,
    method: str,
    headers: Sequence[tuple[str, str]],
    body: bytes,
    largest: int,
) -> tuple[int, dict[str, str], bytes]:
    asking = h11.Connection(h11.CLIENT)
    own = [("host", url.netloc.decode("ascii")), ("user-agent", f"Broadside/{version()}"), ("connection", "close")]
    length = [("content-length", str(len(body)))] if body or method == "POST" else []
    out = asking.send(h11.Request(method=method, target=url.raw_path, headers=[*own, *headers, *length])) or b""
    out += asking.send(h11.Data(data=body)) or b"" if body else b""
    await stream.send_all(out + (asking.send(h11.EndOfMessage()) or b""))
    status, found, read = 0, dict[str, str](), bytearray()
    while len(read) < largest:
        event = asking.next_event()
        if event is h11.NEED_DATA:
            asking.receive_data(bytes(await stream.receive_some(1 << 16)))
        elif isinstance(event, h11.Response):
            status = event.status_code
            found = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
        elif isinstance(event, h11.Data):
            read += event.data
        elif not isinstance(event, h11.InformationalResponse):
            break
    return status, found, bytes(read[:largest])


def _public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return found.is_global and not found.is_multicast and (inner is None or inner.is_global)
