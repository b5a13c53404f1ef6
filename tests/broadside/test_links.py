"""A story's page is read for its editor: quickly, from the newsroom's own hosts alone, from no private network."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from broadside.config.config import load
from broadside.errors import ConfigError, RecordError
from broadside.newsroom import link_reader
from broadside.newsroom.link_reader import LinkReader
from broadside.newsroom.page_metadata import read_page
from broadside.outward.guarded_web import LinkUnread
from storage.link import Link
from tests.broadside.test_fire_once import client
from tests.transports.test_proxies import ConnectProxy, running_proxy, through
from transports.tls.context import client_context

PAGE = """<!doctype html><html><head><title>Storm &amp; rain – The Example</title>
<meta property="og:title" content="Storm: stay   inside">
<meta name="description" content="Schools are closed.">
<meta property="og:image" content="/storm.jpg"><link rel="canonical" href="/story/7">
</head><body><svg><title>logo</title></svg></body></html>"""


class Site:
    """A small web server: it answers every request with what ``answers`` has for its path."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, bytes | None] = {"/story": page(PAGE)}
        self.asked: list[tuple[str, str]] = []

    async def serve(self, stream: trio.abc.Stream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await stream.receive_some()
        lines = head.decode().split("\r\n")
        fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
        path = lines[0].split()[1]
        self.asked.append((path, fields["host"]))
        answer = self.answers[path]
        if answer is None:
            await trio.sleep_forever()
        with trio.move_on_after(30):
            with contextlib.suppress(trio.BrokenResourceError):  # the client has had enough
                await stream.send_all(answer or b"")
        await stream.aclose()


def page(text: str | bytes, status: str = "200 OK", **fields: str) -> bytes:
    body = text.encode() if isinstance(text, str) else text
    given = {"content_type": "text/html; charset=utf-8", **fields}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}connection: close\r\n\r\n".encode() + body


@asynccontextmanager
async def a_site(wrap: Callable[[trio.SocketStream], trio.abc.Stream] = lambda stream: stream) -> AsyncIterator[Site]:
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        found = Site(listener.socket.getsockname()[1])
        nursery.start_soon(trio.serve_listeners, lambda stream: found.serve(wrap(stream)), [listener])
        yield found
        nursery.cancel_scope.cancel()


@pytest.fixture(autouse=True)
def a_starved_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_reader, "WITHIN", 30.0)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with a_site() as found:
        yield found


def reader(site: Site, *hosts: str) -> LinkReader:
    return LinkReader([f"localhost:{site.port}", *hosts])


async def read(site: Site, path: str = "/story", *hosts: str) -> Any:
    return await reader(site, *hosts).read(f"http://localhost:{site.port}{path}")


class Names(trio.abc.HostnameResolver):
    """Names that lead to addresses of the test's."""

    def __init__(self) -> None:
        self.known: dict[str, str] = {}

    async def getaddrinfo(self, host: Any, port: Any, *rest: Any, **more: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (self.known[host.decode()], int(port)))]

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        raise NotImplementedError


@pytest.fixture
async def names() -> dict[str, str]:
    resolver = Names()
    trio.socket.set_custom_hostname_resolver(resolver)
    return resolver.known


async def test_a_page_fills_title_description_picture_and_link(site: Site) -> None:
    """I23.2: the editor pastes a link, and the rest is there."""
    found = await read(site)
    assert (found.title, found.description) == ("Storm: stay inside", "Schools are closed.")
    assert found.url == f"http://localhost:{site.port}/story/7"
    assert found.image == f"http://localhost:{site.port}/storm.jpg"


async def test_only_the_newsrooms_own_hosts_are_asked_at_every_redirect(site: Site) -> None:
    site.answers |= {
        "/moved": page("", "301 Moved", location="/story"),
        "/away": page("", "302 Found", location=f"http://127.0.0.1:{site.port}/story"),
        "/file": page("", "302 Found", location="file:///etc/passwd"),
        "/round": page("", "302 Found", location="/round"),
    }
    assert (await read(site, "/moved")).title == "Storm: stay inside"
    for path in ("/away", "/file"):
        with pytest.raises(RecordError) as refused:
            await read(site, path)
        assert refused.value.problem.where == "url"
    with pytest.raises(RecordError, match=r"\[newsroom\] link_hosts has localhost"):
        await reader(site).read("http://127.0.0.1:1/story")
    with pytest.raises(RecordError, match="this node reads no pages"):
        await LinkReader([]).read("https://www.example.com/")
    with pytest.raises(LinkUnread, match="redirects more than 5 times"):
        await read(site, "/round")
    assert {host for _, host in site.asked} == {f"localhost:{site.port}"}
    assert ("/story", f"localhost:{site.port}") in site.asked


