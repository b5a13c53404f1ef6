"""Fetches a story's web page for an editor, from the newsroom's own hosts alone, and reads what it says of itself.

A link comes from whoever writes a campaign, so nothing but the configured hosts is ever asked. At every redirect the
host is looked up once, and the address that was checked is the one that is connected to: a name below a wildcard must
not lead into a private network.
"""

from __future__ import annotations

import contextlib
import email.message
import ipaddress
import socket
import ssl
import zlib
from collections.abc import Mapping, Sequence

import h11
import httpx
import msgspec
import trio

from broadside.api.bounds import url_problem
from broadside.api.link_records import LinkMetadata
from broadside.errors import BroadsideError, Problem, RecordError, shown
from broadside.newsroom.page_metadata import read_page
from transports.tls.context import client_context

WITHIN = 2.0
"""Seconds for all of it: an editor waits."""
LARGEST = 1 << 20
"""Bytes that are read of a page: what it says of itself is at its beginning."""
MOST_REDIRECTS = 5
AT_ONCE = 4
"""Pages that a node reads at once."""
_HEADERS = (
    ("accept", "text/html"),
    ("accept-encoding", "gzip"),
    ("user-agent", "Broadside"),
    ("connection", "close"),
)
_REDIRECTS = (301, 302, 303, 307, 308)
_HTML = ("text/html", "application/xhtml+xml")
_PORTS = {"http": 80, "https": 443}


class LinkUnread(BroadsideError):
    """A page could not be read, though its link is right. ``url``: of the page."""

    def __init__(self, url: str, why: str, remedy: str) -> None:
        """Keep why, and what to do."""
        self.url, self.why, self.remedy = url, why, remedy
        super().__init__(f"{why} ({remedy})")


class LinkReader:
    """Reads pages of ``hosts``: ``www.example.com``, ``*.example.com``, each with ``:port`` if it is not the usual."""

    def __init__(self, hosts: Sequence[str], tls: ssl.SSLContext | None = None) -> None:
        self.hosts = frozenset(host.lower() for host in hosts)
        self._tls = tls
        self._places = trio.CapacityLimiter(AT_ONCE)

    async def read(self, url: str) -> LinkMetadata:
        """Read a page (raises ``RecordError`` for a link that may not be read, ``LinkUnread`` if it cannot be)."""
        if problem := url_problem(url, "url"):
            raise RecordError(problem)
        try:
            with trio.fail_after(WITHIN):
                async with self._places:
                    return await self._follow(httpx.URL(url))
        except trio.TooSlowError:
            raise LinkUnread(url, f"the page did not come within {WITHIN:g} s", _WRITE) from None
        except httpx.InvalidURL as error:
            raise RecordError(Problem("url", f"{shown(url)} is not a link: {error}", _AS_IN, url[:60])) from None

    async def _follow(self, url: httpx.URL) -> LinkMetadata:
        for _ in range(1 + MOST_REDIRECTS):
            found = await self._fetch(url)
            if isinstance(found, LinkMetadata):
                # a page that calls itself another site's is not this story
                own = self._entry(httpx.URL(found.url)) is not None
                return found if own else msgspec.structs.replace(found, url=str(url))
            url = found
        raise LinkUnread(str(url), f"the page redirects more than {MOST_REDIRECTS} times", _WRITE)

    async def _fetch(self, url: httpx.URL) -> LinkMetadata | httpx.URL:
        """Read one page; or return where it redirects to."""
        try:
            async with await self._connected(url) as stream:
                return await _exchange(stream, url)
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            why = str(error.__cause__ or error) or type(error).__name__
            raise LinkUnread(str(url), f"{url.host} does not answer as a web server: {why}", _WRITE) from None

    async def _connected(self, url: httpx.URL) -> trio.abc.Stream:
        addresses, port = await self._addresses(url), url.port or _PORTS[url.scheme]
        for address in addresses[:-1]:
            with contextlib.suppress(OSError):
                return await self._secured(await trio.open_tcp_stream(address, port), url)
        return await self._secured(await trio.open_tcp_stream(addresses[-1], port), url)

    async def _secured(self, stream: trio.SocketStream, url: httpx.URL) -> trio.abc.Stream:
        if url.scheme == "http":
            return stream
        if self._tls is None:
            self._tls = await trio.to_thread.run_sync(client_context, None)
        return trio.SSLStream(stream, self._tls, server_hostname=url.host, https_compatible=True)

    async def _addresses(self, url: httpx.URL) -> list[str]:
        """Look a page's host up; return the addresses that may be connected to (raises ``RecordError``)."""
        entry = self._entry(url)
        if entry is None:
            raise self._refused(url)
        port = url.port or _PORTS[url.scheme]
        try:
            found = await trio.socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise LinkUnread(
                str(url), f"nobody knows the host {shown(url.host)}: {error.strerror}", "check the link"
            ) from None
        addresses = list(dict.fromkeys(str(address[4][0]) for address in found))
        # who writes a host's own name into the configuration means that host, wherever it is
        allowed = [each for each in addresses if not entry.startswith("*.") or _public(each)]
        if not allowed:
            what = f"{shown(url.host)} is in a private network ({addresses[0]})"
            remedy = f"write its own name into [newsroom] link_hosts: {shown(_name(url))}"
            raise RecordError(Problem("url", what, remedy, str(url)[:60]))
        return allowed

    def _entry(self, url: httpx.URL) -> str | None:
        """The entry of the configuration that allows a page's host; None: no entry does."""
        if url.scheme not in _PORTS or not url.host:
            return None
        name = _name(url)
        parts = name.split(".")
        wild = ("*." + ".".join(parts[n:]) for n in range(1, len(parts)))
        return next((entry for entry in (name, *wild) if entry in self.hosts), None)

    def _refused(self, url: httpx.URL) -> RecordError:
        if url.scheme not in _PORTS:
            what, remedy = f"{shown(str(url))} is no web page", _AS_IN
        elif not self.hosts:
            what, remedy = "this node reads no pages", f"write {shown(_name(url))} into [newsroom] link_hosts"
        else:
            known = ", ".join(sorted(self.hosts)[:10])
            what, remedy = f"{shown(_name(url))} is not a host of this newsroom", f"[newsroom] link_hosts has {known}"
        return RecordError(Problem("url", what, remedy, str(url)[:60]))


