"""The admin socket of a standalone Tarantool server (``storage/lua/server.lua``): one line of JSON each way."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from typing import Any

from storage import socket_path
from storage.embedded import LUA
from storage.errors import AdminRefused

SERVER = LUA / "server.lua"
"""The script that Tarantool runs: ``tarantool SERVER SETTINGS``."""
TIMEOUT = 60.0
"""Seconds for an answer: a promotion, or a new schema over a large base, takes long."""


def ask(path: Path, command: str, **arguments: Any) -> Any:
    """Ask the instance whose admin socket is ``path``.

    Raises:
        OSError: nobody listens there, or this user may not connect.
        AdminRefused: the instance refuses, and says why.
    """
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(TIMEOUT)
        _connect(link, path)
        link.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
        said = b""
        while not said.endswith(b"\n"):
            part = link.recv(1 << 20)
            if not part:
                raise ConnectionResetError("the instance ended before it answered")
            said += part
    answer = json.loads(said)
    if not answer["ok"]:
        raise AdminRefused(str(answer["error"]))
    return answer["result"]


def _connect(link: socket.socket, path: Path) -> None:
    if socket_path.fits(path) or not hasattr(os, "O_PATH"):
        link.connect(str(path))
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        link.connect(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
