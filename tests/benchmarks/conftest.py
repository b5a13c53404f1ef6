"""A small repository with a bench that takes no time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
BENCH = """
import json, sys
assert sys.argv[1] == "--json", sys.argv
print(json.dumps([{"what": "a push", "value": VALUE, "unit": "µs"}, {"what": " ".join(sys.argv[2:]), "value": 1}]))
"""
DEV = f"""#!/bin/sh
mkdir -p .venv/bin && ln -sf {sys.executable} .venv/bin/python && echo "$@" >>.venv/asked
"""


class Repository:
    """Its root, and what changes it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "-q", "-b", "main")
        self.write("dev", DEV).chmod(0o755)
        self.write(".gitignore", "/var/\n.venv/\n__pycache__/\n")
        self.write("benchmarks/__init__.py", "")

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=bench", "-c", "user.email=bench@example.org", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.root), *who, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        return file

    def bench(self, value: str, name: str = "stub") -> None:
        self.write(f"benchmarks/bench_{name}.py", BENCH.replace("VALUE", value))

    def commit(self) -> str:
        self.git("add", "--all")
        self.git("commit", "-q", "--message", "Change the bench")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)
