"""A house of scripted actors: each says in one log what happens to it, and does what a test tells it."""

from __future__ import annotations

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from supervision import ChildSpec, Supervisor


class Scripted:
    def __init__(self, house, id):
        self.house, self.id = house, id
        self.number = house.numbers[id] = house.numbers.get(id, 0) + 1
        self.tag = f"{id}{self.number}"
        self.stopped = trio.Event()
        self.fate = trio.Event()
        self.error = None
        house.actors[id] = self

    def stop(self):
        self.house.log.append(f"stop {self.tag}")
        self.stopped.set()

    async def run(self, ready):
        house = self.house
        house.log.append(f"start {self.tag}")
        house.running.setdefault(self.id, 0)
        house.running[self.id] += 1
        assert house.running[self.id] == 1, f"two incarnations of {self.id} at once"
        try:
            if house.failing_starts.get(self.id, 0) > 0:
                house.failing_starts[self.id] -= 1
                raise OSError(f"{self.tag} cannot start")
            await trio.sleep(house.start_takes.get(self.id, 0))
            ready()
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def _():
                    await self.stopped.wait()
                    await trio.sleep(house.stop_takes.get(self.id, 0))
                    nursery.cancel_scope.cancel()

                await self.fate.wait()
                nursery.cancel_scope.cancel()
            if self.error is not None:
                raise self.error
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(house.dying_takes.get(self.id, 0))
            house.running[self.id] -= 1
            house.log.append(f"gone {self.tag}")


class House:
    def __init__(self):
        self.log, self.events, self.actors, self.numbers, self.running = [], [], {}, {}, {}
        self.failing_starts, self.start_takes, self.stop_takes, self.dying_takes = {}, {}, {}, {}

    def spec(self, id, **options):
        return ChildSpec(id, lambda: Scripted(self, id), **options)

    def specs(self, ids, **options):
        return [self.spec(id, **options) for id in ids]

    def supervisor(self, children, name="top", **options):
        return Supervisor(name, children, observe=self.events.append, **options)

    def crash(self, id, error=None):
        self.actors[id].error = error or ValueError(f"{self.actors[id].tag} broke")
        self.actors[id].fate.set()

    def finish(self, id):
        self.actors[id].fate.set()

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def new(self):
        """What was logged since the last time."""
        log, self.log = self.log, []
        return log

    @asynccontextmanager
    async def open(self, supervisor):
        """Run a supervisor around a block, then stop it; its failure, if any, is in `self.failure`."""
        self.failure = None

        async def run(task_status):
            try:
                await supervisor.run(task_status.started)
            except Exception as error:
                self.failure = error
            finally:
                self.ended = trio.current_time()

        async with trio.open_nursery() as nursery:
            await nursery.start(run)
            self.new()
            yield supervisor
            supervisor.stop()


@pytest.fixture
def house():
    return House()


@pytest.fixture
def virtual():
    """Virtual time: pytest-trio finds the clock among a test's fixtures."""
    return MockClock(autojump_threshold=0)


@pytest.fixture
def settle():
    """Wait until every task has done what it can without the clock moving."""
    return trio.testing.wait_all_tasks_blocked
