"""The admin socket of a standalone Tarantool server (``storage/lua/server.lua``): one line of JSON each way."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from storage import socket_path
from storage.embedded import LUA
from storage.errors import AdminRefused

SERVER = LUA / "server.lua"
"""The script that Tarantool runs: ``tarantool SERVER SETTINGS``."""
TIMEOUT = 60.0
"""Seconds for an answer: a promotion, or a new schema over a large base, takes long."""


LOOK_EVERY = 0.2
"""Seconds between two calls of ``meanwhile``."""


def ask(path: Path, command: str, **arguments: Any) -> Any:
    """Ask the instance whose admin socket is ``path``.

    Raises:
        OSError: nobody listens there, or this user may not connect.
        AdminRefused: the instance refuses, and says why.
    """
    with asked(path, command, **arguments) as result:
        return result


@contextmanager
def asked(
    path: Path, command: str, timeout: float = TIMEOUT, meanwhile: Callable[[], None] | None = None, **arguments: Any
) -> Iterator[Any]:
    """The same, and stay connected: what the instance holds for this client it holds until the block ends.

    ``meanwhile`` is called while the answer is awaited, at most ``timeout`` seconds.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(TIMEOUT)
        _connect(link, path)
        link.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
        answer = json.loads(_line(link, time.monotonic() + timeout, meanwhile))
        if not answer["ok"]:
            raise AdminRefused(str(answer["error"]))
        yield answer["result"]


def _line(link: socket.socket, deadline: float, meanwhile: Callable[[], None] | None) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        link.settimeout(max(0.001, left if meanwhile is None else min(left, LOOK_EVERY)))
        try:
            part = link.recv(1 << 20)
        except TimeoutError:
            if meanwhile is None or time.monotonic() > deadline:
                raise
            meanwhile()
            continue
        if not part:
            raise ConnectionResetError("the instance ended before it answered")
        said += part
    return said


def _connect(link: socket.socket, path: Path) -> None:
    if socket_path.fits(path) or not hasattr(os, "O_PATH"):
        link.connect(str(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        link.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
