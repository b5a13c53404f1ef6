"""The sinks for pushes: Debian's nginx, and our own sink that only counts, both pinned to core 0."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trio
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from benchmarks.ports import free_ports
from storage.whole_file import write_whole

CORE = "0"
STREAMS = (100, 1_000)
ECHO = "add_header apns-id $http_apns_id;"
"""As Apple answers, and as aioapns needs it: no two answers are alike."""
FCM_ANSWER = '{"name":"projects/news-1a2b3/messages/0:1500415314455276%31bd1c9631bd1c96"}'
HUAWEI_ANSWER = '{"code":"80000000","msg":"Success","requestId":"174411232263846500200001"}'

_NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log crit;
events {{ worker_connections 512; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/p; fastcgi_temp_path {directory}/f; scgi_temp_path {directory}/s;
  uwsgi_temp_path {directory}/u; ssl_protocols TLSv1.3;
  ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;
  {servers}
}}
"""
_SERVER = """
server {{ listen 127.0.0.1:{port} ssl {http2}; http2_max_concurrent_streams {streams};
  location /3/ {{ {echo} return 200; }}
  location /fcm/ {{ return 201; }}
  location /token {{ return 200 '{{"access_token":"{token}","expires_in":3600}}'; }}
  location /v1/104567891/ {{ default_type application/json; return 200 '{huawei}'; }}
  location /v1/ {{ default_type application/json; return 200 '{answer}'; }}
}}
"""


@dataclass(frozen=True)
class Files:
    """Keys and certificates for one run."""

    directory: Path

    @property
    def ca(self) -> Path:
        return self.directory / "ca.pem"

    @property
    def apns_key(self) -> Path:
        return self.directory / "AuthKey_ABCDE12345.p8"

    @property
    def secret(self) -> Path:
        return self.directory / "secret"

    @property
    def service_account(self) -> Path:
        return self.directory / "service-account.json"

    def make(self, token_port: int) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.ca))
        server = authority.issue_cert("localhost", "127.0.0.1")
        server.private_key_pem.write_to_path(str(self.directory / "server.key"))
        (self.directory / "server.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        write_whole(self.apns_key, _pem(ec.generate_private_key(ec.SECP256R1())))
        account = {
            "type": "service_account",
            "project_id": "news-1a2b3",
            "private_key_id": "key-1",
            "private_key": _pem(rsa.generate_private_key(65537, 2048)).decode(),
            "client_email": "push@news-1a2b3.iam.gserviceaccount.com",
            "token_uri": f"https://localhost:{token_port}/token",
        }
        write_whole(self.secret, b"a-secret-of-nobody")
        write_whole(self.service_account, json.dumps(account).encode())

    def server_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.directory / "server.pem", self.directory / "server.key")
        context.set_alpn_protocols(["h2"])
        return context


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@contextlib.contextmanager
def nginx(directory: Path, core: str | None = CORE) -> Iterator[tuple[Files, dict[tuple[int, str], int]]]:
    """Run nginx; yields its files and a port for each number of streams and "nginx", "echoing", "roomy" or "http1".

    "roomy" allows twice as many streams as its number says: if a stream that has just ended still counts, Go opens
    another connection. "http1" does not speak HTTP/2.
    """
    kinds = [(streams, kind) for streams in STREAMS for kind in ("nginx", "echoing", "roomy", "http1")]
    ports = dict(zip(kinds, free_ports(len(kinds)), strict=True))
    files = Files(directory)
    files.make(ports[kinds[0]])
    token = "ya29.c." + "b0" * 500
    servers = "".join(
        _SERVER.format(
            port=port,
            streams=streams * (2 if kind == "roomy" else 1),
            token=token,
            answer=FCM_ANSWER,
            huawei=HUAWEI_ANSWER,
            http2="" if kind == "http1" else "http2",
            echo=ECHO * (kind == "echoing"),
        )
        for (streams, kind), port in ports.items()
    )
    (directory / "nginx.conf").write_text(_NGINX.format(directory=directory, servers=servers))
    with running(core, "nginx", "-p", str(directory), "-c", str(directory / "nginx.conf")):
        for port in ports.values():
            await_port(port)
        yield files, ports


@contextlib.contextmanager
def counting_sink(directory: Path, streams: int, latency_ms: int, core: str | None = CORE) -> Iterator[int]:
    """Run ``simulators/sink.py`` in a process of its own; yields its port."""
    (port,) = free_ports(1)
    arguments = [str(directory), str(port), str(streams), str(latency_ms)]
    with running(core, sys.executable, "-m", "benchmarks.transport.sinks", *arguments):
        await_port(port)
        yield port


@contextlib.contextmanager
def running(core: str | None, *command: str) -> Iterator[None]:
    """Run a server, pinned to ``core`` if there is one."""
    process = subprocess.Popen([*(["taskset", "-c", core] if core else []), *command])
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def await_port(port: int) -> None:
    """Wait until somebody listens there."""
    for _ in range(1_200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing listens on port {port}")


def _main() -> None:
    from simulators.sink import serve_sink

    directory, port, streams, latency_ms = sys.argv[1:]
    context = Files(Path(directory)).server_context()

    async def serve() -> None:
        await serve_sink(context, streams=int(streams), latency=int(latency_ms) / 1_000, port=int(port))

    trio.run(serve)


if __name__ == "__main__":
    _main()
