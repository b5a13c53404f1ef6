"""Which Tarantool runs: the program that ``TARANTOOL`` names, or the one on the PATH; and what its version is worth."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import NamedTuple

OLDEST = (2, 6)
"""The oldest version on which all tests ran."""
ELECTS = (2, 11)
"""The oldest version whose instances may elect the store's leader."""
ADVICE = (
    "run `./dev setup`, or install it (Debian: apt-get install tarantool, macOS: brew install tarantool; a supported "
    "version: docs/operating.md), or set TARANTOOL to the program's path"
)


class Version(NamedTuple):
    """A Tarantool's version. ``text``: as it prints it."""

    series: tuple[int, int]
    text: str

    @property
    def old(self) -> bool:
        """Whether it is too old for Broadside."""
        return self.series < OLDEST

    @property
    def support(self) -> str:
        """Whether Tarantool's makers support it, in a few words."""
        if self.series >= (3, 0) or self.series == (2, 11):
            return "supported by its makers"
        return "not supported by its makers: good for a trial; 2.11 or 3 is recommended"


def read_version(text: str) -> Version:
    """Read a version as an instance reports it: ``2.11.9-0-g54aebb096``. Raises ``ValueError``."""
    major, minor, *_ = text.split(".")
    return Version((int(major), int(minor)), f"Tarantool {text}")


def support(text: str, failover: str, instances: int) -> str:
    """What a server of the store reports of itself, in words: version, support, and how its master is replaced.

    Args:
        text: its version.
        failover: ``raft`` or ``manual``.
        instances: how many servers the store has, with this one.
    """
    found = read_version(text)
    if instances == 1:
        return f"{found.text}, {found.support}"
    if failover == "raft":
        how = "the servers elect their leader"
    elif found.series < ELECTS:
        how = "a person promotes a replica if the master is lost; from 2.11 on three servers can elect their leader"
    else:
        how = "a person promotes a replica if the master is lost; with failover: raft three servers elect their leader"
    return f"{found.text}, {found.support}; {how}"


class ProgramUnusable(Exception):
    """There is a program, and it is no Tarantool that runs here. The text says why."""


def tarantool() -> str | None:
    """Return the program's path; None if there is none."""
    return shutil.which(os.environ.get("TARANTOOL") or "tarantool")


def version(program: str) -> Version:
    """Ask a program for its version. Raises ``ProgramUnusable``."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProgramUnusable(f"{program} does not run: {error}") from None
    found = re.search(r"Tarantool(?: Enterprise)? (\d+)\.(\d+)\S*", answer.stdout)
    if not found:
        raise ProgramUnusable(f"{program} does not print its version")
    return Version((int(found[1]), int(found[2])), found[0])
