"""Fetches a story's web page for an editor, from the newsroom's own hosts alone, and reads what it says of itself.

Where a link may lead, at every redirect too, is decided in broadside/outward/guarded_web.py.
"""

from __future__ import annotations

import email.message
import ssl
import zlib
from collections.abc import Mapping, Sequence

import h11
import httpx
import msgspec
import trio

from broadside.api.bounds import url_problem
from broadside.api.link_records import LinkMetadata
from broadside.errors import Problem, RecordError, shown
from broadside.newsroom.page_metadata import read_page
from broadside.outward.guarded_web import AS_IN, GuardedWeb, LinkUnread
from transports.proxy import Proxy

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


class LinkReader:
    """Reads pages of ``hosts``: ``www.example.com``, ``*.example.com``, each with ``:port`` if it is not the usual."""

    def __init__(self, hosts: Sequence[str], tls: ssl.SSLContext | None = None, proxy: Proxy | None = None) -> None:
        self._web = GuardedWeb(hosts, tls, proxy=proxy)
        self.hosts = self._web.hosts
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
            raise RecordError(Problem("url", f"{shown(url)} is not a link: {error}", AS_IN, url[:60])) from None

    async def _follow(self, url: httpx.URL) -> LinkMetadata:
        for _ in range(1 + MOST_REDIRECTS):
            found = await self._fetch(url)
            if isinstance(found, LinkMetadata):
                # a page that calls itself another site's is not this story
                own = self._web.entry(httpx.URL(found.url)) is not None
                return found if own else msgspec.structs.replace(found, url=str(url))
            url = found
        raise LinkUnread(str(url), f"the page redirects more than {MOST_REDIRECTS} times", _WRITE)

    async def _fetch(self, url: httpx.URL) -> LinkMetadata | httpx.URL:
        """Read one page; or return where it redirects to."""
        try:
            async with await self._web.connected(url) as stream:
                return await _exchange(stream, url)
        except (OSError, trio.BrokenResourceError, h11.RemoteProtocolError) as error:
            why = str(error.__cause__ or error) or type(error).__name__
            raise LinkUnread(str(url), f"{url.host} does not answer as a web server: {why}", _WRITE) from None


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


_CHECK = "check the link"
_WRITE = "write the texts yourself, or try again"


def _unpacked(packed: bytes) -> bytes:
    """The first ``LARGEST`` bytes of a gzip: however much more it holds, no more is unpacked."""
    try:
        return zlib.decompressobj(31).decompress(packed, LARGEST)
    except zlib.error:
        return b""
