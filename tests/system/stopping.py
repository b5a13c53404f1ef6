"""Faults of an operator who stops things: signals in any order, a socket's folder swept away, a pipe that closes."""

from __future__ import annotations

import os
import random
import shutil
import signal
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import trio

from broadside.topology import HANDS_A_CONNECTION, LEAST_CONNECTIONS
from tests.system.faults import fault, none, sick
from tests.system.poison import BATCH, kick_all
from tests.system.processes import Failed, state, until
from tests.system.trial import log_lines

if TYPE_CHECKING:
    from tests.system.run import Run

STOP_SECONDS = 15.0
"""For a whole node to drain and end: an answer takes 50 ms here."""
DEVICES = ("pipe", "/dev/full")


def _away(chance: random.Random) -> dict[str, Any]:
    return {"away": round(chance.uniform(0, 2), 1)}


def _asked(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)


async def _drained(run: Run, values: dict[str, Any], first: list[int], then: list[int]) -> None:
    """Nothing may be repeated, whoever got the signal first: no bound is added."""
    began = trio.current_time()
    _asked(first)
    if then:
        await trio.sleep(0.3)
        _asked(then)
    code = await run.node.ended(60)
    took = round(trio.current_time() - began, 2)
    run.note("drained_s", took)
    run.law("SIGTERM ends with exit code 0", code == 0, f"exit code {code}: {run.node.said()[-300:]}")
    run.law("a node stops in time", took <= STOP_SECONDS, f"{took} s > {STOP_SECONDS:g} s")
    await run.gone()
    await trio.sleep(values["away"])
    run.over()
    await run.start_node()


@fault("term-all", _away, limit=60.0)
async def term_all(run: Run, values: dict[str, Any]) -> None:
    """As systemd does unless it is told otherwise: every process of the node at once."""
    await _drained(run, values, [run.queue(), *run.node.workers(), run.node.pid], [])


@fault("term-tarantool-first", _away, limit=60.0)
async def term_tarantool_first(run: Run, values: dict[str, Any]) -> None:
    await _drained(run, values, [run.queue()], [run.node.pid, *run.node.workers()])


@fault("term-worker", none, limit=60.0)
async def term_worker(run: Run, values: dict[str, Any]) -> None:
    victim = run.node.workers()[0]
    os.kill(victim, signal.SIGTERM)
    run.killed.add(victim)
    began = trio.current_time()
    await until(lambda: state(victim) == "Z", "end of the worker", 60)
    run.note("drained_s", round(trio.current_time() - began, 2))
    run.over()


# -- what lies around a node -------------------------------------------------------------------------------------------


def _socket(pid: int) -> Path:
    """The Unix socket that a process listens on."""
    inodes = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            inodes.add(str(link.readlink()).removeprefix("socket:[").removesuffix("]"))
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        parts = line.split()
        if len(parts) == 8 and parts[6] in inodes and parts[5] == "01":
            return Path(parts[7])
    raise Failed(f"process {pid} listens on no Unix socket")


@fault("socket-removed", none, limit=60.0, large=True)
async def socket_removed(run: Run, values: dict[str, Any]) -> None:
    """Something sweeps /tmp; then a worker dies, and its successor needs a new connection."""
    socket = _socket(run.queue())
    run.note("socket", str(socket))
    if socket.parent.is_relative_to(run.node.data):
        socket.unlink()  # nobody sweeps a data folder
    else:
        shutil.rmtree(socket.parent)
    victim = run.node.workers()[0]
    async with run.frozen():
        os.kill(victim, signal.SIGKILL)
    run.killed.add(victim)
    run.over()


@fault(
    "nobody-reads-the-log",
    lambda chance: {"sink": chance.choice(DEVICES)},
    sink=lambda values: str(values["sink"]),
    large=True,
)
async def nobody_reads_the_log(run: Run, values: dict[str, Any]) -> None:
    """The log's reader ends, or its device is full; then something happens that the node has to report."""
    if run.pipe >= 0:
        os.close(run.pipe)
        run.pipe = -1
    pid, victim = run.node.pid, run.node.workers()[0]
    async with run.frozen():
        os.kill(victim, signal.SIGKILL)
    run.killed.add(victim)
    run.over()
    await trio.sleep(2.0)
    run.law("a line of log ends no node", run.node.running and run.node.pid == pid, "the node ended")


