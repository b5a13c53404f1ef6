"""docs/new-platform.md, followed: its platform is the example's, a wheel of its own, and a node sends by it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme

from tests.broadside.test_wheel import ROOT, UV, outside, uv

EXAMPLE = ROOT / "examples" / "webhook-platform"
PAGE = ROOT / "docs" / "new-platform.md"
SECRET = "between-us-two"
CONFIGURATION = """
[node]
workers = 2
memory = "128 MB"
[http]
bind = "127.0.0.1:0"
[newsroom]
quiet = "off"
[guards]
repeat = "0"
[drill]
[channels.mail]
platform = "webhook"
app = "news"
origin = "https://localhost:%d"
ca = "ca.pem"
credentials = { secret = "webhook.secret", path = "/push" }
"""
PEOPLE = 300


def test_the_page_has_the_code_of_the_example_and_all_of_it() -> None:
    files = [path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml")]
    shown = dict(
        re.findall(r"`examples/webhook-platform/([\w/.-]+)`:\n\n```(?:python|toml)\n(.*?)```", PAGE.read_text(), re.S)
    )
    assert shown == {path.relative_to(EXAMPLE).as_posix(): path.read_text() for path in files if path.read_text()}
    assert sum(text.count("\n") for text in shown.values()) <= 120


class Receiver:
    """A little HTTPS server that refuses some, as a mail gateway does."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(self._tls)
        self.got: list[dict[str, object]] = []
        self.wrong: list[str] = []
        self.turned_away = 0
        self.port = 0
        self._server: ThreadingHTTPServer | None = None

    def begin(self) -> None:
        """Listen; at the same port as before."""
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                status = receiver.status(self.path, self.headers["authorization"], body)
                self.send_response(status)
                self.send_header("content-length", "0")
                self.close_connection = status == 503
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: object, client_address: object) -> None:
                pass  # the doctor and an ending node only connect

            def shutdown_request(self, request: ssl.SSLSocket) -> None:  # type: ignore[override]
                self.close_request(request)

        self._server = Server(("127.0.0.1", self.port), Handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.allow_reuse_address = True
        self._server.server_bind()
        self._server.server_activate()
        self.port = self._server.server_port
        self._server.socket = self._tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def end(self) -> None:
        """Close the port: the receiver is away."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def status(self, path: str, authorization: str | None, body: dict[str, object]) -> int:
        if path != "/push" or authorization != f"Bearer {SECRET}" or body["app"] != "news":
            self.wrong.append(f"{path} {authorization} {body}")
        to = str(body["to"])
        if to.startswith("refused"):
            return 422
        if self._server is None:
            self.turned_away += 1
            return 503
        self.got.append(body)
        return 200


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    here = tmp_path / "here"
    here.mkdir()
    made = Receiver(here)
    made.begin()
    try:
        yield made
    finally:
        made.end()


@pytest.mark.tarantool
@pytest.mark.skipif(not UV.exists(), reason="uv is not here: ./dev setup installs it")
@pytest.mark.timeout(400)  # two wheels, an environment and eight processes are made
def test_the_example_installs_beside_broadside_and_a_node_sends_by_it(tmp_path: Path, receiver: Receiver) -> None:
    environment = outside(tmp_path)
    example = tmp_path / "example"
    shutil.copytree(EXAMPLE, example, ignore=shutil.ignore_patterns("__pycache__"))  # a build may leave files
    uv("build", "-q", "--wheel", "-o", str(tmp_path), environment=environment)
    uv("build", "-q", "--wheel", "-o", str(tmp_path), str(example), environment=environment)
    (wheel,), (added,) = tmp_path.glob("broadside-*.whl"), tmp_path.glob("webhook_platform-*.whl")
    locked = tmp_path / "locked.txt"
    words = ["--no-dev", "--no-emit-project", "--no-hashes", "-o", str(locked)]
    uv("export", "-q", "--frozen", *words, environment=environment)
    python = ["--python", sys.executable, "--constraints", str(locked)]
    uv("tool", "install", "-q", *python, "--with", str(added), str(wheel), environment=environment)
    program, here = tmp_path / "bin" / "broadside", tmp_path / "here"
    (here / "broadside.toml").write_text(CONFIGURATION % receiver.port)
    secret = here / "webhook.secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)

    def said(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [program, *words], capture_output=True, text=True, cwd=here, env=environment, timeout=120, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def fire(title: str, *words: str) -> dict[str, int]:
        given = ("--title", title, "--body", "of {first_name|today}", "--wait", "--json", *words)
        lines = said("fire", *given).splitlines()
        tally = json.loads(next(line for line in lines if line.startswith("{")))["channels"]["mail"]
        return {name: tally[name] for name in ("delivered", "rejected", "dead")}

    output = here / "output"
    with output.open("wb") as out:
        node = subprocess.Popen([program, "node"], stdout=out, stderr=subprocess.STDOUT, cwd=here, env=environment)
    try:
        wait_for(lambda: "serving;" in output.read_text(), node, output)
        everybody = {f"reader-{number}@example.org" for number in range(PEOPLE)}
        rows = ["channel,token", "mail,refused@example.org", *(f"mail,{each}" for each in sorted(everybody))]
        (here / "base.csv").write_text("\n".join([*rows, "mail,a reader", ""]))
        found = said("subscribers", "import", "base.csv", code=1)
        assert f"{PEOPLE + 1} new, 0 updated, 1 rejected" in found
        assert 'token: "a reader", of channel mail (webhook), has characters that no token of the webhook has' in found
        assert f"localhost:{receiver.port} answers (TLSv1.3, HTTP/1.1)" in said("doctor")
        assert "mail (webhook), default text, awake" in said("campaign", "preview", "--title", "News")
        (here / "options.json").write_text('{"webhook": {"colour": "red"}}')
        refused = said("fire", "--title", "News", "--options", "options.json", code=2)
        assert "message.options.webhook.colour: unknown, for a webhook has no options (remove it)" in refused

        assert fire("News") == {"delivered": PEOPLE, "rejected": 1, "dead": 0}
        assert Counter(each["to"] for each in receiver.got) == Counter(everybody), "everybody once"
        assert {(each["title"], each["body"]) for each in receiver.got} == {("News", "of today")}

        # the receiver is away: nothing is lost meanwhile, and nobody gets it twice afterwards
        receiver.got.clear()
        receiver.end()
        told: list[dict[str, int]] = []
        firing = threading.Thread(target=lambda: told.append(fire("Later news")), daemon=True)
        firing.start()
        wait_for(lambda: receiver.turned_away, node, output)
        assert f"localhost:{receiver.port}: connection refused" in said("doctor", code=1).lower()
        assert not receiver.got
        receiver.begin()
        firing.join(100)
        assert told == [{"delivered": PEOPLE, "rejected": 1, "dead": 0}]
        assert Counter(each["to"] for each in receiver.got) == Counter(everybody), "everybody once"
        assert not receiver.wrong
    finally:
        node.send_signal(signal.SIGTERM)
        assert node.wait(60) == 0
    assert "Traceback" not in output.read_text()


def wait_for(look: object, node: subprocess.Popen[bytes], output: Path) -> None:
    assert callable(look)
    deadline = time.monotonic() + 100
    while not look():
        assert node.poll() is None, output.read_text()
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("group", "theirs", "newer"),
    [
        ("broadside.transports.v2", "version 2", ", or a newer Broadside, which has version 2"),
        ("broadside.transports", "a time before its versions", ""),
    ],
)
def test_a_platform_for_another_version_of_the_contract_is_refused(
    tmp_path: Path, group: str, theirs: str, newer: str
) -> None:
    site = tmp_path / "site"
    shutil.copytree(EXAMPLE / "webhook_platform", site / "webhook_platform")
    (site / "webhook_platform" / "platform.py").write_text("from transports.contract import Gone\n")  # it is not run
    about = site / "webhook_platform-9.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: webhook-platform\nVersion: 9.0\n")
    (about / "entry_points.txt").write_text(f"[{group}]\nwebhook = webhook_platform.platform:PLATFORM\n")
    (tmp_path / "broadside.toml").write_text('[channels.mail]\nplatform = "webhook"\napp = "news"\n')
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "broadside.cli", "node", "--config", "broadside.toml"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 2
    what = f"is written for {theirs} of the platform contract, and this Broadside has version 1"
    remedy = f"install a webhook-platform for version 1{newer}"
    assert f'channels.mail.platform: "webhook" of webhook-platform {what} ({remedy})' in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
