"""A house to be set on fire: a node, its base, twins, proxies, and what faults may do to them."""

from __future__ import annotations

import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import trio
import trustme

from benchmarks.ring.cluster import free_ports
from broadside.api.subscriber import Subscriber
from broadside.demo import samples
from simulators.ledger import Entry, read_ledger
from storage.errors import VerbRefused
from storage.link import Link
from storage.store import pack_rows
from storage.whole_file import write_whole
from tests.system import channels
from tests.system.night_hours import Night
from tests.system.past import fill
from tests.system.plan import FEW, LATENCY, STREAMS, Plan
from tests.system.processes import MARK, Failed, Node, Process, Tarantool, Twin, marked, until
from tests.system.proxy import Proxy
from tests.system.trial import Trial

FAKETIME = "faketime/libfaketimeMT.so.1"
"""Below /usr/lib/ARCHITECTURE, where Debian's package puts it."""
ORPHAN_SECONDS = 12.0
"""What outlives a killed node ends by itself: a worker drains for at most 10 s."""
SMALL_DISK = "24m"
SMALL_MEMORY = 64 << 20


class House(Trial):
    """Everything around one run on one node."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        super().__init__(plan, folder)
        environment = {MARK: str(folder)}
        self.channels = channels.of(plan.platforms)
        """Channel → platform."""
        self.twins = {name: Twin(name, channels.APPS[name], folder, environment) for name in plan.platforms}
        self.proxies: dict[str, Proxy] = {}
        self.node = Node(folder, environment)
        self.servers: dict[str, Tarantool] = {}
        """``store`` and ``queue``, where they are not the node's own."""
        self._environment = environment
        self._link: Link | None = None
        self._started = 0.0
        self._nursery: trio.Nursery | None = None
        self._ballast: list[list[object]] = []
        self.node_began = 0.0
        """When the node was first started."""
        self.pipe = -1
        """The reading end of what the node says, where that is a pipe."""
        # whoever knocks while the API starts again knocks at the same door
        self.api_port = free_ports(1)[0] if self.kind.around is not None else 0
        self.queue_port = 0
        """Where the node's own queue listens, if it does."""

    def sample(self) -> Iterator[Subscriber]:
        """The usual base."""
        return samples.subscribers(self.plan.subscribers, self.kind.dead, self.channels)

    @property
    def marked(self) -> dict[str, str]:
        """The environment of a process of this run that is no part of the node."""
        return self._environment

    def healthy(self, platform: str) -> str:
        """The script of a twin that is not sick."""
        return self._script(platform, sick=False)

    def accepted(self) -> int:
        """What all twins have accepted so far."""
        return sum(twin.accepted() for twin in self.twins.values())

    def accepted_by(self, channel: str) -> int:
        """What a channel's twin has accepted so far."""
        return self.twins[self.channels[channel]].accepted()

    async def cli(self, *arguments: str) -> tuple[int, str]:
        """Ask as an operator would: exit code, and what the command printed."""
        command = [sys.executable, "-m", "broadside.cli", *arguments, "--config", str(self.node.config)]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        return done.returncode, (done.stdout + done.stderr).decode(errors="replace")

    def ledger(self) -> dict[str, list[Entry]]:
        """Platform → what its twin accepted."""
        return {
            platform: [self._named(platform, entry) for entry in read_ledger(twin.ledger)]
            for platform, twin in self.twins.items()
        }

    def _named(self, platform: str, entry: Entry) -> Entry:
        """The entry with its phone, and with its campaign, where its platform cannot name that: the last one fired by
        then."""
        if (phone := self.kind.phone) is not None:
            entry = msgspec.structs.replace(entry, token=phone(entry.token))
        if platform not in channels.WITHOUT_CAMPAIGN:
            return entry
        fired = [campaign.id for campaign in self.campaigns if campaign.began <= entry.time]
        return msgspec.structs.replace(entry, collapse=fired[-1] if fired else None)

    def in_flight(self, *platforms: str) -> None:
        """Every push on its way to these platforms may be repeated: as many as their connections have streams."""
        for platform in platforms:
            pushes = (STREAMS * self.kind.connections + FEW) * channels.SERVICES.get(platform, 1)
            self.bound += pushes * channels.GROUPS.get(platform, 1) * self.plan.workers
        self.may_repeat(1, *platforms)

    @asynccontextmanager
    async def suspended(self) -> AsyncIterator[None]:
        """Stop the whole node, as a machine that sleeps. Its leases end meanwhile, so they are counted."""
        async with self.frozen():
            pids = self.queue(), self.node.pid
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            try:
                yield
            finally:
                for pid in pids:
                    os.kill(pid, signal.SIGCONT)

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """Stop the workers, so that the unsettled leases can be counted; they go on when the fault has been done."""
        workers = self.node.workers()
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        try:
            await trio.sleep(0.05)
            self.leased((await self.node.get("/v1/tubes"))["unsettled"])
            yield
        finally:
            for pid in workers:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def tarantool(self) -> int:
        """Its process id."""
        return self.servers["store"].pid if "store" in self.servers else self.queue()

    def queue(self) -> int:
        """The process id of the node's own."""
        return self.node.children("embedded.lua")[0]

    async def start_node(self) -> None:
        """Start the node (again)."""
        self._started = await self.node.start()

    async def gone(self) -> None:
        """After an orderly end nothing of the node may be left."""
        began, limit = trio.current_time(), ORPHAN_SECONDS if self.plan.fault == "kill-node" else 1.0
        with suppress(Failed):
            await until(lambda: not self._orphans(), "end of the last process", limit)
        left = [(pid, _command(pid)) for pid in self._orphans()]
        self.note("gone_s", round(trio.current_time() - began, 2))
        self.law("an ended node leaves no process", not left, f"left after {limit:g} s: {left}")

    async def second_node(self) -> tuple[int, str]:
        """Start another node of the same name at the same store; answers its exit code and words."""
        second = Node(self.folder, self.node.environment, "second")
        text = self.node.config.read_text().replace(str(self.node.data), str(second.data))
        second.config.write_text(text + "\n[queue]\nembedded = true\n")
        command = [".venv/bin/python", "-m", "broadside.cli", "node", "--config", str(second.config)]
        second.spawn(command)
        return await second.ended(60), second.said()

    @asynccontextmanager
    async def impostor(self, port: int) -> AsyncIterator[None]:
        """Someone else at a twin's port, with a certificate that nobody trusts."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trustme.CA().issue_cert("localhost").configure_cert(context)
        context.set_alpn_protocols(["h2"])

        async def shake(stream: trio.SSLStream[trio.SocketStream]) -> None:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                await stream.do_handshake()
            await trio.aclose_forcefully(stream)

        async with trio.open_nursery() as nursery:
            serve = trio.serve_ssl_over_tcp
            await nursery.start(
                lambda task_status: serve(shake, port, context, host="127.0.0.1", task_status=task_status)
            )
            yield
            nursery.cancel_scope.cancel()

    def fill_disk(self) -> Callable[[], None]:
        """Fill the small disk under the Tarantool; answers what empties it."""
        ballast = Path(f"/proc/{self.node.pid}/root{self.node.data}/tarantool/ballast")
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        return ballast.unlink

    async def fill_memory(self, seconds: float = 0.0) -> None:
        """Write ballast until the store has no room, and for so many seconds more whenever it has some again."""
        fields = {f"f{n}": "x" * 1024 for n in range(40)}

        async def fill() -> None:
            with suppress(VerbRefused):
                while True:  # a megabyte at a time: the store looks at its memory once a call
                    first = len(self._ballast)
                    rows: list[list[object]] = [
                        ["ballast", f"b{first + n}", "token", samples.REGISTERED, "", "", "", "", "", None, [], fields]
                        for n in range(25)
                    ]
                    await self.direct("store.subscribers_put", *pack_rows(rows))
                    self._ballast += rows

        async def go_on() -> None:
            with trio.move_on_after(seconds):
                while True:
                    await trio.sleep(0.2)
                    await fill()

        await fill()
        assert self._nursery is not None
        self._nursery.start_soon(go_on)
        self.note("ballast", len(self._ballast))

    async def free_memory(self) -> None:
        """Remove the ballast."""
        for row in self._ballast:
            await self.direct("store.subscribers_remove", row[0], row[1])
        self._ballast = []

    def set_clock(self, seconds: int) -> None:
        """Set the node's clock so far off."""
        (self.folder / "clock").write_text(f"{seconds:+d}\n")

    async def direct(self, verb: str, *args: Any) -> Any:
        """Call a verb of the run's own store."""
        assert self._link is not None
        return await self._link.call("store", verb, *args)

    async def _build(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        for platform, twin in self.twins.items():
            await twin.start(self._script(platform, sick=False))
            if self.kind.proxies:
                proxy = self.proxies[platform] = Proxy(("127.0.0.1", twin.port))
                await nursery.start(proxy.run)
        for name, wanted in (("store", self.kind.store), ("queue", self.kind.queue)):
            if wanted:
                await self._server(nursery, name)
        if self.kind.full:
            self._small_disk()
        if self.kind.clock:
            self.set_clock(0)
            self.node.environment |= {
                "LD_PRELOAD": _faketime(), "FAKETIME_TIMESTAMP_FILE": str(self.folder / "clock"),
                "FAKETIME_CACHE_DURATION": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            }  # fmt: skip
        if self.kind.defect is not None:
            (self.folder / "defect").mkdir()
            (self.folder / "defect" / "sitecustomize.py").write_text(self.kind.defect(self))
            self.node.environment["PYTHONPATH"] = str(self.folder / "defect")
        if self.kind.night:
            self.night = Night.ahead()
        self.node.config.write_text(self._config())
        if self.kind.sink is not None:
            self._pour(self.kind.sink(self.plan.values))
        self.node_began = trio.current_time()
        await self.start_node()
        self.note("start_s", round(self._started, 2))
        rows = list(self.kind.rows(self.plan) if self.kind.rows else self.sample())
        if self.night is not None:
            self.night.zones = {channels.target(row.token): row.tz for row in rows}
        for start in range(0, len(rows), 2000):
            part = rows[start : start + 2000]
            await self._import([{f: getattr(r, f) for f in r.__struct_fields__ if f != "id"} for r in part])
        if "rows" in self.plan.values:
            await self._poison(self.plan.values["rows"])

    async def _import(self, rows: list[dict[str, Any]]) -> None:
        """Put a part of the base into the store; where old ledgers fill that, as soon as some have left."""
        while True:
            try:
                await self.node.post_lines("/v1/subscribers/bulk", rows)
            except httpx.HTTPStatusError as error:
                if error.response.status_code != 507 or not self.kind.past:
                    raise
                self.note("imports_refused", self.notes.get("imports_refused", 0) + 1)
                await trio.sleep(0.5)
            else:
                return

    def _pour(self, sink: str) -> None:
        """Let all that the node says go there."""
        if sink == "pipe":
            self.pipe, self.node.sink = os.pipe()
        else:
            self.node.sink = os.open(sink, os.O_WRONLY)

    async def _server(self, nursery: trio.Nursery, name: str) -> None:
        small = self.plan.fault == "memory-full" or self.kind.past
        memory = SMALL_MEMORY if small else 256 << 20
        server = self.servers[name] = Tarantool(name, self.folder, self._environment, self.channels, memory)
        if self.kind.past:
            server.proxied, self.node.patience = False, 400.0
            await trio.to_thread.run_sync(fill, server.embedded.directory, memory, self.kind.past)
        await server.start()
        await nursery.start(server.wire.run)
        self.node.environment[server.variable] = server.embedded.password
        if name == "store":
            self._link = Link({"store": server.embedded.endpoint})
            await nursery.start(lambda task_status: self._linked(task_status))
            if self.kind.past:
                (memory,) = await self.direct("store.memory")
                self.note("memory_at_the_start", round(memory["used"] / memory["size"], 2))
                self.law("the store is full of old ledgers when the node starts", memory["full"], f"{memory}")

    async def _linked(self, task_status: trio.TaskStatus[None]) -> None:
        assert self._link is not None
        await self._link.run(task_status.started)

    def _small_disk(self) -> None:
        folder = self.node.data / "tarantool"
        folder.mkdir(parents=True, mode=0o700)
        self.node.data.chmod(0o700)
        mount = f'mount -t tmpfs -o size={SMALL_DISK},mode=700 tmpfs "$0" && exec "$@"'
        self.node.prefix = ["unshare", "--mount", "sh", "-c", mount, str(folder)]

    def _script(self, platform: str, *, sick: bool) -> str:
        extra = first = ""
        if sick and self.kind.script is not None and self.plan.values["platform"] == platform:
            extra = self.kind.script(self.plan.values)
        if sick and self.kind.answers is not None:
            first = self.kind.answers(self.plan, platform).replace("{folder}", str(self.folder))
        # keys of the script itself come before its tables
        top, bracket, tables = extra.partition("[[")
        latency = LATENCY if self.kind.latency is None else self.kind.latency * self.plan.workers
        head = f"seed = {self.plan.seed % 2**31}\nstreams = {STREAMS}\nlatency_ms = {latency}\n{top}"
        return f'{head}\n{first}\n[[rules]]\nprefix = "{samples.DEAD}"\nanswer = "dead"\n\n{bracket}{tables}'

    def _config(self) -> str:
        parts = [
            f'[newsroom]\nquiet = "{"off" if self.night is None else self.night.config}"\n',
            f'[node]\nname = "node-1"\ndata = "{self.node.data}"\nworkers = {self.plan.workers}\n',
            "[guards]\nrepeat = 0\n",
            f'[http]\nbind = "127.0.0.1:{self.api_port}"\n',
        ]
        parts += [server.section() for server in self.servers.values()]
        if self.kind.apart:
            parts.append(f"[queue]\nembedded = true\n{self._listen()}")
        connections = self.kind.connections * self.plan.workers
        for platform, twin in self.twins.items():
            port = self.proxies[platform].port if platform in self.proxies else twin.port
            client = self.kind.client and platform == "huawei"
            parts.append(channels.table(platform, twin.ready, twin.app, port, connections, client=client))
        return "\n".join(parts)

    def _listen(self) -> str:
        """Where the node's own queue can be reached, and by whom: peers come from other addresses of loopback."""
        if not self.kind.queue_port:
            return ""
        (self.queue_port,) = free_ports(1)
        password = self.folder / "peers.password"
        write_whole(password, b"peers of a run under fault\n")
        return f'listen = "127.0.0.1:{self.queue_port}"\nhosts = ["127.0.0.1"]\npeers_password_file = "{password}"\n'

    async def _poison(self, count: int) -> None:
        bad = ["\x00", "a\r\nb: c", "x" * 4096, "../../healthz?", "", "ü" * 40, "0" * 63, "{}", "null", "%00"]
        for n in range(count):
            channel = ("ios", "android")[n % 2]
            token = f"{bad[n % len(bad)]}poison{n}" if n % len(bad) not in (4, 6) else f"poison{n}"
            row = [channel, token, "token", samples.REGISTERED, "\x00", "Nowhere/None", "", "", "", None, [], {}]
            await self.direct("store.subscribers_put", *pack_rows([row]))

    def _orphans(self) -> list[int]:
        ours = {process.pid for process in (*self.twins.values(), *self.servers.values()) if process.running}
        return [pid for pid in marked(str(self.folder)) if pid not in ours]

    async def _clear(self) -> None:
        everything: list[Process] = [self.node, *self.twins.values(), *self.servers.values()]
        for process in everything:
            if process.running:
                process.signal(signal.SIGCONT)
                await process.kill()
        for pid in marked(str(self.folder)):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for server in self.servers.values():
            server.embedded.remove_runtime()


def _faketime() -> str:
    for library in Path("/usr/lib").glob(f"*/{FAKETIME}"):
        return str(library)
    raise Failed(f"{FAKETIME} is missing: apt-get install libfaketime")


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[-60:]
    except OSError:
        return "gone"
