"""Where the CPU goes: steps are added up under the stage of their task."""

from __future__ import annotations

import time

import pytest
import trio

from broadside.worker.stages import EVERY, Stages, stage


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("worker/campaigns/walker #1", "walk"),
        ("worker/campaigns/batcher #12", "batch"),
        ("worker/delivery/channel:ios-news/consumer #1", "take"),
        ("worker/delivery/channel:ios-news/transport #3", "send"),
        ("worker/delivery/channel:ios-news/settler #1", "settle"),
        ("worker/link #1", "link"),
        ("transports.http2.connection.Connection._read", "send"),
        ("storage.link.Link._keep", "link"),
        ("worker/delivery/reporter #1", "rest"),
        ("broadside.worker.worker._listen", "rest"),
    ],
)
def test_a_task_has_its_stage(task: str, expected: str) -> None:
    assert stage(task) == expected


def test_the_cpu_of_tasks_is_added_up_by_stage() -> None:
    stages = Stages()

    async def burn(seconds: float) -> None:
        for _ in range(EVERY * 100):
            until = time.thread_time() + seconds / (EVERY * 100)
            while time.thread_time() < until:
                pass
            await trio.lowlevel.checkpoint()

    async def main() -> None:
        async with trio.open_nursery() as looking:
            looking.start_soon(stages.run)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(burn, 0.7, name="w/walker #1")
                nursery.start_soon(burn, 1.4, name="w/channel:a/transport #1")
            looking.cancel_scope.cancel()

    trio.run(main)
    found = stages.seconds()
    # it looks a seventh of the time, and the two tasks take turns: both are met, with their shares
    assert found["walk"] == pytest.approx(0.7, rel=0.3)
    assert found["send"] == pytest.approx(1.4, rel=0.3)
