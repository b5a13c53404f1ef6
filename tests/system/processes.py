"""The processes of a run: twins, a Tarantool of its own where one is wanted, and the node, each startable again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
import trio

from storage.embedded import Embedded
from tests.system.proxy import Proxy

MARK = "BROADSIDE_SYSTEM_RUN"
"""An environment variable with the run's folder, which every process of a run inherits: who is left is an orphan."""


class Failed(Exception):
    """A run cannot go on: a process ended, or something that must happen did not."""


async def until(look: Callable[[], Any], what: str, seconds: float = 60.0, every: float = 0.02) -> Any:
    """Wait for the first true answer of ``look`` (Failed after ``seconds``)."""
    deadline = trio.current_time() + seconds
    while trio.current_time() < deadline:
        if found := look():
            return found
        await trio.sleep(every)
    raise Failed(f"no {what} within {seconds:g} s")


def state(pid: int) -> str:
    """The process state letter of ``/proc``; Z for one that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def rss(pid: int) -> int:
    """Resident bytes of a process; 0 for one that is gone."""
    try:
        return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) << 10
    except (OSError, IndexError):
        return 0


def _called(pid: int) -> str:
    """A process's name, which a worker gets with its settings; empty: it is gone."""
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def marked(folder: str) -> list[int]:
    """Every living process of the run in ``folder``.

    Tarantool writes its title over its environment, and is known by the folder that it works in.
    """
    found = []
    needle = f"{MARK}={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inherited = needle in (process / "environ").read_bytes().split(b"\0")
            ours = inherited or _within(str((process / "cwd").readlink()), folder)
            if ours and state(int(process.name)) != "Z":
                found.append(int(process.name))
        except OSError:
            continue
    return found


def _within(path: str, folder: str) -> bool:
    return f"{path}/".startswith(f"{folder}/")


class Process:
    """One program of a run: started, signalled, started again."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.output = folder / f"{name}.output"
        self.environment = dict(os.environ) | dict(environment)
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def running(self) -> bool:
        """Whether it has been started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def spawn(
        self,
        command: list[str],
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
    ) -> None:
        """Start ``command``; what it says is appended to ``output``."""
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=out if stdout is None else stdout,
                stderr=out if stderr is None else stderr,
                env=self.environment,
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        """Send it a signal."""
        if self.running:
            os.kill(self.pid, number)

    async def ended(self, seconds: float = 60.0) -> int:
        """Wait for its end; answers the exit code."""
        await until(lambda: not self.running, f"end of {self.name}", seconds)
        assert self.process is not None
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        assert self.process.returncode is not None
        return self.process.returncode

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        await self.ended(20)

    def said(self) -> str:
        """All that it has said so far."""
        return self.output.read_text(errors="replace") if self.output.exists() else ""


