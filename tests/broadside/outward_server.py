"""A small web server of the newsroom's, over loopback: it keeps what it was asked, and answers by a script."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Asked(NamedTuple):
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


Answer = tuple[int, dict[str, str], bytes]


class OutwardServer:
    """``answer``: what a request gets. It can be ended, and started again at the same port. ``tls``: for https."""

    def __init__(
        self,
        answer: Callable[[Asked], Answer] = lambda asked: (200, {}, b"ok"),
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.asked: list[Asked] = []
        self.tls = tls
        self.answer = answer
        self.stall = 0.0
        self.port = port
        self.start()

    def start(self) -> None:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 1 << 16

            def _serve(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, self.rfile.read(length))
                server.asked.append(asked)
                time.sleep(server.stall)
                status, more, body = server.answer(asked)
                self.send_response(status)
                for name, value in more.items():
                    self.send_header(name, value)
                if "content-length" not in more:
                    self.send_header("content-length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_HEAD = do_POST = do_PURGE = _serve  # noqa: N815, the base class's names

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, *args: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        if self.tls is not None:  # the handshake is made by the request's own thread, at its first byte
            self._server.socket = self.tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"http://127.0.0.1:{self.port}" if self.tls is None else f"https://localhost:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()
