"""Which Tarantool runs: the program that ``TARANTOOL`` names, or the one on the PATH; and what its version is worth."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import NamedTuple

OLDEST = (2, 6)
"""The oldest version on which all tests ran."""
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
