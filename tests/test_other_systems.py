"""Systems other than Linux: macOS has none of Linux's own names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import importlib, os, pkgutil, select, signal, socket, sys, time

# what we import is Linux's own build of these, which needs the names
import asynctnt, cryptography, cyclopts, h11, h2, httpx, jwt, msgspec, rich.progress, starlette, structlog, trio
import trio_asyncio, trustme, truststore, uuid, subprocess, tempfile, ssl, importlib.metadata, multiprocessing

LINUX = {
    os: "O_PATH O_TMPFILE O_LARGEFILE sched_getaffinity sched_setaffinity eventfd memfd_create pidfd_open splice "
        "copy_file_range getxattr setxattr posix_fadvise posix_fallocate pipe2 setns unshare getrandom",
    time: "CLOCK_BOOTTIME CLOCK_TAI CLOCK_MONOTONIC_RAW pthread_getcpuclockid",
    select: "epoll EPOLLIN",
    signal: "SIGPWR SIGSTKFLT SIGPOLL SIGRTMIN SIGRTMAX sigtimedwait sigwaitinfo",
    socket: "SO_PEERCRED SO_DOMAIN SOCK_CLOEXEC SOCK_NONBLOCK AF_NETLINK AF_ALG TCP_USER_TIMEOUT TCP_QUICKACK SO_MARK",
}
for module, names in LINUX.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)

for root in ("supervision", "campaigns", "transports", "storage", "actors", "simulators", "broadside"):
    package = importlib.import_module(root)
    for found in pkgutil.walk_packages(package.__path__, root + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)

from pathlib import Path
from broadside.config.config import NodeConfig
from broadside.cli import build
from storage import admin
from storage.tubes import suspended
from transports.apns.credentials import elapsed
assert NodeConfig().workers == min(256, os.cpu_count())
assert elapsed() > 0
assert suspended() == 0
build()
try:
    admin.ask(Path("/" + "x" * 120 + "/admin.sock"), "status")
except OSError as error:
    print("done", error)
"""


def test_the_whole_package_is_imported_where_linuxs_own_names_are_missing() -> None:
    """E3: `import broadside.config` failed on macOS, and APNs' clock did."""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, cwd=root, check=False
    )
    assert done.stdout.startswith("done "), done.stderr
