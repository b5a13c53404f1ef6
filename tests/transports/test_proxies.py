"""Providers behind an HTTP proxy: pushes, access tokens and the doctor go through it, with TLS from end to end."""

from __future__ import annotations

import base64
import functools
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import h11
import pytest
import trio
import trustme

from broadside.config.config import Config, load
from broadside.doctor import checks
from broadside.errors import ConfigError
from tests.transports.conftest import FAST, fast_backoff
from tests.transports.scripted_peer import Peer
from transports.apns.transport import build
from transports.contract import TransportSettings
from transports.errors import ConnectionLost, CredentialsError
from transports.http1 import post_form
from transports.http2.connection import dial, parse_origin
from transports.proxy import Proxy, parse_proxy
from transports.tls.context import client_context

APPLE, GOOGLE = "api.push.test", "oauth.test"  # names that no DNS knows (RFC 6761)


class ConnectProxy:
    """A real proxy: it leads names of its own to ports of this machine."""

    def __init__(self, leads: dict[str, int], *, wants: str = "", answer: bytes | None = None) -> None:
        self.leads = leads
        self.wants = wants
        """``user:password``."""
        self.answer = answer
        """Sent instead of anything else; empty: it closes."""
        self.asked: list[str] = []
        self.port = 0

    async def serve(self, client: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        while not isinstance(request := connection.next_event(), h11.Request):
            data = await client.receive_some(4096)
            if not data:
                return
            connection.receive_data(data)
        assert request.method == b"CONNECT"
        target = request.target.decode()
        self.asked.append(target)
        given = dict(request.headers).get(b"proxy-authorization", b"").decode()
        if self.answer is not None:
            if self.answer:
                await client.send_all(self.answer)
            return
        if self.wants and given != f"Basic {base64.b64encode(self.wants.encode()).decode()}":
            await client.send_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n")
            return
        server = await trio.open_tcp_stream("localhost", self.leads[target])
        await client.send_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        async with server, trio.open_nursery() as nursery:
            nursery.start_soon(pump, client, server, nursery.cancel_scope)
            nursery.start_soon(pump, server, client, nursery.cancel_scope)


async def pump(source: trio.SocketStream, sink: trio.SocketStream, life: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    life.cancel()


@asynccontextmanager
async def running_proxy(proxy: ConnectProxy) -> AsyncIterator[ConnectProxy]:
    async def serve(client: trio.SocketStream) -> None:
        with trio.move_on_after(20):
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                await proxy.serve(client)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(functools.partial(trio.serve_tcp, serve, 0, host="localhost"))
        proxy.port = listeners[0].socket.getsockname()[1]
        yield proxy
        nursery.cancel_scope.cancel()


def through(proxy: ConnectProxy, **more: Any) -> Proxy:
    return Proxy(host="localhost", port=proxy.port, **more)


@pytest.fixture(scope="module")
def apples_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(APPLE).configure_cert(context)
    context.set_alpn_protocols(["h2"])
    return context


@pytest.fixture
async def apple(start_peer: Any, apples_context: ssl.SSLContext) -> Peer:
    made: Peer = await start_peer(context=apples_context)
    return made


def port_of(peer: Peer) -> int:
    return parse_origin(peer.origin).port


async def test_pushes_go_through_the_proxy_with_tls_from_end_to_end(
    apple: Peer, apns_credentials: dict[str, str], running: Any, make_batch: Any, ca_file: Path
) -> None:
    """E6: a newsroom that reaches the world through a proxy alone. The name is looked up by the proxy."""
    async with running_proxy(ConnectProxy({f"{APPLE}:443": port_of(apple)}, wants="news:s3cret")) as proxy:
        settings = TransportSettings(
            channel="ios",
            platform="apns",
            app="com.example.news",
            credentials=apns_credentials,
            origin=f"https://{APPLE}",
            ca=ca_file,
            proxy=through(proxy, credentials="news:s3cret"),
        )
        async with running(build(settings, timing=FAST, backoff=fast_backoff)) as transport:
            with trio.fail_after(10):
                outcomes = await transport.send(make_batch(20))
        assert outcomes.delivered == 20
        assert set(proxy.asked) == {f"{APPLE}:443"}


async def test_an_access_token_is_fetched_through_the_proxy(authority: trustme.CA, ca_file: Path) -> None:
    """E6: Google's grant takes the same way as the pushes."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(GOOGLE).configure_cert(context)

    async def google(stream: trio.SSLStream[trio.SocketStream]) -> None:
        request = b""
        while b"grant_type=" not in request:
            request += await stream.receive_some(65536)
        await stream.send_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            functools.partial(trio.serve_ssl_over_tcp, google, 0, context, host="localhost", https_compatible=True)
        )
        port = listeners[0].transport_listener.socket.getsockname()[1]
        async with running_proxy(ConnectProxy({f"{GOOGLE}:443": port}, wants="a:b")) as proxy:
            form = {"grant_type": "x"}
            answer = await post_form(f"https://{GOOGLE}/token", form, ca_file, 10, through(proxy, credentials="a:b"))
            assert answer == (200, b"{}")
            with pytest.raises(ConnectionLost, match="407"):
                await post_form(f"https://{GOOGLE}/token", form, ca_file, 10, through(proxy))
        nursery.cancel_scope.cancel()


async def test_new_credentials_in_the_file_are_taken_without_a_restart(
    apple: Peer, ca_file: Path, tmp_path: Path
) -> None:
    """E6: a 407 says what to do; then the next connection succeeds."""
    file = tmp_path / "proxy"
    file.write_text("news:old\n")
    origin, context = parse_origin(f"https://{APPLE}"), client_context(ca_file, alpn=("h2",))
    async with running_proxy(ConnectProxy({f"{APPLE}:443": port_of(apple)}, wants="news:new")) as proxy:
        with pytest.raises(ConnectionLost) as caught:
            await dial(origin, context, 5, through(proxy, credentials_file=str(file)))
        assert str(caught.value) == (
            f"proxy localhost:{proxy.port}: CONNECT {APPLE}:443: 407, it wants other credentials: "
            "put user:password into [network] proxy_credentials"
        )
        assert "old" not in str(caught.value)
        file.write_text("news:new\n")
        stream = await dial(origin, context, 5, through(proxy, credentials_file=str(file)))
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden; let it allow this host and port"),
        (b"HTTP/1.1 405 No\r\n\r\n", "405 No; let it allow CONNECT"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\nmore", "502 Bad Gateway"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n", "the answer is not HTTP"),
        (b"x" * 40_000, "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "sends data of its own"),
        (b"", "closed the connection"),
    ],
)
async def test_a_proxy_that_opens_no_tunnel_is_named_with_the_reason(answer: bytes, said: str, ca_file: Path) -> None:
    """E6"""
    origin, context = parse_origin(f"https://{APPLE}"), client_context(ca_file, alpn=("h2",))
    async with running_proxy(ConnectProxy({}, answer=answer)) as proxy:
        with pytest.raises(ConnectionLost) as caught:
            await dial(origin, context, 5, through(proxy))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"proxy localhost:{proxy.port}")


async def test_a_proxy_that_is_away_or_silent_is_an_outage(ca_file: Path) -> None:
    """E6"""
    origin, context = parse_origin(f"https://{APPLE}"), client_context(ca_file, alpn=("h2",))
    away = Proxy(host="localhost", port=1)
    with pytest.raises(ConnectionLost, match="proxy localhost:1"):
        await dial(origin, context, 5, away)

    class Silent(ConnectProxy):
        async def serve(self, client: trio.SocketStream) -> None:
            await trio.sleep_forever()

    async with running_proxy(Silent({})) as proxy:
        with pytest.raises(ConnectionLost, match="did not answer within"):
            await dial(origin, context, 0.3, through(proxy))


@pytest.mark.parametrize(
    ("bypass", "host", "serves"),
    [
        ("", "api.push.apple.com", True),
        ("", "localhost", False),
        ("", "twin.localhost", False),
        ("", "127.0.0.9", False),
        ("", "::1", False),
        ("", "10.1.2.3", True),
        ("example.org", "example.org", False),
        ("example.org", "api.example.org", False),
        ("example.org", "badexample.org", True),
        (".example.org, internal", "api.EXAMPLE.org.", False),
        (".example.org, internal", "internal", False),
        ("10.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", False),
        ("fd00::/8", "fd12::1", False),
        ("[fd12::1]", "fd12::1", False),
        ("*", "api.push.apple.com", False),
        (",,", "api.push.apple.com", True),
    ],
)
def test_hosts_of_no_proxy_and_this_machine_are_reached_without_it(bypass: str, host: str, serves: bool) -> None:
    """E6: as curl reads NO_PROXY."""
    assert parse_proxy("http://proxy:3128", bypass).serves(host) is serves


@pytest.mark.parametrize(
    ("text", "host", "port", "credentials"),
    [
        ("http://proxy.example.org:3128", "proxy.example.org", 3128, ""),
        ("proxy:3128", "proxy", 3128, ""),
        ("http://proxy/", "proxy", 80, ""),
        ("http://us%40er:p%3Ass@[fd00::1]:8080", "fd00::1", 8080, "us@er:p:ss"),
    ],
)
def test_an_address_of_a_proxy_is_read(text: str, host: str, port: int, credentials: str) -> None:
    """E6"""
    proxy = parse_proxy(text)
    assert (proxy.host, proxy.port, proxy.credentials) == (host, port, credentials)
    assert credentials == "" or credentials not in repr(proxy)


@pytest.mark.parametrize("text", ["https://p:1", "socks5://p:1", "http://", "http://p:99999", "http://p/x", "http://é"])
def test_what_is_no_address_of_a_proxy_is_refused_without_its_password(text: str) -> None:
    """E6"""
    text = text.replace("://", "://user:s3cret@") if "//p" in text else text
    with pytest.raises(CredentialsError, match="proxy") as caught:
        parse_proxy(text)
    assert "s3cret" not in str(caught.value)


CHANNEL = '[channels.ios]\nplatform = "apns"\napp = "com.example.news"\ntwin = true\n'


def read(folder: Path, text: str) -> Config:
    path = folder / "broadside.toml"
    path.write_text(CHANNEL + text)
    return load(path)


def test_the_configuration_names_the_proxy_or_the_environment_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E6"""
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert read(tmp_path, "").proxy is None
    (tmp_path / "login").write_text("news:s3cret")
    (tmp_path / "login").chmod(0o600)
    own = '[network]\nproxy = "http://p:3128"\nno_proxy = ["10.0.0.0/8"]\nproxy_credentials = "login"\n'
    proxy = read(tmp_path, own).proxy
    assert proxy is not None
    assert (str(proxy), proxy.login(), proxy.serves("10.1.1.1")) == ("p:3128", ("news", "s3cret"), False)
    monkeypatch.setenv("https_proxy", "http://u:w@q:8080")
    monkeypatch.setenv("NO_PROXY", "example.org")
    proxy = read(tmp_path, "").proxy
    assert proxy is not None
    assert (str(proxy), proxy.login(), proxy.serves("a.example.org")) == ("q:8080", ("u", "w"), False)
    assert str(read(tmp_path, own).proxy) == "p:3128"
    assert read(tmp_path, '[network]\nproxy = "off"\n').proxy is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('proxy = "https://p:1"', "network.proxy: the proxy is reached by http"),
        ('proxy = "http://u:s3cret@p:1"', "network.proxy: a secret does not belong in the configuration"),
        ('proxy = "http://p:1"\nproxy_credentials = "nowhere"', "network.proxy_credentials: file"),
        ('proxy_credentials = "login"', "network.proxy_credentials"),
        ('proxi = "http://p:1"', 'network.proxi: unknown key (did you mean "proxy"?)'),
    ],
)
def test_a_wrong_network_table_names_the_key_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    """E6"""
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, f"[network]\n{text}\n")
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


async def test_the_doctor_looks_through_the_proxy(apple: Peer, ca_file: Path) -> None:
    """E6"""
    async with running_proxy(ConnectProxy({f"{APPLE}:443": port_of(apple)}, wants="a:b")) as proxy:

        async def reachable(**login: str) -> Any:
            look = functools.partial(checks.reachable, "ios", f"https://{APPLE}", ca_file, through(proxy, **login))
            return await trio.to_thread.run_sync(look)

        good = await reachable(credentials="a:b")
        assert good.ok, good
        bad = await reachable()
        assert not bad.ok
        assert "407, it wants credentials" in bad.text