async def _exchange(stream: trio.abc.Stream, url: httpx.URL) -> LinkMetadata | httpx.URL:
    """Ask for a page, and read its beginning; or return where it redirects to."""
    asking = h11.Connection(h11.CLIENT)
    headers = [("host", url.netloc.decode("ascii")), *_HEADERS]
    await stream.send_all(
        asking.send(h11.Request(method="GET", target=url.raw_path, headers=headers)) + asking.send(h11.EndOfMessage())
    )
    body, answer = bytearray(), None
    while len(body) < LARGEST:
        event = asking.next_event()
        if event is h11.NEED_DATA:
            asking.receive_data(bytes(await stream.receive_some(1 << 16)))
        elif isinstance(event, h11.Response):
            answer = {name.decode("ascii"): value.decode("latin-1") for name, value in event.headers}
            if event.status_code in _REDIRECTS and "location" in answer:
                return url.join(answer["location"])
            if event.status_code != 200:
                raise LinkUnread(str(url), f"{url.host} answers {event.status_code}", _CHECK)
        elif isinstance(event, h11.Data):
            body += event.data
        elif not isinstance(event, h11.InformationalResponse):
            break
    return _page(bytes(body[:LARGEST]), answer or {}, url)


def _page(body: bytes, answer: Mapping[str, str], url: httpx.URL) -> LinkMetadata:
    kind = email.message.Message()
    kind["content-type"] = answer.get("content-type", "text/html")
    if kind.get_content_type() not in _HTML:
        raise LinkUnread(str(url), f"the link leads to {shown(kind.get_content_type(), 40)}, not to a page", _CHECK)
    coding = answer.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "gzip"):
        raise LinkUnread(str(url), f"{url.host} compresses with {shown(coding, 40)}, unasked", _WRITE)
    return read_page(_unpacked(body) if coding == "gzip" else body, kind.get_content_charset(""), str(url))


_AS_IN = "write a link as in https://example.com/story/7"
_CHECK = "check the link"
_WRITE = "write the texts yourself, or try again"


def _name(url: httpx.URL) -> str:
    """A host as the configuration names it: with the port if it is not its scheme's."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    return (host if url.port in (None, _PORTS[url.scheme]) else f"{host}:{url.port}").lower()


def _public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    inner = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
    return found.is_global and not found.is_multicast and (inner is None or inner.is_global)


def _unpacked(packed: bytes) -> bytes:
    """The first ``LARGEST`` bytes of a gzip: however much more it holds, no more is unpacked."""
    try:
        return zlib.decompressobj(31).decompress(packed, LARGEST)
    except zlib.error:
        return b""
