"""A tunnel through an HTTP proxy, by CONNECT (RFC 9110 §9.3.6). TLS inside it is between us and the provider alone."""

from __future__ import annotations

import base64

import h11
import trio

from transports.errors import ConnectionLost
from transports.proxy import Proxy

LARGEST_HEAD = 16 * 1024
"""Bytes of a proxy's answer to CONNECT."""


class Tunnel:
    """The exchange that opens a tunnel, without I/O: send ``request``, give `receive` what comes until it is open."""

    def __init__(self, proxy: Proxy, host: str, port: int) -> None:
        """Raises ``ConnectionLost`` as ``Proxy.login`` does."""
        self._proxy = proxy
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=LARGEST_HEAD)
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._what = f"proxy {proxy}: CONNECT {where}"
        headers = [("host", where)]
        if (login := proxy.login()) is not None:
            both = base64.b64encode(":".join(login).encode()).decode()
            headers.append(("proxy-authorization", f"Basic {both}"))
        self.request = self._h11.send(h11.Request(method="CONNECT", target=where, headers=headers)) or b""
        self.request += self._h11.send(h11.EndOfMessage()) or b""

    def receive(self, data: bytes) -> bool:
        """Take bytes of the proxy, empty at its end; return whether the tunnel is open.

        Raises ``ConnectionLost`` if it will not be.
        """
        if not data:
            raise ConnectionLost(f"{self._what}: the proxy has closed the connection")
        try:
            self._h11.receive_data(data)
            event = self._h11.next_event()
        except h11.RemoteProtocolError as error:
            raise ConnectionLost(f"{self._what}: the answer is not HTTP ({error})") from None
        if not isinstance(event, h11.Response):
            return False
        if not 200 <= event.status_code < 300:
            raise ConnectionLost(f"{self._what}: {self._refused(event)}")
        if self._h11.trailing_data[0]:
            raise ConnectionLost(f"{self._what}: the proxy sends data of its own into the tunnel")
        return True

    def _refused(self, answer: h11.Response) -> str:
        status, reason = answer.status_code, answer.reason.decode("ascii", "replace")[:60]
        if status == 407:
            given = "other credentials" if self._proxy.login() else "credentials"
            return f"407, it wants {given}: put user:password into [network] proxy_credentials"
        hint = {403: "; let it allow this host and port", 405: "; let it allow CONNECT"}.get(status, "")
        return f"{status} {reason}".strip() + hint


async def open_tunnel(proxy: Proxy, host: str, port: int) -> trio.SocketStream:
    """Connect to ``host`` through a proxy. Raises ``ConnectionLost``, which names the proxy."""
    tunnel = Tunnel(proxy, host, port)
    try:
        stream = await trio.open_tcp_stream(proxy.host, proxy.port)
    except OSError as error:
        raise ConnectionLost(f"proxy {proxy}: {error}") from error
    try:
        await stream.send_all(tunnel.request)
        while not tunnel.receive(await stream.receive_some(LARGEST_HEAD)):
            pass
    except trio.BrokenResourceError:
        await trio.aclose_forcefully(stream)
        raise ConnectionLost(f"proxy {proxy}: the proxy has closed the connection") from None
    except BaseException:
        await trio.aclose_forcefully(stream)
        raise
    return stream
