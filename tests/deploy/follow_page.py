"""`./dev follow-page`: follows docs/deploy.md word by word, on two servers that are namespaces (root, Linux).

The commands come from the page; what stands in for systemd, apt-get, pip and SSH is in stand_in.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/deploy.md"
STAND_IN = Path(__file__).with_name("stand_in.py")
ADDRESSES = {"first": "10.0.0.5", "second": "10.0.0.6"}
PRIVATE = ("/etc", "/var/lib", "/var/log", "/run", "/opt")
"""Folders that each server has for itself."""


def blocks() -> Iterator[tuple[list[str], str]]:
    """The servers, and the commands, of each block of the page."""
    servers: list[str] = []
    text = PAGE.read_text()
    for found in re.finditer(
        r"^On (both servers|the first server|the second server)\b|^```(sh|toml)\n(.*?)^```", text, re.M | re.S
    ):
        if found[1]:
            servers = {"both servers": ["first", "second"]}.get(found[1], [found[1].split()[1]])
        elif found[2] == "sh":
            yield servers, found[3]


class Server:
    """A server of its own: an address, and folders that nobody else sees."""

    def __init__(self, name: str, base: Path) -> None:
        self.name, self.address = name, ADDRESSES[name]
        self.root = base / self.address
        self.netns = f"bs-{name}-{os.getpid()}"
        for folder in PRIVATE:
            (self.root / folder[1:]).mkdir(parents=True)
        subprocess.run(["cp", "-a", "/etc/.", str(self.root / "etc")], check=True)
        (self.root / "etc/systemd/system").mkdir(parents=True, exist_ok=True)
        shims = self.root / "opt/stand-ins"
        shims.mkdir()
        self.environment = {
            "PATH": f"/opt/stand-ins:{os.environ['PATH']}:/usr/sbin:/sbin", "LANG": "C.UTF-8", "SERVERS": str(base),
            "BROADSIDE": str(Path(sys.executable).parent / "broadside"), "HOME": "/root",
        }  # fmt: skip
        for key in ("systemctl", "apt-get", "scp", "python3"):
            (shims / key).write_text(f'#!/bin/sh\nexec {sys.executable} {STAND_IN} {key} "$@"\n')
            (shims / key).chmod(0o755)
        self.holder: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Make its mount namespace, in its network namespace."""
        lines = ["set -e", *open_to_others(self.root)]
        lines += [f"mount --bind {self.root / folder[1:]} {folder}" for folder in PRIVATE]
        lines += ["echo ready", "exec sleep infinity"]
        command = [
            "ip",
            "netns",
            "exec",
            self.netns,
            "unshare",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            "\n".join(lines),
        ]
        self.holder = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == b"ready\n"

    def run(self, commands: str) -> str:
        """Run a block of the page; returns its output."""
        assert self.holder is not None
        inside = ["nsenter", "-t", str(self.holder.pid), "-m", "-n", f"--wd={ROOT}", "sh", "-e", "-u", "-c", commands]
        done = subprocess.run(inside, env=self.environment, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"on {self.name}:\n{commands}\n{done.stdout}{done.stderr}"
        return done.stdout

    def end(self) -> None:
        for file in (self.root / "run").glob("*.pid"):
            try:
                os.kill(int(file.read_text()), signal.SIGTERM)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline and any(
            Path("/proc", f.read_text()).exists() for f in (self.root / "run").glob("*.pid")
        ):
            time.sleep(0.1)
        if self.holder is not None:
            self.holder.kill()
            self.holder.wait()
            assert self.holder.stdout is not None
            self.holder.stdout.close()


def open_to_others(hold: Path) -> list[str]:
    """Commands that let other users reach this Python and this checkout, where a folder above them is closed."""
    lines, closed = [], []
    wanted = [Path(sys.base_prefix), Path(sys.prefix), ROOT]
    for number, path in enumerate(dict.fromkeys(wanted)):
        above = next((each for each in [*path.parents][::-1] if not each.stat().st_mode & 0o001), None)
        if above is not None:
            held = hold / f"held-{number}"
            held.mkdir()
            lines.append(f"mount --bind {path} {held}")
            closed.append((above, path, held))
    for above in dict.fromkeys(above for above, _, _ in closed):
        lines.append(f"mount -t tmpfs -o mode=755 tmpfs {above}")
    return lines + [f"mkdir -p {path} && mount --bind {held} {path}" for _, path, held in closed]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, Server]]:
    if os.geteuid() != 0:
        pytest.skip("needs root: it makes namespaces")
    base = tmp_path
    for folder in [base, *base.parents]:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    made = {name: Server(name, base) for name in ADDRESSES}
    first, second = made.values()
    try:
        for server in made.values():
            subprocess.run(["ip", "netns", "add", server.netns], check=True)
        subprocess.run(
            [
                "ip",
                "link",
                "add",
                "cable",
                "netns",
                first.netns,
                "type",
                "veth",
                "peer",
                "name",
                "cable",
                "netns",
                second.netns,
            ],
            check=True,
        )
        for server in made.values():
            for line in (f"addr add {server.address}/24 dev cable", "link set cable up", "link set lo up"):
                subprocess.run(["ip", "-n", server.netns, *line.split()], check=True)
            server.begin()
        yield made
    finally:
        for server in reversed(made.values()):
            server.end()
            subprocess.run(["ip", "netns", "delete", server.netns], check=False)


@pytest.mark.tarantool
@pytest.mark.timeout(300)
def test_the_page_leads_from_nothing_to_the_first_fire(servers: dict[str, Server]) -> None:
    said: dict[str, str] = {"first": "", "second": ""}
    ran = 0
    for names, commands in blocks():
        for name in names:
            said[name] += servers[name].run(commands)
            ran += 1
    assert ran >= 15, "the page's blocks are found"
    assert "is done" in said["first"]
    assert "node-2" in said["first"], "the ring knows both nodes"
    assert "reloaded, 1 change" in said["first"]
    pushes = [
        json.loads(line)["token"]
        for server in servers.values()
        for ledger in (server.root / "var/lib/broadside/node/twins").glob("*.ledger")
        for line in ledger.read_text().splitlines()
    ]
    assert len(pushes) == len(set(pushes)) == 3, "each of three phones has got it once"
    owners = {name: (server.root / "var/lib/broadside/node").stat().st_uid for name, server in servers.items()}
    assert all(owners.values()), "no service runs as root"
