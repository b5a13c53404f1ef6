"""The doctor's checks of what goes wrong slowly: backups, disk, memory, the clock, old versions, systemd's units."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from broadside.api.report_text import moment
from broadside.config.config import Config
from broadside.config.tarantool import OwnQueue
from broadside.datafolder import DataFolder
from broadside.doctor.findings import Finding
from broadside.machine_limits import memory as machine_memory
from storage import admin
from storage.backups.backing_up import last_backup
from storage.embedded import LUA
from storage.errors import AdminRefused
from storage.tarantool_program import ProgramUnusable, tarantool, version

BACKUP_EVERY = 26 * 3600.0
"""Seconds: a day, and time for the backup itself."""
ROOM = 64 << 20
"""Bytes that are to stay free beside a checkpoint."""
WORKER = 80 << 20
"""Bytes of memory of a worker, and of the node itself."""
BORN = 1_767_225_600.0
"""2026-01-01: no clock that is right is before it. Campaigns' ids, leases and certificates go by the clock."""
UNITS = ("broadside-node.service", "broadside-store.service")
_ADJUSTED_BY_NOBODY = 5  # TIME_ERROR of adjtimex(2)


def upkeep(config: Config, folder: DataFolder) -> Iterator[Finding]:
    """Check what nobody looks at until it is too late; a demo's base is nobody's, and needs less."""
    demo = config.demo is not None
    yield from clock(time.time(), adjusted=demo or _adjusted())
    if config.store is None:
        yield from checkpoint_room(folder)
        yield from running(folder.tarantool)
        if not demo:
            yield from backup_age(folder, time.time())
    else:
        yield from running(folder.queue)
    yield from memory(config)
    for unit in UNITS:
        yield from systemd_unit(unit)


def backup_age(folder: DataFolder, now: float) -> Iterator[Finding]:
    """Warn of a base that has no backup of today. ``now``: seconds UTC."""
    if not any(folder.tarantool.glob("*.snap")):
        return
    last, remedy = last_backup(folder.tarantool), "broadside backup FOLDER, each day: docs/backup.md"
    if last is None:
        yield Finding("backup", True, "this base was never backed up", remedy, warning=True)
        return
    old = now - last.at / 1000 > BACKUP_EVERY
    text = f"the last one is of {moment(last.at)}, in {last.path} ({last.bytes / 1e6:,.1f} MB)"
    yield Finding("backup", True, text, remedy if old else "", warning=old)


def checkpoint_room(folder: DataFolder) -> Iterator[Finding]:
    """Warn while Tarantool's next checkpoint, which it makes each hour, may not fit on the disk."""
    last = max(folder.tarantool.glob("*.snap"), default=None)
    if last is None:
        return
    needed, free = last.stat().st_size * 5 // 4 + ROOM, shutil.disk_usage(folder.tarantool).free
    if free < needed:
        text = f"{folder.tarantool}: {free >> 20:,} MB are free, and the next checkpoint may take {needed >> 20:,} MB"
        yield Finding("disk", True, text, "make room on that disk, before writes wait for it", warning=True)


def running(instance: Path) -> Iterator[Finding]:
    """Compare the running instance with what is installed: after an upgrade it is to be started again."""
    try:
        said = admin.ask(instance / "admin.sock", "measure")
    except (OSError, AdminRefused, ValueError):
        return  # it does not run, or is another user's: others say so
    schemas = {"store": said["store_schema"], "queue": said["queue_schema"]}
    old, remedy = [], "restart the node: its Tarantool starts anew with what is installed"
    for name, role in (("store", "store"), ("queue", "tubes")):
        newest = len(list((LUA / "roles" / role / "steps").glob("step_*.lua")))
        if schemas[name] is not None and schemas[name] != newest:
            old.append(f"the {name} has schema {schemas[name]}, and this Broadside {newest}")
    program = tarantool()
    if program is not None:
        try:
            here = version(program).text.removeprefix("Tarantool ").removeprefix("Enterprise ")
        except ProgramUnusable:
            here = said["tarantool"]
        if here != said["tarantool"]:
            old.append(f"Tarantool {said['tarantool']} runs, and {here} is installed")
    if old:
        yield Finding("versions", True, "; ".join(old), remedy, warning=True)
    else:
        known = ", ".join(f"{name} schema {schema}" for name, schema in schemas.items() if schema is not None)
        yield Finding("versions", True, f"{known}, as installed; Tarantool {said['tarantool']} runs")


def memory(config: Config) -> Iterator[Finding]:
    """Warn if all that a node may use is more than there is: the kernel would end a process of it."""
    there, whose = machine_memory()
    own = config.node.memory_bytes if config.store is None or isinstance(config.queue, OwnQueue) else 0
    wanted = own + (config.node.workers + 1) * WORKER
    if wanted > there:
        text = f"Tarantool and the workers may use {wanted >> 20:,} MB, and {whose} has {there >> 20:,}"
        yield Finding("memory", True, text, "lower [node] memory or workers", warning=True)


def clock(now: float, *, adjusted: bool) -> Iterator[Finding]:
    """Check the wall clock. ``adjusted``: whether something keeps it right."""
    if now < BORN:
        remedy = "set it, and let NTP keep it right"
        yield Finding("clock", False, f"this machine's clock says {moment(int(now * 1000))}", remedy)
    elif not adjusted:
        text = "nothing keeps this machine's clock right, as far as its kernel knows"
        remedy = "start chrony or systemd-timesyncd; in a container: on its host"
        yield Finding("clock", True, text, remedy, warning=True)


def _adjusted() -> bool:
    """What the kernel says of the clock (adjtimex(2), which only reads here); true where it cannot be asked."""
    if sys.platform != "linux":
        return True
    try:
        answer: int = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(1024))
    except (OSError, AttributeError):
        return True
    return answer != _ADJUSTED_BY_NOBODY


def systemd_unit(unit: str) -> Iterator[Finding]:
    """Check an installed unit: whether it starts with the machine, runs, and is the one that systemd has read."""
    wanted = "LoadState,UnitFileState,ActiveState,NeedDaemonReload"
    try:
        done = subprocess.run(
            ["systemctl", "show", "-p", wanted, unit], capture_output=True, text=True, timeout=4, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return  # there is no systemd here
    said = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    if done.returncode or said.get("LoadState") in (None, "not-found"):
        return
    wrong = []
    if said.get("UnitFileState") not in ("enabled", "enabled-runtime", "static"):
        wrong.append(("does not start with the machine", f"systemctl enable {unit}"))
    if said.get("NeedDaemonReload") == "yes":
        wrong.append(("has changed since systemd read it", f"systemctl daemon-reload, then systemctl restart {unit}"))
    if said.get("ActiveState") == "failed":
        yield Finding("systemd", False, f"{unit} has failed", f"journalctl -u {unit} says why")
    for text, remedy in wrong:
        yield Finding("systemd", True, f"{unit} {text}", remedy, warning=True)
    if not wrong and said.get("ActiveState") != "failed":
        yield Finding("systemd", True, f"{unit} starts with the machine; it is {said.get('ActiveState', 'unknown')}")
