"""Faults of one server of two: it dies, stops, is parted from the other, is lost with its disk, is forgotten."""

from __future__ import annotations

import os
import random
import shutil
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import trio

from broadside.api.v1 import table
from tests.system.faults import LEASE, WORKER_HANG, fault

if TYPE_CHECKING:
    from tests.system.pair import Pair


def _none(chance: random.Random) -> dict[str, Any]:
    return {}


def _away(chance: random.Random) -> dict[str, Any]:
    return {"away": round(chance.uniform(0, 3), 1)}


def _seconds(*choices: float) -> Any:
    return lambda chance: {"seconds": chance.choice(choices)}


@fault("rolling-restart", _none, pair=True, large=True)
async def rolling_restart(run: Pair, values: dict[str, Any]) -> None:
    first, second = run.ring.cluster.nodes
    run.ended(first)
    first.begin()
    run.ended(second)
    run.over()
    second.start()


@fault("kill-server", _away, pair=True, large=True)
async def kill_server(run: Pair, values: dict[str, Any]) -> None:
    with run.frozen():
        run.second.kill()
    await trio.sleep(values["away"])
    run.over()
    run.second.start()


@fault("lose-server", _away, pair=True, large=True, serving=5.0 + LEASE)
async def lose_server(run: Pair, values: dict[str, Any]) -> None:
    """With its disk. The node is forgotten, and comes back blank: when its lease has run out, it may join anew."""
    with run.frozen():
        run.unreported()
        run.second.kill()
    shutil.rmtree(run.second.data.queue)
    with run.ring.node(1).client() as client:
        client.call(table.FORGET, query=table.ForgetQuery(force=True), name=run.second.name)
    await trio.sleep(values["away"])
    run.over()
    run.second.start()


@fault("forget-living", _none, pair=True, large=True, serving=5.0 + LEASE)
async def forget_living(run: Pair, values: dict[str, Any]) -> None:
    """A node that is only cut off is forgotten by mistake: it goes on until its lease has run out, and nobody hears."""
    with run.frozen():
        run.unreported()
        before = run.sent()
        run.ring.cut()
    with run.ring.node(1).client() as client:
        client.call(table.FORGET, query=table.ForgetQuery(force=True), name=run.second.name)
    await trio.sleep(LEASE + 4.0)
    run.bound += run.sent() - before
    run.may_repeat()
    still = run.sent()
    await trio.sleep(2.0)
    run.law("a forgotten node falls silent when its lease is over", run.sent() == still, f"{run.sent() - still} pushes")
    run.ring.heal()
    run.over()


@fault("stop-server", _seconds(1.0, 4.0, 13.0), pair=True, large=True)
async def stop_server(run: Pair, values: dict[str, Any]) -> None:
    pids = run.processes()
    if values["seconds"] > min(LEASE, WORKER_HANG):
        with run.frozen():
            pass
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    await trio.sleep(values["seconds"])
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)
    run.over()


@fault("cut-servers", _seconds(2.0, 8.0, 18.0), pair=True, large=True)
async def cut_servers(run: Pair, values: dict[str, Any]) -> None:
    await _parted(run, values["seconds"])


@fault("part-servers", _seconds(2.0, 8.0, 18.0), pair=True, large=True, parted=True)
async def part_servers(run: Pair, values: dict[str, Any]) -> None:
    await _parted(run, values["seconds"])


async def _parted(run: Pair, seconds: float) -> None:
    run.ring.cut()
    await trio.sleep(seconds)
    run.ring.heal()
    run.over()
