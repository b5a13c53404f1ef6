"""A whole ring on this machine: nodes, each with its own queue, and a store with a read replica.

Only the addresses differ from a ring on N servers: the files that it writes (``node-1/broadside.toml``,
``store-1/settings.json``) are the ones that each server would have.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.ports import free_ports
from broadside.api.api_client import Client
from broadside.api.subscriber import MAX_SUBSCRIBERS, Subscriber
from broadside.datafolder import DataFolder
from broadside.errors import BroadsideError
from storage import admin
from storage.tarantool_program import tarantool
from storage.whole_file import write_whole

CHANNELS = {"android-news": ("fcm", "example-news"), "ios-news": ("apns", "com.example.news")}
START_DEADLINE = 60.0
"""Seconds in which one server must be up."""


class ClusterError(BroadsideError):
    """A part of the ring has failed; the text has the end of its output."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a part of the ring runs: its server's address, and the prefix of a command that runs there."""

    address: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()


class Process:
    """A child process that writes into a file, and can be killed and started again."""

    def __init__(self, name: str, folder: Path, command: list[str]) -> None:
        self.name = name
        self.folder = folder
        self.command = command
        self.output = folder / "output"
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def start(self) -> None:
        """Start it; its earlier output stays in the file."""
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    def running(self) -> bool:
        """Whether it runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> None:
        """End it by SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(10)

    def stop(self, within: float = 60.0) -> None:
        """Stop it by SIGTERM; kill it if it still runs after ``within`` seconds."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()

    def until(self, look: Callable[[], Any], what: str, seconds: float = START_DEADLINE) -> Any:
        """Call ``look`` until it returns something (ClusterError if the process ends or it takes too long)."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            if not self.running():
                raise ClusterError(f"{self.name} ended: {self.last_words()}")
            time.sleep(0.05)
        raise ClusterError(f"{self.name}: no {what} within {seconds:g} s: {self.last_words()}")

    def last_words(self) -> str:
        """The end of its output."""
        return self.output.read_text(errors="replace")[-1500:].strip() if self.output.exists() else ""


class StoreServer(Process):
    """The store's master, or a read replica: a Tarantool of its own.

    ``others``: host:port of each other instance; ``hosts``: the servers that may connect.
    """

    def __init__(
        self,
        folder: Path,
        port: int,
        others: list[str],
        *,
        master: bool,
        memory: int,
        place: Place | None = None,
        hosts: Iterable[str] = (),
        failover: str = "manual",
    ) -> None:
        program = tarantool()
        if program is None:
            raise ClusterError("tarantool is not installed (./dev setup installs it)")
        self.port = port
        self.socket = folder / "data" / "admin.sock"
        settings = folder / "settings.json"
        place = place or Place()
        super().__init__(folder.name, folder, [*place.prefix, program, str(admin.SERVER), str(settings)])
        wanted: dict[str, Any] = {
            "role": "store",
            "data": str((folder / "data").absolute()),
            "listen": f"{place.address}:{port}",
            "hosts": list(hosts),
            "password_file": str((folder.parent / "store.password").absolute()),
            "memory": memory,
        }
        if others:
            wanted["replication"] = {
                "others": others,
                "password_file": str((folder.parent / "replication.password").absolute()),
                "master": master,
                "failover": failover,
            }
        settings.write_text(json.dumps(wanted, indent=2))

    def begin(self) -> None:
        """Start it and wait until it serves."""
        self.socket.unlink(missing_ok=True)
        self.start()
        self.until(self._serves, "answer")

    def _serves(self) -> bool:
        with contextlib.suppress(OSError):
            self.ask("status")
            return True
        return False

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask through its admin socket."""
        return admin.ask(self.socket, command, **arguments)


class ClusterNode(Process):
    """One node with its own queue and its own twins."""

    def __init__(self, folder: Path, toml: str, place: Place | None = None) -> None:
        config = folder / "broadside.toml"
        prefix = place.prefix if place else ()
        command = [*prefix, sys.executable, "-m", "broadside.cli", "node", "--config", str(config), "--no-demo"]
        super().__init__(folder.name, folder, command)
        config.write_text(toml)
        self.data = DataFolder(folder / "var")
        self._begun = 0

    def begin(self, within: float = START_DEADLINE) -> None:
        """Start it and wait until it serves, for at most ``within`` seconds."""
        self.start()
        self.served(within)

    def start(self) -> None:
        """Start it."""
        self._begun = self.output.stat().st_size if self.output.exists() else 0
        super().start()

    def served(self, within: float = START_DEADLINE) -> None:
        """Wait until it serves, for at most ``within`` seconds."""
        self.until(lambda: b"serving;" in self.output.read_bytes()[self._begun :], "service", within)

    def client(self) -> Client:
        """A client of its API."""
        return Client.of(self.data)

    def script(self, text: str) -> None:
        """Set how its twins answer; call it before the first start."""
        self.data.create()
        for platform in ("apns", "fcm"):
            (self.data.twins / f"{platform}.script.toml").write_text(text)

    def children(self, pattern: str) -> list[int]:
        """Ids of its child processes whose command line has ``pattern`` in it."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError, IndexError, ValueError):
                parent = int(stat.read_text().rpartition(")")[2].split()[1])
                command = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if parent == self.pid and pattern in command:
                    found.append(int(stat.parent.name))
        return found

    def kill(self) -> None:
        """SIGKILL for the node and for all that it runs, as when the server loses its power."""
        if self.process is None:
            return
        pids = self.children("")
        super().kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def pushes(self) -> Counter[str]:
        """The pushes that its twins accepted, by token."""
        accepted: Counter[str] = Counter()
        for path in self.data.twins.glob("*.ledger"):
            whole, _, _ = path.read_bytes().rpartition(b"\n")  # the twin may be writing the next line
            accepted.update(line.split(b'"token":"', 1)[1].split(b'"', 1)[0].decode() for line in whole.splitlines())
        return accepted


