"""A node with twins in a folder of its own, and the command line beside it."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import trio

from tests.system.processes import Node, state

CHANNELS = {"ios-news": "apns", "ios-sport": "apns", "android-news": "fcm"}
APPS = {"apns": "com.example.news", "fcm": "example-news"}
SETTINGS = '\n[node]\nworkers = 1\nmemory = "256 MB"\n[http]\nbind = "127.0.0.1:0"\n[newsroom]\nquiet = "off"\n'
SETTINGS += "[guards]\nrepeat = 0\n"
"""One worker: as little as possible runs beside other tests. Port 0: somebody may be at the usual one. No quiet hours:
the zones of imported phones would hold the campaigns."""
TWINS = SETTINGS + "".join(
    f'[channels.{name}]\nplatform = "{platform}"\napp = "{APPS[platform]}"\ntwin = true\nconnections = 1\n'
    for name, platform in CHANNELS.items()
)
TRIED = 3
"""Phones of each channel that get the messages."""


class Differs(Exception):
    """The product does something else than the file's row says."""


class Input(NamedTuple):
    """A file to try."""

    path: Path
    content: bytes

    @property
    def name(self) -> str:
        """Its name, without what follows the first dot."""
        return self.path.name.partition(".")[0]


class Said(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def must(holds: object, what: str) -> None:
    """Raise ``Differs`` with ``what`` unless it holds."""
    if not holds:
        raise Differs(what)


def phones(channel: str, count: int, *, first: str = "") -> list[dict[str, str]]:
    """``count`` phones of ``channel``, whose tokens begin with ``first`` if the platform's tokens can."""
    if CHANNELS.get(channel) == "fcm":
        return [{"channel": channel, "token": f"c{n:020d}:APA91b{'x' * 120}"} for n in range(count)]
    return [{"channel": channel, "token": f"{first}{n:0{64 - len(first)}x}"} for n in range(count)]


class Lab(Node):
    """One node. ``var`` is its data folder, as where nothing else is configured."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        super().__init__(folder, {})
        self.folder = folder
        self.config = folder / "broadside.toml"
        self.data = folder / "var"

    async def cli(self, *words: str) -> Said:
        """Call ``broadside`` in the node's folder. It must never answer with a traceback."""
        command = [sys.executable, "-m", "broadside.cli", *words]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False, cwd=self.folder)
        said = Said(done.returncode, done.stdout.decode(), done.stderr.decode())
        must("Traceback" not in said.out + said.err, f"a traceback: {said.err[-300:]}")
        return said

    async def send(self, body: bytes, path: str = "/v1/campaigns") -> tuple[int, Any]:
        """Post bytes to the API as they are; returns the status and the decoded answer."""
        info = json.loads((self.data / "node.json").read_text())
        headers = {"authorization": f"Bearer {(self.data / 'api.key').read_text().strip()}"}
        async with httpx.AsyncClient(timeout=60, trust_env=False, headers=headers) as client:
            answer = await client.post(info["url"] + path, content=body)
        kind = answer.headers.get("content-type", "")
        must("json" in kind, f"{answer.status_code} in {kind or 'nothing'}, not in JSON: {answer.text[:80]}")
        return answer.status_code, answer.json()

    async def add(self, rows: Sequence[dict[str, str]]) -> None:
        """Register phones."""
        for begin in range(0, len(rows), 5_000):
            body = b"".join(json.dumps(row).encode() + b"\n" for row in rows[begin : begin + 5_000])
            status, answer = await self.send(body, "/v1/subscribers/bulk")
            must(status == 200 and not answer.get("refused"), f"the phones are refused: {answer}")

    async def fire(self, message: dict[str, Any] | None = None) -> str:
        """Fire a campaign; returns its id."""
        body = {"message": message or {"title": "Storm", "body": "Stay inside"}}
        status, answer = await self.send(json.dumps(body).encode())
        must(status == 201, f"the campaign is refused: {answer}")
        return str(answer["id"])

    async def report(self, campaign: str) -> Any:
        """Return a campaign's report."""
        return await self.get(f"/v1/campaigns/{campaign}")

    async def done(self, campaign: str, seconds: float = 60.0) -> Any:
        """Wait until a campaign has ended, and return its report."""
        deadline = trio.current_time() + seconds
        while trio.current_time() < deadline:
            report = await self.report(campaign)
            if report["state"] == "done":
                return report
            await trio.sleep(0.02)
        raise Differs(f"the campaign is not done after {seconds:g} s: {report['state']}, {report['channels']}")

    async def count(self) -> int:
        """Count the base."""
        return int((await self.get("/v1/subscribers/count"))["total"])

    def accepted(self, platform: str) -> list[str]:
        """Return the tokens of all pushes that a twin accepted."""
        ledger = self.data / "twins" / f"{platform}.ledger"
        if not ledger.exists():
            return []
        return [json.loads(line)["token"] for line in ledger.read_text().splitlines()]

    def family(self) -> list[int]:
        """Return the process ids of the node and of all its descendants."""
        found = [self.pid]
        for pid in found:
            for task in Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in task.read_text().split()]
        return found

    async def end(self) -> None:
        """Stop the node; kill whatever is left after a minute."""
        family = self.family() if self.running else []
        self.signal(signal.SIGTERM)
        try:
            if self.running:
                await self.ended(60)
        finally:
            for pid in family:
                if state(pid) != "Z":
                    os.kill(pid, signal.SIGKILL)


class Labs:
    """The nodes of one call, in ``folder``. Most files share one. ``files``: all that are there, by their names."""

    def __init__(self, folder: Path, files: Mapping[str, Path]) -> None:
        self.folder = folder
        self.files = files
        self._shared: Lab | None = None
        self._tries = 0

    async def shared(self) -> Lab:
        """The node with all channels as twins, and a few phones on each; started when it is first asked for."""
        if self._shared is None:
            self._tries += 1
            lab = self.new(f"shared-{self._tries}", TWINS)
            try:
                await lab.start()
                for channel in CHANNELS:
                    await lab.add(phones(channel, TRIED))
                self._shared = lab
            finally:
                if self._shared is None:
                    with trio.CancelScope(shield=True):
                        await lab.end()
        return self._shared

    def new(self, name: str, config: str) -> Lab:
        """Make the folder of a node with this configuration, and start nothing yet."""
        lab = Lab(self.folder / name)
        lab.config.write_text(config)
        return lab

    @asynccontextmanager
    async def started(self, name: str, config: str, script: tuple[str, str] | None = None) -> AsyncIterator[Lab]:
        """A node of its own. ``script``: a platform, and what its twin answers."""
        lab = self.new(name, config)
        if script is not None:
            twins = lab.data / "twins"
            lab.data.mkdir(mode=0o700)
            twins.mkdir(mode=0o700)
            (twins / f"{script[0]}.script.toml").write_text(script[1])
        try:
            await lab.start()
            yield lab
        finally:
            with trio.CancelScope(shield=True):
                await lab.end()

    async def end(self) -> None:
        """Stop the shared node."""
        if self._shared is not None:
            await self._shared.end()
