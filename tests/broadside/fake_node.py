"""A small server that speaks the node's API by a script, and the command line called beside it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest

from broadside import cli
from broadside.api.token_rules import DeviceTokens
from broadside.cli import waiting
from broadside.datafolder import DataFolder, NodeInfo
from broadside.errors import Problem, RecordError
from campaigns.tally import Tally
from tests.broadside.sent_lines import plain, sent

ID = "aaaaabcdefghi"


def tally(**counts: int) -> dict[str, int]:
    return dict.fromkeys(Tally.__struct_fields__, 0) | counts


def report(state: str = "done", delivered: int = 98, **more: Any) -> dict[str, Any]:
    return {
        "id": ID,
        "state": state,
        "message": {"title": "Hot [news]", "body": "Now"},
        "created_at": 1_790_000_000_000,
        "fired_at": 1_790_000_000_000,
        "finished_at": 1_790_000_002_000 if state == "done" else None,
        "start": None,
        "expires_at": None,
        "zone": None,
        "seconds": 2.0,
        "rate": 50.0,
        "active": 2.0,
        "quiet": None,
        "quiet_hours": None,
        "kind": "news",
        "lane": "middle",
        "held": 0,
        "schedule": [],
        "reached": state == "done",
        "walked": True,
        "channels": {"ios": tally(audience=100, delivered=delivered, dead=2, remaining=98 - delivered)},
        "conditions": None,
        "paused_channels": {},
        "questions": {},
        "channel_states": [],
        "reasons": {"ios": {"Unregistered": 2}},
        "texts_version": 0,
        "corrected_by": None,
        "corrects": None,
        "delivery": {},
        "cut": None,
        "unserved": {},
        "notes": [],
        "forecast": None,
        "compared": "",
        "reach": None,
        "herd": None,
        "armed_at": None,
        "approval": None,
        "canary": None,
        "canary_of": None,
        **more,
    }


class UnixServer(ThreadingMixIn, UnixStreamServer):
    """Where the command line looks for a node: a socket in its data folder."""

    daemon_threads = True


class FakeNode:
    """The API, scripted: ``streams`` holds what each call of ``progress`` sends before its connection ends."""

    def __init__(self, folder: DataFolder) -> None:
        self.folder = folder
        self.key = folder.key()
        self.fired: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.asked: list[str] = []
        """The paths of all GET requests."""
        """The idempotency key of each Fire."""
        self.status: dict[str, Any] = {}
        self.ring: list[dict[str, Any]] = []
        self.losses: list[str | dict[str, Any]] = []
        """What becomes of the next Fires: ``lost``, no answer; an error, 503 with it."""
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.streams: list[list[dict[str, Any]]] = [[report("firing", 40), report()]]
        self.verdicts: dict[str, dict[str, Any]] = {}
        self.channels: dict[str, str] = {}
        self.served: list[str] | None = None
        self.hang = threading.Event()
        self.hang.set()
        self.campaigns = [report()]
        self.answered = report("firing", 0)
        """The answer to a Fire."""
        self.forecast: dict[str, Any] = {}
        """The answer to a forecast; `fired` has what was asked."""
        self.zone: str | None = None
        self.asleep = ""
        """Why a Fire needs a yes to `expire_asleep`."""
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                node.get(self)

            def do_POST(self) -> None:
                node.post(self, self.rfile.read(int(self.headers["content-length"])))

            def log_message(self, *args: object) -> None:
                pass

        self.server = UnixServer(str(folder.root / "api.sock"), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()
        self.url = "http://127.0.0.1:1"
        folder.write_node(NodeInfo(pid=os.getpid(), url=self.url, socket="api.sock", started=0))

    def close(self) -> None:
        self.hang.set()
        self.server.shutdown()
        self.server.server_close()
        (self.folder.root / "api.sock").unlink(missing_ok=True)
        self.thread.join()

    def answer(self, to: BaseHTTPRequestHandler, body: Any, status: int = 200) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        to.send_response(status)
        to.send_header("content-length", str(len(raw)))
        to.end_headers()
        to.wfile.write(raw)

    def refuse(self, to: BaseHTTPRequestHandler, status: int, **error: Any) -> None:
        told = {"type": "about:blank", "title": "", "status": status, "field": "", "value": "", "remedy": "", **error}
        self.answer(to, told, status)

    def admitted(self, to: BaseHTTPRequestHandler) -> bool:
        if to.headers.get("authorization") == f"Bearer {self.key}":
            return True
        self.refuse(to, 401, detail="the key is wrong")
        return False

    def get(self, to: BaseHTTPRequestHandler) -> None:
        path, _, query = to.path.partition("?")
        self.asked.append(to.path)
        if path == "/readyz":
            self.answer(to, {"ready": True})
        elif not self.admitted(to):
            pass
        elif path == "/v1/campaigns":
            items = [{**each, "title": each.get("message", {}).get("title", "")} for each in self.campaigns]
            self.answer(to, {"items": items, "next": None})
        elif path == f"/v1/campaigns/{ID}":
            self.answer(to, next(iter(self.campaigns), report()))
        elif path == f"/v1/campaigns/{ID}/progress":
            to.send_response(200)
            to.send_header("connection", "close")
            to.end_headers()
            for line in self.streams.pop(0):
                to.wfile.write(json.dumps(line).encode() + b"\n")
            to.wfile.flush()
            self.hang.wait(20)
            to.close_connection = True
        elif path == "/v1/subscribers/count":
            self.answer(to, {"total": len(self.rows), "channels": {"ios": len(self.rows)}})
        elif path == "/v1/status":
            self.answer(to, self.status)
        elif path == "/v1/ring":
            self.answer(to, {"nodes": self.ring})
        elif path == "/v1/newsroom":
            self.answer(to, {"zone": self.zone, "now": 1_795_906_800_000})
        elif path == "/v1/channels":
            channels = {name: {"platform": platform} for name, platform in self.channels.items()}
            self.answer(to, {"channels": channels, "served": self.served})
        elif path == "/v1/subscribers":
            given = dict(part.split("=") for part in query.split("&"))
            after, limit = int(given["cursor"] or 0), int(given["limit"])
            rows = [{"id": n, **row} for n, row in enumerate(self.rows.values(), 1)][after : after + limit]
            self.answer(to, {"items": rows, "next": str(rows[-1]["id"]) if rows else None})
        else:
            self.refuse(to, 404, detail=f"no campaign {path[-13:]}", remedy="campaign list shows the ids")

    def post(self, to: BaseHTTPRequestHandler, body: bytes) -> None:
        if not self.admitted(to):
            return
        if to.path == "/v1/campaigns":
            wanted = json.loads(body)
            if wanted["channels"] == ["nope"]:
                self.refuse(to, 400, detail='"nope" is no channel', field="channels", remedy="known: ios")
                return
            if wanted.get("dry_run"):
                self.answer(to, {"channels": self.verdicts})
                return
            self.keys.append(to.headers.get("idempotency-key"))
            self.fired.append(wanted)
            if self.asleep and not wanted.get("expire_asleep"):
                self.refuse(to, 409, detail=self.asleep, field="expires", confirm="expire_asleep")
                return
            if self.losses:
                loss = self.losses.pop(0)
                if isinstance(loss, dict):
                    self.refuse(to, 503, **loss)
                to.close_connection = True
                return
            self.answer(to, self.answered, 201)
            return
        if to.path == "/v1/campaigns/forecast":
            self.fired.append(json.loads(body))
            self.answer(to, self.forecast)
            return
        try:
            rows = sent(body)
        except RecordError as error:
            self.refuse(to, 400, detail=str(error), field=error.problem.where)
            return
        for problem in DeviceTokens(self.channels).normalised(rows):
            if isinstance(problem, Problem):
                self.refuse(to, 400, detail=str(problem), field=problem.where)
                return
        before = len(self.rows)
        for row, record in zip(rows, plain(body), strict=True):
            self.rows[row.channel, row.token] = record
        self.answer(to, {"inserted": len(self.rows) - before, "updated": len(rows) - len(self.rows) + before})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataFolder:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(waiting, "_PAUSES", (0.01,))
    return DataFolder(tmp_path / "var")


@pytest.fixture
def node(folder: DataFolder) -> Iterator[FakeNode]:
    with folder.locked():
        fake = FakeNode(folder)
        yield fake
        fake.close()


Said = Callable[..., tuple[int, str, str]]


@pytest.fixture
def broadside(folder: DataFolder, capfd: pytest.CaptureFixture[str]) -> Said:
    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.run(arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return code, out, err

    return call
