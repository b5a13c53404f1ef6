"""Night falls while something goes wrong: who is in bed by then is not woken, however late it ends."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from broadside.api.subscriber import Subscriber
from broadside.demo import samples
from tests.system import channels
from tests.system.faults import PLATFORMS, fault, none
from tests.system.night_hours import FIRE_BEFORE, ZONES

if TYPE_CHECKING:
    from tests.system.plan import Plan
    from tests.system.run import Run

AFTER = 3.0
"""Seconds after nightfall at which a fault ends."""
LATENCY = 450
"""Milliseconds: night falls before everybody is reached who is awake in the evening. A pause alone does not make sure
of that, because what is in hand is sent: with one worker that is nearly all of a small base."""
TTL = 90
"""Seconds for which the news is wanted: in bed it expires, and whoever is awake gets it before."""
OFF = 85
"""Seconds by which a clock is wrong: nightfall and the end of the night are 60 apart."""
GOING = 30.0
"""Seconds after a clock is right within which a push goes out: connections come back by then, on a busy machine too."""
CACHED = 1.2
"""Seconds until every process of the node knows that its clock was set."""


def zoned(plan: Plan) -> Iterator[Subscriber]:
    """The usual base without the dead, a third of it in each zone of the night."""
    rows = samples.subscribers(plan.subscribers, 0.0, channels.of(plan.platforms))
    for number, row in enumerate(rows):
        yield msgspec.structs.replace(row, tz=ZONES[number // len(plan.platforms) % 3])


async def in_the_evening(run: Run, values: dict[str, Any]) -> Any:
    """Fire a little before nightfall."""
    assert run.night is not None
    await trio.sleep(max(0.0, run.night.falls - FIRE_BEFORE - time.time()))
    late = time.time() - (run.night.falls - FIRE_BEFORE)
    run.law("fired in the evening", late < 5, f"{late:.1f} s too late: the node took too long to start")
    return await run.fire()


async def nightfall(run: Run) -> None:
    """Wait until people have been in bed for a few seconds."""
    assert run.night is not None
    await trio.sleep(max(0.0, run.night.falls + AFTER - time.time()))


OPTIONS: dict[str, Any] = {
    "night": True, "latency": LATENCY, "rows": zoned, "fire": in_the_evening, "ttl": TTL, "may_expire": True,
    "at": 0.1, "limit": 300.0, "serving": 30.0,
}  # fmt: skip


@fault("night-outage", lambda chance: {"down": chance.choice(PLATFORMS)}, **OPTIONS)
async def outage_into_the_night(run: Run, values: dict[str, Any]) -> None:
    twin = run.twins[values["down"]]
    run.in_flight(values["down"])
    await twin.kill()
    await nightfall(run)
    await twin.start()
    run.over()


@fault("night-pause", none, **OPTIONS)
async def pause_over_nightfall(run: Run, values: dict[str, Any]) -> None:
    campaign = run.campaigns[-1].id
    await run.node.post(f"/v1/campaigns/{campaign}/pause", None)
    await nightfall(run)
    await run.node.post(f"/v1/campaigns/{campaign}/resume", None)
    run.over()


@fault("night-kill", none, **OPTIONS)
async def node_killed_in_the_evening(run: Run, values: dict[str, Any]) -> None:
    async with run.frozen():
        await run.node.kill()
    run.in_flight(*run.plan.platforms)
    await nightfall(run)
    await run.start_node()
    run.over()


@fault("night-stop", none, dumb=True, **OPTIONS)
async def machine_suspended_into_the_night(run: Run, values: dict[str, Any]) -> None:
    async with run.suspended():
        await nightfall(run)
    run.in_flight(*run.plan.platforms)
    run.over()


async def _set_clock(run: Run, seconds: int) -> None:
    """Set the clock of all the node's processes at once, as on a machine: its workers stand still until the others
    know.

    A worker whose clock was still slow was handed what was due by Tarantool's, and put it off by more than a minute.
    """
    workers = run.node.workers()
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    run.set_clock(seconds)
    await trio.sleep(CACHED)
    for pid in workers:
        os.kill(pid, signal.SIGCONT)


async def _goes_on(run: Run, values: dict[str, Any]) -> None:
    after = run.notes.get("progress_s")
    going = after is not None and after <= GOING
    run.law("who is awake gets it soon after the clock is right", going, f"the first push came after {after} s")


def _off(chance: random.Random) -> dict[str, Any]:
    return {"seconds": chance.choice((-OFF, OFF))}


@fault("night-clock", _off, clock=True, finish=_goes_on, **(OPTIONS | {"ttl": OFF + 40}))
async def clock_set_right_in_the_night(run: Run, values: dict[str, Any]) -> None:
    """The clock is wrong while nothing can be sent: slow, it stays evening; fast, night is over before it falls.

    What was taken, rendered and held by that clock is still in hand when it is set right. Nothing expires before.
    """
    run.in_flight(*run.plan.platforms)
    for twin in run.twins.values():
        await twin.kill()
    await _set_clock(run, values["seconds"])
    await nightfall(run)
    await _set_clock(run, 0)
    for twin in run.twins.values():
        await twin.start()
    run.over()
