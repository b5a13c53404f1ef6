"""A slice of a sweep hits a run that has fewer steps than were drawn."""

from __future__ import annotations

import trio

from supervision.testing import Report, crash_at_every_step
from supervision.testing.injection import current
from tests.sweep.slices import crash_once


async def three_steps() -> None:
    async def work() -> None:
        for _ in range(3):
            await trio.lowlevel.checkpoint()

    injection = current.get()
    assert injection is not None
    try:
        await injection.run("short", work)
    except Exception:
        return


def crash(actor: str, *, first: int, every: int) -> Report:
    return crash_at_every_step(three_steps, actor=actor, first=first, every=every)


def test_a_step_beyond_the_last_becomes_one_that_the_run_has() -> None:
    assert crash("short", first=11, every=10_000).runs == 0
    assert crash_once(crash, "short", 11).check().runs == 1


def test_an_actor_that_never_runs_is_still_no_success() -> None:
    assert crash_once(crash, "nobody", 11).runs == 0