async def test_a_name_below_a_wildcard_never_leads_into_a_private_network(site: Site, names: dict[str, str]) -> None:
    """I23.2: whoever can write a name into a zone must not read the newsroom's own network."""
    private = ["127.0.0.1", "10.0.0.7", "169.254.169.254", "192.168.1.1", "0.0.0.0", "100.64.0.1"]
    links = LinkReader([f"*.example.org:{site.port}", f"cms.example.org:{site.port}"])
    for address in private:
        names["x.example.org"] = address
        with pytest.raises(RecordError, match="is in a private network") as refused:
            await links.read(f"http://x.example.org:{site.port}/story")
        assert refused.value.problem.remedy
    assert site.asked == []
    names["cms.example.org"] = "127.0.0.1"  # named itself: whoever writes it means it
    assert (await links.read(f"http://cms.example.org:{site.port}/story")).title == "Storm: stay inside"
    assert site.asked == [("/story", f"cms.example.org:{site.port}")]


async def test_the_address_that_was_checked_is_the_one_that_is_asked(site: Site, names: dict[str, str]) -> None:
    """I23.2: a name that leads elsewhere at its second look-up wins nothing, and TLS still knows it by its name."""
    authority = trustme.CA()
    context = authority.issue_cert("news.example.org")
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.configure_cert(server)
    async with a_site(lambda stream: trio.SSLStream(stream, server, server_side=True)) as secure:
        secure.answers["/story"] = page(PAGE)
        names["news.example.org"] = "127.0.0.1"
        with authority.cert_pem.tempfile() as pem:
            links = LinkReader([f"news.example.org:{secure.port}"], client_context(Path(pem)))
        found = await links.read(f"https://news.example.org:{secure.port}/story")
        assert found.title == "Storm: stay inside"
        assert secure.asked == [("/story", f"news.example.org:{secure.port}")]
        names["other.example.org"] = "127.0.0.1"
        other = LinkReader([f"other.example.org:{secure.port}"], links._web._tls)
        with pytest.raises(LinkUnread, match="does not answer"):
            await other.read(f"https://other.example.org:{secure.port}/story")


async def test_a_page_that_does_not_come_is_given_up_after_two_seconds(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_reader, "WITHIN", 0.2)
    site.answers["/never"] = None
    with pytest.raises(LinkUnread, match=r"did not come within 0.2 s"):
        await read(site, "/never")


async def test_no_more_than_a_megabyte_is_read_or_unpacked(site: Site) -> None:
    """I23.2: the beginning of a page says all of it."""
    site.answers["/long"] = page(PAGE + "x" * (8 << 20))
    assert (await read(site, "/long")).title == "Storm: stay inside"
    site.answers["/bomb"] = page(gzip.compress(PAGE.encode() + b"x" * (16 << 20), 1), content_encoding="gzip")
    assert (await read(site, "/bomb")).title == "Storm: stay inside"
    late = page("<html>" + " " * (2 << 20) + "<title>too late</title>")
    site.answers["/late"] = late
    assert (await read(site, "/late")).title == ""


async def test_what_is_no_page_is_refused_in_words(site: Site) -> None:
    site.answers |= {
        "/pdf": page(b"%PDF", content_type="application/pdf"),
        "/gone": page("", "404 Not Found"),
        "/br": page("x", content_encoding="br"),
        "/broken": b"nonsense\r\n\r\n",
    }
    for path, said in {"/pdf": "application/pdf", "/gone": "answers 404", "/br": "br", "/broken": "answer"}.items():
        with pytest.raises(LinkUnread, match=said) as failed:
            await read(site, path)
        assert failed.value.remedy


