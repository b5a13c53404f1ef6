"""Faults of the machine around a node: no room on its disk, none in memory, a clock that somebody sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.system.faults import fault

if TYPE_CHECKING:
    from tests.system.run import Run


@fault("disk-full", lambda chance: {"seconds": chance.choice((1.0, 4.0))}, full=True)
async def disk_full(run: Run, values: dict[str, Any]) -> None:
    free = run.fill_disk()  # settlements wait, and repeat nothing
    try:
        await trio.sleep(values["seconds"])
    finally:
        free()
    run.over()


fault("disk-full-minute", lambda chance: {"seconds": 60.0}, full=True, slow=True)(disk_full)


@fault("memory-full", lambda chance: {"seconds": chance.choice((1.0, 4.0))}, store=True, may_keep_dead=True)
async def memory_full(run: Run, values: dict[str, Any]) -> None:
    await run.fill_memory()
    try:
        await trio.sleep(values["seconds"])
    finally:
        with trio.move_on_after(30, shield=True):
            await run.free_memory()
    run.over()


@fault("clock-jump", lambda chance: {"hours": chance.choice((-1, 1)), "back": chance.choice((False, True))}, clock=True)
async def clock_jump(run: Run, values: dict[str, Any]) -> None:
    run.set_clock(values["hours"] * 3600)
    if values["back"]:
        await trio.sleep(3.0)
        run.set_clock(0)
    run.over()
