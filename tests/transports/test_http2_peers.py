"""The transport against servers that others wrote: nghttpd, nginx and Node. Each must be installed (./dev setup)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import trio

from campaigns.outcome import Outcome

NODE = """
const http2 = require('http2'), fs = require('fs');
const [port, directory] = process.argv.slice(2);
const seen = {};
const server = http2.createSecureServer({
  key: fs.readFileSync(directory + '/server.key'), cert: fs.readFileSync(directory + '/server.pem'),
  settings: { maxConcurrentStreams: 50 },
});
let sessions = [];
server.on('session', session => sessions.push(session));
server.on('stream', (stream, headers) => {
  const path = headers[':path'];
  if (path === '/3/device/aa') { stream.respond({ ':status': 200 }); stream.end(JSON.stringify(seen)); return; }
  let body = '';
  stream.on('error', () => {});
  stream.on('data', chunk => body += chunk);
  stream.on('end', () => {
    const token = path.slice(10), kind = token.slice(-1);
    seen[token] = [headers['apns-topic'], headers['apns-id'], headers['apns-push-type'], headers['authorization'],
                   headers['content-length'], body.length, JSON.parse(body).aps.alert.title];
    const n = Object.keys(seen).length;
    if (n === 150) for (const each of sessions) each.settings({ maxConcurrentStreams: 1, headerTableSize: 0 });
    if (n === 250) for (const each of sessions) each.settings({ maxConcurrentStreams: 80, headerTableSize: 4096 });
    if (n === 350) for (const each of sessions) each.settings({ initialWindowSize: 10 });
    if (n === 400) for (const each of sessions) each.settings({ initialWindowSize: 70000 });
    if (kind === '3') stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    else if (kind === '5') {
      stream.additionalHeaders({ ':status': 103, link: 'x' });
      stream.respond({ ':status': 410, 'content-type': 'a/json', 'x-unique': token }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ done: 'yes' }));
      stream.end('{"reason":"Unregistered","timestamp":12345}');
    } else { stream.respond({ ':status': 200, 'apns-id': headers['apns-id'] }); stream.end(); }
  });
});
server.listen(Number(port), '127.0.0.1');
"""

NGINX = """
daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log crit;
events { worker_connections 64; }
http {
  client_body_temp_path {directory}/1; proxy_temp_path {directory}/2;
  fastcgi_temp_path {directory}/3; scgi_temp_path {directory}/4; uwsgi_temp_path {directory}/5;
  log_format all escape=none '$request_uri $http_apns_topic $http_apns_id $http_apns_push_type $content_length';
  access_log {directory}/access.log all;
  ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;
  keepalive_requests 300;
  server { listen 127.0.0.1:{port} ssl http2; http2_max_concurrent_streams 40;
    location /3/device/ { return 200; }
    location ~ 7$ { return 410 '{"reason":"Unregistered","timestamp":12345}'; }
    location ~ d$ { return 200 'some words'; }
  }
}
"""


@pytest.fixture
def directory(tmp_path, authority):
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_pem.write_to_path(str(tmp_path / "server.key"))
    (tmp_path / "server.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    return tmp_path


class Server:
    """A peer's address, as ``make_apns`` wants it."""

    def __init__(self, port: int, ca: Path) -> None:
        self.port = port
        self.ca = ca

    @property
    def origin(self) -> str:
        return f"https://localhost:{self.port}"


