"""The embedded Tarantool: how to start it. It runs as a supervised child process of the node."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from storage import socket_path
from storage.endpoint import Endpoint
from storage.errors import EmbeddedUnavailable
from storage.tarantool_program import ADVICE, tarantool

LUA = Path(__file__).parent / "lua"

MEMORY = 1 << 30
"""Bytes of memtx arena by default: room for about a million subscribers and their batches."""


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
    """If set, the user ``peer`` may hand batons over, and do nothing else."""
    memory: int = MEMORY
    wal_mode: str = "write"
    module: str = "bundled"
    """Where the tubes come from: ``bundled``, our own, or ``rock``, Tarantool's ``queue`` rock."""
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def endpoint(self) -> Endpoint:
        """Where to connect, and as which user."""
        return Endpoint(self.listen or f"unix/:{self.socket}", "broadside", self.password)

    @property
    def socket(self) -> Path:
        """The instance's Unix socket: in its data folder, through a short link where that path is too long."""
        path = self.directory.absolute() / "listen.sock"
        return path if socket_path.fits(path) else self.link / path.name

    @property
    def admin(self) -> Path:
        """The socket for `storage.admin`."""
        return self.directory.absolute() / "admin.sock"

    @property
    def link(self) -> Path:
        """The short link to the data folder, in a private folder of its own; always the same for the same data."""
        return socket_path.short_folder(self.directory) / "d"

    @property
    def command(self) -> list[str]:
        """The command line; no secret is in it.

        Raises:
            EmbeddedUnavailable: there is no ``tarantool`` program.
        """
        program = tarantool()
        if program is None:
            raise EmbeddedUnavailable(
                f"tarantool is not installed: {ADVICE}, or name a server under [store] in broadside.toml"
            )
        return [program, str(LUA / "embedded.lua")]

    @property
    def handshake(self) -> bytes:
        """The line that goes to the instance's standard input. The pipe then stays open: its EOF stops the instance."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        linked = self.listen is None and self.socket.parent == self.link
        if linked:
            try:
                socket_path.make_private(self.link.parent)
            except OSError as error:
                raise EmbeddedUnavailable(str(error)) from None
            self.link.unlink(missing_ok=True)
            self.link.symlink_to(self.directory.absolute())
        users = [("broadside", self.password, "broadside_verbs")]
        if self.peer_password is not None:
            users.append(("peer", self.peer_password, "broadside_peer"))
        text = json.dumps(
            {
                "lua": str(LUA),
                "directory": str(self.directory.resolve()),
                "listen": self.listen or str(self.socket),
                "link": str(self.link) if linked else None,
                "hosts": list(self.hosts),
                "roles": list(self.roles),
                "users": users,
                "channels": list(self.channels),
                "memory": self.memory,
                "wal_mode": self.wal_mode,
                "queue_module": self.module,
            }
        )
        return text.encode() + b"\n"

    def remove_runtime(self) -> None:
        """Delete the sockets, and the link to them; call it when the instance has ended."""
        admin = self.directory / "admin.sock"
        for remove in (admin.unlink, self.socket.unlink, self.link.unlink, self.link.parent.rmdir):
            with contextlib.suppress(OSError):
                remove()
