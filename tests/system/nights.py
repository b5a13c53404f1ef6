"""Night falls while something goes wrong: who is in bed by then is not woken, however late it ends."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from broadside.api.subscriber import Subscriber
from broadside.demo import samples
from tests.system.faults import PLATFORMS, fault, none, sick
from tests.system.night_hours import FIRE_BEFORE, ZONES

if TYPE_CHECKING:
    from tests.system.plan import Plan
    from tests.system.run import Run

AFTER = 3.0
"""Seconds after nightfall at which a fault ends."""


def zoned(plan: Plan) -> Iterator[Subscriber]:
    """The usual base without the dead, a third of it in each zone of the night."""
    rows = samples.subscribers(plan.subscribers, 0.0, {"android": "fcm", "ios": "apns"})
    for number, row in enumerate(rows):
        yield msgspec.structs.replace(row, tz=ZONES[number // 2 % 3])


async def in_the_evening(run: Run, values: dict[str, Any]) -> Any:
    """Fire a little before nightfall."""
    assert run.night is not None
    await trio.sleep(max(0.0, run.night.falls - FIRE_BEFORE - time.time()))
    run.law("fired in the evening", time.time() < run.night.falls - 5, "the base took too long to import")
    return await run.fire()


async def nightfall(run: Run) -> None:
    """Wait until people have been in bed for a few seconds."""
    assert run.night is not None
    await trio.sleep(max(0.0, run.night.falls + AFTER - time.time()))


OPTIONS: dict[str, Any] = {
    "night": True, "rows": zoned, "fire": in_the_evening, "ttl": 120, "may_expire": True, "slow": True, "limit": 300.0,
    "serving": 30.0,
}  # fmt: skip


@fault("night-outage", sick, **OPTIONS)
async def outage_into_the_night(run: Run, values: dict[str, Any]) -> None:
    twin = run.twins[values["platform"]]
    run.in_flight(values["platform"])
    await twin.kill()
    await nightfall(run)
    await twin.start()
    run.over()


@fault("night-pause", none, **OPTIONS)
async def pause_over_nightfall(run: Run, values: dict[str, Any]) -> None:
    campaign = run.campaigns[-1].id
    await run.node.post(f"/api/campaigns/{campaign}/pause", None)
    await nightfall(run)
    await run.node.post(f"/api/campaigns/{campaign}/resume", None)
    run.over()


@fault("night-kill", none, large=True, **OPTIONS)
async def node_killed_while_many_are_held(run: Run, values: dict[str, Any]) -> None:
    async with run.frozen():
        await run.node.kill()
    await nightfall(run)
    await run.start_node()
    run.over()
    run.in_flight(*PLATFORMS)


@fault("night-stop", none, **OPTIONS)
async def machine_suspended_into_the_night(run: Run, values: dict[str, Any]) -> None:
    async with run.frozen():  # its workers stand still, as on a machine that sleeps
        await nightfall(run)
    run.over()