class Tarantool(Process):
    """A store or a queue that is not the node's own."""

    def __init__(self, name: str, folder: Path, environment: Mapping[str, str], channels: Iterable[str], memory: int):
        super().__init__(name, folder, environment)
        self.embedded = Embedded(folder / name, list(channels), memory=memory)
        self.proxied = True
        """Whether the node reaches it through ``wire``: else our own work does not delay its calls."""
        self.variable = f"BROADSIDE_SYSTEM_{name.upper()}"
        """The environment variable with its password."""
        socket = Path(self.embedded.endpoint.uri.removeprefix("unix/:"))
        self.wire = Proxy(socket, socket.with_name("proxy.sock"))

    async def start(self) -> None:
        """Start it (again) and wait until it serves."""
        self.spawn(self.embedded.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(self.embedded.handshake)
        self.process.stdin.flush()
        if b'"ready":true' not in await trio.to_thread.run_sync(self.process.stdout.readline):
            raise Failed(f"the {self.name} does not start: {self.said()[-400:]}")

    def section(self) -> str:
        """Its table of the node's configuration."""
        uri = f"unix/:{self.wire.listen}" if self.proxied else self.embedded.endpoint.uri
        return f'[{self.name}]\nuri = "{uri}"\npassword_env = "{self.variable}"\n'


class Twin(Process):
    """A provider's twin with its ledger. Its port stays the same from its first start on."""

    def __init__(self, platform: str, app: str, folder: Path, environment: Mapping[str, str]) -> None:
        super().__init__(f"twin-{platform}", folder, environment)
        self.platform = platform
        self.app = app
        self.directory = folder / platform
        self.ledger = folder / f"{platform}.ledger"
        self.script = folder / f"{platform}.script.toml"
        self.port = 0
        self.ready: dict[str, Any] = {}
        self._counted = 0
        self._read = 0

    async def start(self, script: str | None = None) -> None:
        """Start it; ``script`` takes the place of the last one."""
        if script is not None:
            self.script.write_text(script)
        command = [sys.executable, "-m", "simulators.twin", self.platform, "--guard", "--app", self.app]
        command += ["--port", str(self.port), "--directory", str(self.directory), "--ledger", str(self.ledger)]
        command += ["--script", str(self.script)]
        self.spawn(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process is not None
        assert self.process.stdout is not None
        line = await trio.to_thread.run_sync(self.process.stdout.readline)
        if not line:
            raise Failed(f"the {self.platform} twin does not start: {self.said()[-400:]}")
        self.ready = json.loads(line)
        self.port = int(self.ready["port"])

    async def restart(self, script: str | None = None) -> None:
        """End it in an orderly way and start it again."""
        self.signal(signal.SIGTERM)
        await self.ended(30)
        await self.start(script)

    def accepted(self) -> int:
        """Lines in its ledger."""
        if self.ledger.exists():
            with self.ledger.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read += len(new)
            self._counted += new.count(b"\n")
        return self._counted


class Node(Process):
    """The node under test, by ``broadside node`` and its configuration file."""

    def __init__(self, folder: Path, environment: Mapping[str, str], name: str = "node") -> None:
        super().__init__(name, folder, environment)
        self.config = folder / f"{name}.toml"
        self.data = folder / f"{name}-data"
        self.prefix: list[str] = []
        """What stands before the command, as ``unshare``."""
        self.patience = 90.0
        """Seconds within which it serves after its start."""
        self.sink: int | None = None
        """Where all goes that it says: a file descriptor; None: into ``output``."""

    async def start(self) -> float:
        """Start it and wait until it serves; answers the seconds that took."""
        began = trio.current_time()
        info = self.data / "node.json"
        info.unlink(missing_ok=True)
        command = [*self.prefix, sys.executable, "-m", "broadside.cli", "node", "--config", str(self.config)]
        self.spawn(command, stdout=self.sink, stderr=self.sink)
        await self.serving(self.patience)
        return trio.current_time() - began

    async def serving(self, seconds: float) -> None:
        """Wait until it can fire."""
        deadline = trio.current_time() + seconds
        while trio.current_time() < deadline:
            if not self.running:
                raise Failed(f"the node ended: {self.said()[-600:]}")
            if (self.data / "node.json").exists():
                try:
                    if (await self.get("/readyz"))["ready"]:
                        return
                except (httpx.HTTPError, OSError, ValueError):
                    pass
            await trio.sleep(0.03)
        raise Failed(f"the node does not serve within {seconds:g} s: {self.said()[-600:]}")

    async def get(self, path: str, timeout: float = 10.0) -> Any:
        """One answer of the API."""
        return (await self._ask("GET", path, None, timeout)).json()

    async def post(
        self,
        path: str,
        body: Any,
        timeout: float = 60.0,
        headers: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> Any:
        """Send JSON to the API."""
        return (await self._ask("POST", path, body, timeout, headers, url)).json()

    @property
    def port(self) -> int:
        """Where its API listens."""
        return int(json.loads((self.data / "node.json").read_text())["url"].rpartition(":")[2])

    async def post_lines(self, path: str, rows: Iterable[Any]) -> Any:
        """Send one JSON object a line to the API; none of them may be refused."""
        body = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
        answer = (await self._ask("POST", path, body, 60.0)).json()
        if answer.get("refused"):
            raise Failed(f"{path}: lines are refused: {answer['faults'][:3]}")
        return answer

    async def _ask(
        self,
        method: str,
        path: str,
        body: Any,
        timeout: float,
        more: Mapping[str, str] | None = None,
        url: str | None = None,
    ) -> httpx.Response:
        url = url or json.loads((self.data / "node.json").read_text())["url"]
        key = (self.data / "api.key").read_text().strip()
        headers = {"authorization": f"Bearer {key}", **(more or {})}
        async with httpx.AsyncClient(timeout=timeout, trust_env=False, headers=headers) as client:
            named: dict[str, Any] = {"content": body} if isinstance(body, bytes) else {"json": body}
            answer = await client.request(method, url + path, **named)
        return answer.raise_for_status()

    def children(self, pattern: str) -> list[int]:
        """Its child processes whose command line has ``pattern``."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                command = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (OSError, IndexError):
                continue
            if parent == self.pid and pattern in command:
                found.append(int(stat.parent.name))
        return found

    def workers(self) -> list[int]:
        """The process ids of its workers, less the spare."""
        return [pid for pid in self.children("broadside.worker") if _called(pid).startswith("worker-")]