@pytest.mark.parametrize(
    ("body", "charset", "title"),
    [
        ("<title>Größe</title>".encode("latin-1"), "iso-8859-1", "Größe"),
        ('<meta charset="windows-1251"><title>Шторм</title>'.encode("cp1251"), "", "Шторм"),
        ("<title>嵐</title>".encode("utf-8-sig"), "iso-8859-1", "嵐"),
        ("<title>嵐</title>".encode("utf-16"), "", "嵐"),
        ("<title>嵐</title>".encode(), "no-such-charset", "嵐"),
        (b"<title>a \xff b</title>", "hex", "a \ufffd b"),
        (b"<title>a&nbsp;&#x202e;b\n c</title>", "", "a b c"),
        (b"<meta name='twitter:title' content='t'><title>page</title>", "", "t"),
        (b"<title>never closed", "", ""),
        (b"\0\xff<<<!-- <title", "", ""),
    ],
)
def test_a_page_is_read_in_its_own_charset(body: bytes, charset: str, title: str) -> None:
    assert read_page(body, charset, "https://www.example.com/").title == title


def test_an_address_that_no_phone_could_open_is_left_out() -> None:
    found = read_page(
        b'<meta property="og:image" content="javascript:alert(1)"><link rel="canonical" href="http://[">'
        b'<meta name="twitter:image" content="//cdn.example.com/a.jpg">',
        "",
        "https://www.example.com/7",
    )
    assert (found.image, found.url) == ("https://cdn.example.com/a.jpg", "https://www.example.com/7")


async def test_the_api_names_field_value_and_remedy_of_a_link_that_cannot_be_read(own_link: Link) -> None:
    async with client(own_link) as api:
        for url in ("https://www.example.com/", "ftp://x/", "javascript:alert(1)", "not a link", "http://[::1"):
            refused = await api.post("/v1/links/read", json={"url": url})
            assert refused.status_code == 400, refused.text
            told = refused.json()
            assert told["field"] == "url"
            assert told["remedy"]


def test_a_host_in_the_configuration_is_a_host(tmp_path: Path) -> None:
    file = tmp_path / "broadside.toml"
    channel = '[channels.ios]\nplatform = "apns"\napp = "x"\ntwin = true\n'
    file.write_text(f'[newsroom]\nlink_hosts = ["www.example.com", "*.example.org", "[::1]:80", "cms:8080"]\n{channel}')
    assert load(file).newsroom.link_hosts == ("www.example.com", "*.example.org", "[::1]:80", "cms:8080")
    file.write_text(f'[newsroom]\nlink_hosts = ["https://www.example.com/"]\n{channel}')
    with pytest.raises(ConfigError, match=r"newsroom.link_hosts\[0\]"):
        load(file)


async def test_a_page_is_read_through_the_proxy_and_is_the_host_s_that_was_checked(site: Site) -> None:
    """Issue 25.3: behind a proxy the link reader saw nothing. The proxy gets the address that was checked."""
    host = f"news.example.test:{site.port}"  # a name that no DNS knows (RFC 6761)
    async with running_proxy(ConnectProxy({host: site.port})) as proxy:
        links = LinkReader([host], proxy=through(proxy))
        assert (await links.read(f"http://{host}/story")).title == "Storm: stay inside"
        assert (proxy.asked, site.asked) == ([host], [("/story", host)])
        wild = LinkReader([f"*.example.test:{site.port}"], proxy=through(proxy))
        with pytest.raises(LinkUnread, match="nobody knows the host"):
            await wild.read(f"http://{host}/story")
        assert len(proxy.asked) == 1, "a name below a wildcard is looked up here, or not at all"
        none = LinkReader([f"localhost:{site.port}"], proxy=through(proxy))
        assert (await none.read(f"http://localhost:{site.port}/story")).title, "this machine needs no proxy"
        assert len(proxy.asked) == 1


async def test_a_proxy_gets_the_address_and_never_one_of_a_private_network(site: Site, names: dict[str, str]) -> None:
    names |= {"localhost": "127.0.0.1", "x.example.org": "10.0.0.7", "y.example.org": "203.0.113.7"}
    async with running_proxy(ConnectProxy({"203.0.113.7:80": site.port}, answer=b"")) as proxy:
        links = LinkReader(["*.example.org"], proxy=through(proxy))
        with pytest.raises(RecordError, match="is in a private network"):
            await links.read("http://x.example.org/story")
        assert proxy.asked == []