@fault("outage-after-take", none, store=True, apart=True, slow=True)
async def outage_after_take(run: Run, values: dict[str, Any]) -> None:
    """A new worker takes batches and cannot read their campaign: when the store is back, their leases have ended."""
    wire, victim = run.servers["store"].wire, run.node.workers()[0]
    wire.silent = wire.refuse = True
    async with run.frozen():
        os.kill(victim, signal.SIGKILL)
    run.killed.add(victim)
    await trio.sleep(66.0)  # a lease of a batch is 60
    wire.silent = wire.refuse = False
    wire.cut()
    run.over()


# -- a transport that crashes, beside a healthy one --------------------------------------------------------------------

_CRASHING = """
from pathlib import Path

import trio

from transports.{platform}.transport import {name} as Transport

sick = Path(__file__).with_name("sick")
run = Transport.run


async def defect():
    while not sick.exists():
        await trio.sleep(0.05)
    raise RuntimeError("a defect of the transport's own")


async def crashing(self, ready):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(defect)
        await run(self, ready)
        nursery.cancel_scope.cancel()


Transport.run = crashing
"""


def _crashing(run: Any) -> str:
    platform = run.plan.values["platform"]
    return _CRASHING.format(platform=platform, name={"apns": "ApnsTransport", "fcm": "FcmTransport"}[platform])


CRASHES = 10
"""Of a channel before it is parked, and at each minute's try: more than there can be."""
PARKED_SECONDS = 75.0
"""A parked channel is tried every minute."""


@fault("crashing-transport", sick, defect=_crashing, slow=True, serving=PARKED_SECONDS)
async def crashing_transport(run: Run, values: dict[str, Any]) -> None:
    """Its group cannot live: the channel is parked, and nobody else notices."""
    channel, other = ("ios", "android") if values["platform"] == "apns" else ("android", "ios")
    switch, workers, told = run.folder / "defect" / "sick", run.node.workers(), len(list(log_lines(run.log)))
    switch.touch()
    # what a crash takes down is what the channel had in hand, and a few crashes come before it is parked
    run.may_repeat(CRASHES, values["platform"])
    run.bound += CRASHES * run.plan.workers * HANDS_A_CONNECTION * LEAST_CONNECTIONS * BATCH
    await _ended(run, other)
    await _parked(run, channel)
    stops = [
        f"{entry['actor']} {entry['event']}"
        for entry in list(log_lines(run.log))[told:]
        if f"channel:{other}" in str(entry.get("actor")) and entry["event"] in ("ended", "crashed", "restarts")
    ]
    run.law("a healthy channel is not stopped for a sick one", not stops, "; ".join(stops[:3]))
    run.law("no worker is stopped for a sick channel", run.node.workers() == workers, f"{workers} were there")
    switch.unlink()
    run.over()
    await kick_all(run, channel)


async def _ended(run: Run, channel: str) -> None:
    """Wait until everybody on the channel has had the news."""
    (campaign, *_) = (await run.node.get("/v1/campaigns"))["items"]
    deadline = trio.current_time() + 60.0
    while trio.current_time() < deadline:
        with suppress(httpx.HTTPError, OSError):
            report = await run.node.get(f"/v1/campaigns/{campaign['id']}")
            if report["walked"] and not report["channels"][channel]["remaining"]:
                return
        await trio.sleep(0.2)
    run.law("a healthy channel goes through beside a sick one", False, f"{channel} is not done after 60 s")


async def _parked(run: Run, channel: str) -> None:
    """Wait until the channel is parked and says why."""
    states: dict[str, Any] = {}
    deadline = trio.current_time() + 15.0
    while trio.current_time() < deadline:
        with suppress(httpx.HTTPError, OSError):
            status = await run.node.get("/v1/status")
            states = {each["channel"]: each for each in status.get("channels", [])}
            if states.get(channel, {}).get("reason") == "parked":
                return
        await trio.sleep(0.2)
    run.law("a crashing channel is parked with its reason", False, f"states: {states}")
