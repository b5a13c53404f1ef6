"""Where the queue rock is, if it is installed."""

import functools
import os
import subprocess
from pathlib import Path

from storage.tarantool_program import tarantool

FIND = "local p = package.search and package.search('queue') or ''; print(p); os.exit(0)"


@functools.cache
def rock_path() -> str:
    """The folder above the rock's ``queue/init.lua``; empty without one.

    ``QUEUE_ROCK`` names it; else it is looked for where Tarantool finds its rocks.
    """
    named = os.environ.get("QUEUE_ROCK")
    if named is not None:
        return named
    program = tarantool()
    if program is None:
        return ""
    command = [program, "-e", FIND]
    found = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout.strip()
    path = Path(found)
    return str(path.parent.parent) if path.name == "init.lua" else ""