@pytest.fixture
async def serve(ca_file):
    """``server = await serve("nginx", …, "{port}", …)``: runs the program until the test ends."""
    processes = []

    async def start(program, *arguments, files=()):
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
        assert found is not None, f"{program} is missing: ./dev setup installs it"
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for path, text in files:
            path.write_text(text.replace("{port}", str(port)))
        words = [word.replace("{port}", str(port)) for word in arguments]
        environment = {**os.environ, "NODE_OPTIONS": ""}
        process = subprocess.Popen(  # noqa: ASYNC220 - starting takes no time
            [found, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        processes.append(process)
        with trio.fail_after(15):
            while True:
                assert process.poll() is None, f"{program} ended with {process.returncode}"
                try:
                    await (await trio.open_tcp_stream("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await trio.sleep(0.02)
        return Server(port, ca_file)

    yield start
    for process in processes:
        process.terminate()
        process.wait(10)


async def test_node_sees_every_header_of_every_request_through_all_its_whims(
    serve, directory, make_apns, make_batch, running
):
    server = await serve(
        "node", str(directory / "peer.js"), "{port}", str(directory), files=[(directory / "peer.js", NODE)]
    )
    n = 600
    async with running(make_apns(server)) as transport:
        outcomes = await transport.send(make_batch(n))
        fates = Counter(entry.outcome for entry in outcomes.exceptions)
        tokens = [f"{index:064x}" for index in range(n)]
        dead = sum(token.endswith("5") for token in tokens)
        broken = sum(token.endswith("3") for token in tokens)
        assert fates == {Outcome.DEAD: dead, Outcome.UNKNOWN: broken}
        assert {e.unregistered_at for e in outcomes.exceptions if e.outcome is Outcome.DEAD} == {12_345}
        assert outcomes.delivered == n - dead - broken
        connections = [connection.client for connection in transport.pool._connections]
        listing = connections[0].feed
        chunks = []

        def listen(data):
            chunks.append(data)
            return listing(data)

        connections[0].feed = listen
        assert (await transport.send(make_batch(tokens=["aa"]))).delivered == 1
        assert len(connections) == 1
    heard = b"".join(chunks)
    seen = json.loads(_content(heard))
    assert set(seen) == set(tokens)
    for index, token in enumerate(tokens):
        topic, apns_id, push_type, authorization, length, size, title = seen[token]
        assert (topic, push_type, title, int(length)) == ("com.example.news", "alert", "Flood", size)
        assert apns_id == f"00000000-0000-0007-0000-{1_000 + index:012x}"
        assert authorization.startswith("bearer ey")


def _content(frames):
    body, position = b"", 0
    while position < len(frames):
        size = int.from_bytes(frames[position : position + 3], "big")
        if frames[position + 3] == 0:
            body += frames[position + 9 : position + 9 + size]
        position += 9 + size
    return body


async def test_nginx_gets_each_push_once_over_connections_that_it_ends(
    serve, directory, make_apns, make_batch, running
):
    # keepalive_requests 300: nginx says GOAWAY again and again in mid-burst.
    conf = directory / "nginx.conf"
    text = NGINX.replace("{directory}", str(directory))
    server = await serve("nginx", "-p", str(directory), "-c", str(conf), files=[(conf, text)])
    n = 1_500
    async with running(make_apns(server, connections=2)) as transport:
        outcomes = await transport.send(make_batch(n))
    # It closes its socket so soon that its GOAWAY may be lost with it: those pushes are unknown, and rightly so.
    unknown = {e.index for e in outcomes.exceptions if e.outcome is Outcome.UNKNOWN}
    dead = {index for index in range(n) if index % 16 == 7} - unknown
    assert {e.index for e in outcomes.exceptions if e.outcome is Outcome.DEAD} == dead
    assert outcomes.delivered == n - len(dead) - len(unknown)
    lines = [line.split() for line in (directory / "access.log").read_text().splitlines()]
    paths = Counter(line[0] for line in lines)
    assert set(paths.values()) == {1}
    assert {f"/3/device/{index:064x}" for index in range(n) if index not in unknown} <= set(paths)
    for path, topic, apns_id, push_type, length in lines:
        assert (topic, push_type) == ("com.example.news", "alert")
        assert int(apns_id[-12:], 16) == 1_000 + int(path[10:], 16)
        assert int(length) > 50


async def test_nghttpd_reads_every_header_block(serve, directory, make_apns, make_batch, running, tmp_path):
    root = directory / "root" / "3" / "device"
    root.mkdir(parents=True)
    for index in range(0, 600, 2):
        (root / f"{index:064x}").write_text("" if index % 4 else "found")
    server = await serve(
        "nghttpd", "--address=127.0.0.1", "-d", str(directory / "root"), "-m", "30", "-c", "512",
        "{port}", str(directory / "server.key"), str(directory / "server.pem"),
    )  # fmt: skip
    async with running(make_apns(server)) as transport:
        outcomes = await transport.send(make_batch(600))
        assert transport.pool._connections[0].client.stream_limit == 30
    # A file that is not there is a 404 with a page in HTML: not one of Apple's reasons.
    assert outcomes.delivered == 300
    assert {(e.index, e.outcome) for e in outcomes.exceptions} == {(n, Outcome.REJECTED) for n in range(1, 600, 2)}
