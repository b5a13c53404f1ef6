"""The embedded Tarantool: how to start it. It runs as a supervised child process of the node."""

from __future__ import annotations

import json
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import EmbeddedUnavailable
from storage.link import Endpoint

LUA = Path(__file__).parent / "lua"

MEMORY = 1 << 30
"""Bytes of memtx arena unless told otherwise: room for about a million subscribers and their batches."""


@dataclass(frozen=True)
class Embedded:
    """One embedded instance: its data folder, its socket, and the password of this run."""

    directory: Path
    channels: Sequence[str]
    roles: Sequence[str] = ("store", "tubes")
    """``store`` and ``tubes`` (the queue), or one of them."""
    listen: str | None = None
    """``host:port`` where peers reach it, and then this node too; None: a Unix socket, for this node alone."""
    hosts: Sequence[str] = ()
    """Addresses or networks that may connect to ``listen``, besides this machine."""
    peer_password: str | None = field(default=None, repr=False)
    """With it the user ``peer`` may hand batons over, and do nothing else."""
    memory: int = MEMORY
    wal_mode: str = "write"
    runtime: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bs-")))
    """A short private folder (0700) for the socket: Unix socket paths end at 107 bytes."""
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def endpoint(self) -> Endpoint:
        """Where and as whom to connect."""
        return Endpoint(self.listen or f"unix/:{self._socket}", "broadside", self.password)

    @property
    def _socket(self) -> str:
        return str(self.runtime / "tarantool.sock")

    @property
    def command(self) -> list[str]:
        """The command line; no secret is in it.

        Raises:
            EmbeddedUnavailable: there is no ``tarantool`` program.
        """
        program = shutil.which("tarantool")
        if program is None:
            raise EmbeddedUnavailable(
                "tarantool is not installed: run `./dev setup`, or install it (Debian: apt-get install tarantool, "
                "macOS: brew install tarantool), or name a server under [store] in broadside.toml"
            )
        return [program, str(LUA / "embedded.lua")]

    @property
    def handshake(self) -> bytes:
        """The line that goes to the instance's standard input. The pipe then stays open: its end stops the instance."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.runtime.mkdir(mode=0o700, exist_ok=True)  # an instance that was left alone has taken it away
        users = [("broadside", self.password, "broadside_verbs")]
        if self.peer_password is not None:
            users.append(("peer", self.peer_password, "broadside_peer"))
        text = json.dumps(
            {
                "lua": str(LUA),
                "directory": str(self.directory.resolve()),
                "listen": self.listen or self._socket,
                "hosts": list(self.hosts),
                "roles": list(self.roles),
                "users": users,
                "channels": list(self.channels),
                "memory": self.memory,
                "wal_mode": self.wal_mode,
            }
        )
        return text.encode() + b"\n"

    def remove_runtime(self) -> None:
        """Delete the socket's folder; call it when the instance has ended."""
        shutil.rmtree(self.runtime, ignore_errors=True)
