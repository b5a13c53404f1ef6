"""A stranger without a key: ``python -m tests.system.knocking SOURCE PORT KIND SECONDS`` knocks at a port here.

It does what needs no key: requests of a protocol that nobody offers, floods, connections that say nothing, or one
octet a second. To ``tarantool`` it speaks IPROTO as the guest. At most so fast, so that it costs a core nothing.
"""

from __future__ import annotations

import base64
import itertools
import socket
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

PAUSE = 0.05
"""Seconds between two knocks."""
HELD = 40
"""Connections that are held open at once."""


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def _field(name: bytes, value: bytes) -> bytes:
    return b"\0" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _head(method: bytes = b"GET", path: bytes = b"/healthz") -> bytes:
    fields = ((b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"))
    return b"".join(_field(name, value) for name, value in fields)


_PLAIN = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0)
_UPGRADE = b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: Upgrade%b\r\nUpgrade: %b\r\n%b\r\n"
_WEBSOCKET = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
HTTP = (
    _PLAIN,
    _PREFACE + _frame(1, 5, 1, _head(path=b"/\xff")),
    _PREFACE + _frame(1, 5, 1, _head(b"G\xffT")),
    _PREFACE + _frame(1, 5, 1, _field(b":method", b"CONNECT") + _field(b":authority", b"x")),
    _PREFACE + _frame(1, 4, 1, _head(b"POST", b"/v1/campaigns")) + _frame(0, 0, 1, b"x" * 1000),
    _PREFACE + _frame(6, 0, 0, b"12345678") * 4000,
    _UPGRADE % (b"/healthz", b", HTTP2-Settings", b"h2c", b"HTTP2-Settings: !!!\r\n"),
    _UPGRADE % (b"/healthz", b", HTTP2-Settings", b"h2c", b"HTTP2-Settings: AAAA\r\n"),
    _UPGRADE % (b"/v1/status", b"", b"websocket", _WEBSOCKET),
    _UPGRADE % (b"/v1/status", b"", b"websocket", _WEBSOCKET) + b"\x81\x85\0\0\0\0hello",
    _UPGRADE % (b"/v1/status", b"", b"websocket", b"Sec-WebSocket-Protocol: \xff\xfe\r\n" + _WEBSOCKET),
    b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /%ff%00%0d%0a HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz/ HTTP/1.1\r\nHost: [::::\r\n\r\n",
    b"POST /v1/campaigns HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /v1/campaigns HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 400\r\n\r\n",
    b"POST /v1/campaigns HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    _PLAIN * 200,
    b"HEAD /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 40_000 + b"\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n\r\n",
    b"GET /v1/status HTTP/1.1\r\nHost: x\r\n",  # and never ends
    b"\x16\x03\x01\x02\0\x01\0",
    b"\0" * 100,
)
"""What a stranger sends to an HTTP port: every second time what everybody may ask."""
_LOOP = b"WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"


def _sql(text: bytes) -> bytes:
    """IPROTO: EXECUTE of a text, with no log-in, so as the guest."""
    body = b"\x82\x40" + b"\xda" + struct.pack(">H", len(text)) + text + b"\x41\x90"
    request = b"\x82\x00\x0b\x01\x01" + body
    return b"\xce" + struct.pack(">I", len(request)) + request


IPROTO = (
    _sql(b"SELECT 1"),
    _sql(_LOOP),
    b"\xce\x7f\xff\xff\xff" + b"x" * 65_536,  # 2 GB are announced
    b"\0" * 100,
    base64.b64decode("gA=="),
)
"""What a stranger sends to a Tarantool."""


def knock(source: str, port: int, messages: tuple[bytes, ...], until: float) -> Iterator[bool]:
    """Knock from ``source`` until that moment (``time.monotonic``): yields whether somebody listened."""
    held: list[socket.socket] = []
    usual, *others = messages
    for message in itertools.cycle(each for other in others for each in (usual, other)):
        if time.monotonic() > until:
            break
        time.sleep(PAUSE)
        with suppress(OSError):
            stranger = socket.create_connection(("127.0.0.1", port), 1.0, (source, 0))
            stranger.setblocking(False)
            with suppress(BlockingIOError):
                stranger.send(message)
            held.append(stranger)
            if len(held) > HELD:
                held.pop(0).close()
            yield True
            continue
        yield False


def main() -> int:
    """Says when it begins, and at the end how often it knocked and how often somebody listened."""
    source, port, kind, seconds = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    print("knocking", flush=True)
    heard = list(knock(source, port, IPROTO if kind == "tarantool" else HTTP, time.monotonic() + seconds))
    print(len(heard), sum(heard))
    return 0


if __name__ == "__main__":
    sys.exit(main())
