"""Where a worker's CPU goes, by stage of a push: walk, batch, take, send, settle, link."""

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
    ("actors.transport.", "send"),
    ("storage.link.", "link"),
    ("trio_asyncio", "link"),
)
"""Beginnings of the names of tasks that actors start → the stage."""


def stage(task: str) -> str:
    """The stage of a task by its name: ``NODE/…/ACTOR #INCARNATION``, or the function that it runs."""
    path, _, incarnation = task.rpartition(" #")
    if incarnation.isdigit():
        return _ACTORS.get(path.rpartition("/")[2], "rest")
    return next((stage for start, stage in _FUNCTIONS if task.startswith(start)), "rest")


EVERY = 7
"""One step in so many is timed, and counts for all of them: the thread's clock takes 0.6 µs, twice a step."""


class Stages(trio.abc.Instrument):
    """Adds up the CPU of the steps of all tasks (a batch of 500 pushes takes some fifty).

    What the steps leave of the process's CPU is the loop's own: epoll, and choosing the next task.
    """

    def __init__(self) -> None:
        self._by_task: dict[str, int] = defaultdict(int)
        self._started = 0
        self._turn = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task goes on."""
        self._turn += 1
        if self._turn == EVERY:
            self._started = time.thread_time_ns()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """It waits for something again, or is over."""
        if self._turn == EVERY:
            self._by_task[task.name] += time.thread_time_ns() - self._started
            self._turn = 0

    def seconds(self) -> Mapping[str, float]:
        """Stage → seconds of CPU since the start."""
        found: dict[str, float] = {}
        for name, nanoseconds in self._by_task.items():
            key = stage(name)
            found[key] = found.get(key, 0.0) + nanoseconds * EVERY / 1e9
        return found