class Cluster:
    """A ring of ``nodes`` nodes, and a store of ``stores`` instances, the first of which is the master.

    Args:
        folder: where everything goes; it is created.
        nodes: how many.
        stores: 1, or more with read replicas: the second is the replica nearest to node-2.
        memory: bytes for each store.
        workers: of each node; None: one for each core.
        wires: (from node, to, port) → another port, for connections through a proxy; ``to`` is ``store`` or the
            other node's name.
        places: the servers, if they are not all this one: node 1 and store 1 run on the first, and so on.
        quiet: the newsroom's quiet hours, or ``off``.
        failover: of the store: ``manual``, or ``raft``, for which three instances are needed.
        tables: more of each node's configuration, in TOML.
    """

    def __init__(
        self,
        folder: Path,
        *,
        nodes: int = 2,
        stores: int = 2,
        memory: int = 1 << 30,
        workers: int | None = None,
        wires: Callable[[str, str, int], int] = lambda node, to, port: port,
        places: Sequence[Place] = (),
        quiet: str = "off",
        failover: str = "manual",
        tables: str = "",
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in ("store", "peers", "replication"):
            write_whole(folder / f"{name}.password", secrets.token_urlsafe(24).encode() + b"\n")
        ports = free_ports(nodes + stores)
        self.queue_ports = {f"node-{n + 1}": port for n, port in enumerate(ports[:nodes])}
        store_ports = ports[nodes:]
        self._places = [*places, *[Place()] * (max(nodes, stores) - len(places))]
        uris = [f"{place.address}:{port}" for place, port in zip(self._places, store_ports, strict=False)]
        self.stores = [
            StoreServer(
                folder / f"store-{n + 1}",
                port,
                [uri for other, uri in enumerate(uris) if other != n],
                master=n == 0,
                memory=memory,
                place=self._places[n],
                hosts=self._hosts(),
                failover=failover,
            )
            for n, port in enumerate(store_ports)
        ]
        self._wires = wires
        self._quiet = quiet
        self._tables = tables
        self._workers = f"workers = {workers}\n" if workers else ""
        self.nodes = [
            ClusterNode(folder / name, self._toml(n, name), self._places[n]) for n, name in enumerate(self.queue_ports)
        ]

    def _hosts(self) -> list[str]:
        """The servers of the ring, which may connect to the stores and queues."""
        return sorted({place.address for place in self._places})

    def _toml(self, number: int, name: str) -> str:
        at = [place.address for place in self._places]
        master, *replicas = (store.port for store in self.stores)
        uris = [f'"{at[n]}:{port}"' for n, port in enumerate(replicas, 1)]
        store = [f'uri = "{at[0]}:{self._wires(name, "store", master)}"', 'password_file = "../store.password"']
        if replicas:
            store.append(f"others = [{', '.join(uris)}]")
            if number:
                store.append(f"replica = {uris[(number - 1) % len(uris)]}")
        text = f'[newsroom]\nquiet = "{self._quiet}"\n\n[guards]\nrepeat = 0\n\n[supervision]\nspare = false\n\n'
        text += f'[node]\nname = "{name}"\n{self._workers}\n[http]\nbind = "127.0.0.1:0"\n\n[store]\n' + "\n".join(
            store
        )
        text += f'\n\n[queue]\nembedded = true\nlisten = "{at[number]}:{self.queue_ports[name]}"\n'
        text += f"hosts = {json.dumps(self._hosts())}\n"
        text += 'peers_password_file = "../peers.password"\n'
        for n, (other, port) in enumerate(self.queue_ports.items()):
            if other != name:
                text += f'\n[[peers]]\nname = "{other}"\nuri = "{at[n]}:{self._wires(name, other, port)}"\n'
                text += 'password_file = "../peers.password"\n'
        for channel, (platform, app) in CHANNELS.items():
            text += f'\n[channels.{channel}]\nplatform = "{platform}"\napp = "{app}"\ntwin = true\n'
        return f"{text}\n{self._tables}\n[demo]\n"

    @property
    def master(self) -> StoreServer:
        """The first store, which is the master until a replica is promoted."""
        return self.stores[0]

    def start(self, within: float = START_DEADLINE) -> None:
        """Start everything: the master first, then what reads from it, then the nodes (``within``: each, seconds)."""
        for store in self.stores:
            store.begin()
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.served(within)

    def stop(self) -> None:
        """Stop everything, the nodes first: they drain."""
        for node in self.nodes:
            if node.running() and node.process is not None:
                node.process.send_signal(signal.SIGTERM)
        for process in (*self.nodes, *reversed(self.stores)):
            process.stop()

    def kill(self) -> None:
        """End everything at once."""
        for process in (*self.nodes, *self.stores):
            process.kill()

    def put(self, rows: Iterable[Subscriber], told: Callable[[int], None] = lambda done: None) -> None:
        """Write subscribers through the first node. ``told``: called with how many are written so far."""
        with self.nodes[0].client() as client:
            chunk: list[Subscriber] = []
            done = 0
            for row in rows:
                chunk.append(row)
                if len(chunk) == MAX_SUBSCRIBERS:
                    client.upsert(msgspec.json.Encoder().encode_lines(chunk))
                    done += len(chunk)
                    chunk = []
                    told(done)
            if chunk:
                client.upsert(msgspec.json.Encoder().encode_lines(chunk))
                told(done + len(chunk))

    def pages(self, campaign: int, store: StoreServer | None = None) -> list[Mapping[str, Any]]:
        """The campaign's page ledger."""
        return list((store or self.master).ask("pages", campaign=campaign))

    def pushes(self) -> Counter[str]:
        """The pushes that the twins of all nodes accepted, by token."""
        return sum((node.pushes() for node in self.nodes), Counter())


def gaps(pages: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is wrong with a campaign's pages: each segment's must follow one another without gap or overlap."""
    wrong = []
    ordered = sorted(pages, key=lambda page: (page["segment"], page["seq"]))
    reached = 0
    for page in ordered:
        if page["from_id"] != reached:
            wrong.append(f"segment {page['segment']} page {page['seq']} begins at {page['from_id']}, not {reached}")
        if page["state"] != "settled":
            wrong.append(f"segment {page['segment']} page {page['seq']} is {page['state']}")
        reached = page["to_id"]
    return wrong
