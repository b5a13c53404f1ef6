"""Measures a worker's CPU by stage of a push: walk, batch, take, send, settle, link."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping

import trio

_ACTORS = {
    "walker": "walk",
    "batcher": "batch",
    "consumer": "take",
    "transport": "send",
    "settler": "settle",
    "link": "link",
}
"""The last part of an actor's path → its stage."""
_FUNCTIONS = (
    ("transports.", "send"),
    ("actors.transport_actor.", "send"),
    ("storage.link.", "link"),
    ("trio_asyncio", "link"),
)
"""Prefixes of the names of tasks that actors start → the stage."""


def stage(task: str) -> str:
    """Return the stage of a task by its name: ``NODE/…/ACTOR #INCARNATION``, or the function that it runs."""
    path, _, incarnation = task.rpartition(" #")
    if incarnation.isdigit():
        return _ACTORS.get(path.rpartition("/")[2], "rest")
    return next((stage for start, stage in _FUNCTIONS if task.startswith(start)), "rest")


LOOK = 0.01
"""Seconds of one sample."""
EVERY = 7
"""One interval of `LOOK` in `EVERY` is sampled and stands for the others: tracing every step costs CPU."""


class Stages(trio.abc.Instrument):
    """Adds up the CPU of all tasks' steps (a batch of 500 pushes takes about fifty).

    The rest of the process's CPU is the event loop's own: epoll, and choosing the next task.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._seen: dict[str, int] = defaultdict(int)  # task → nanoseconds, in the latest sample
        self._started = 0

    async def run(self) -> None:
        """Sample until cancelled."""
        while True:
            began = self._started = time.thread_time_ns()
            trio.lowlevel.add_instrument(self)
            try:
                await trio.sleep(LOOK)
            finally:
                trio.lowlevel.remove_instrument(self)
            looked = time.thread_time_ns() - began
            await trio.sleep(LOOK * (EVERY - 1))
            share = (time.thread_time_ns() - began) / looked / 1e9
            for name, nanoseconds in self._seen.items():
                self._seconds[stage(name)] += nanoseconds * share
            self._seen.clear()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Note when a task's step begins."""
        self._started = time.thread_time_ns()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Add the step's time when the task waits again, or ends."""
        self._seen[task.name] += time.thread_time_ns() - self._started

    def seconds(self) -> Mapping[str, float]:
        """Stage → seconds of CPU since the start."""
        return dict(self._seconds)
