"""`./dev debian [SUITE]`: the README's two commands in a fresh Debian, as a newcomer types them. It needs root.

A clone of this checkout's last commit is put into a chroot that debootstrap makes, with python3 and nothing else. There
`./dev run-node` must get as far as `serving` and stop in order at Ctrl-C; with ``--tests`` `./dev test` must pass, too.
A suite without a package of Tarantool (Debian 13) needs ``--tarantool FILE``, a program that was built elsewhere: it is
copied with those of its libraries that the suite has not.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.deploy.chroot import Chroot, run

ROOT = Path(__file__).parents[2]
PATIENCE = 900.0
"""Seconds until the node must serve, its installation included."""


def say(text: str) -> None:
    print(f"debian: {text}", flush=True)


def put_tarantool(debian: Chroot, program: Path) -> None:
    """Put a program in the root as /opt/tarantool/tarantool, with the libraries that are missing there."""
    home = debian.root / "opt/tarantool"
    home.mkdir(parents=True)
    shutil.copy2(program, home / "program")
    there = debian.shell("ldconfig -p")
    for name, path in re.findall(r"(\S+\.so\S*) => (/\S+)", run("ldd", str(program))):
        if name not in there:
            shutil.copy2(path, home / name)
    (home / "tarantool").write_text('#!/bin/sh\nLD_LIBRARY_PATH=/opt/tarantool exec /opt/tarantool/program "$@"\n')
    (home / "tarantool").chmod(0o755)
    debian.environment["TARANTOOL"] = "/opt/tarantool/tarantool"


def run_node(debian: Chroot) -> None:
    """`./dev run-node`, watched by a person: until it serves, then Ctrl-C."""
    ours, theirs = pty.openpty()
    command = debian.command("exec ./dev run-node", "/root/broadside")
    node = subprocess.Popen(
        command, env=debian.environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    said, began, asked = "", time.monotonic(), False
    while True:
        try:
            said += os.read(ours, 4096).decode(errors="replace")
        except OSError:  # the other end is closed
            break
        if "serving" in said and not asked:
            asked = True
            say(f"it serves after {time.monotonic() - began:.0f} s")
            os.killpg(node.pid, signal.SIGINT)
        if time.monotonic() - began > PATIENCE:
            node.kill()
            raise SystemExit(f"debian: the node did not serve:\n{said[-3000:]}")
    code = node.wait()
    for line in said.splitlines():
        print("   ", re.sub(r"\x1b\[[0-9;?]*\w", "", line)[:160])
    if code or "pushes/s" not in said or "stopped" not in said:
        raise SystemExit(f"debian: exit code {code}")
    say("Ctrl-C: it stopped in order, exit code 0")


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev debian", description=__doc__.partition("\n")[0])
    parser.add_argument("suite", nargs="?", default="bookworm", help="bookworm (12, the default), trixie (13), …")
    parser.add_argument("--tarantool", type=Path, metavar="FILE", help="a program for a suite that has no package")
    parser.add_argument("--tests", action="store_true", help="run ./dev test, too")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="broadside-debian-") as folder:
        say(f"debootstrap {chosen.suite}")
        debian = Chroot(Path(folder) / "root", chosen.suite, include=("python3", "ca-certificates"))
        run("git", "clone", "-q", str(ROOT), str(debian.root / "root/broadside"))
        if chosen.tarantool is not None:
            put_tarantool(debian, chosen.tarantool)
        say("./dev run-node")
        run_node(debian)
        if chosen.tests:
            say("./dev test")
            print(debian.shell("./dev test 2>&1 | tail -n 5", "/root/broadside"))


if __name__ == "__main__":
    main()
