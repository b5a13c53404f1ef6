"""Actors and supervisors that are wrong on purpose, and their right twins: a harness must tell one from the other."""

from __future__ import annotations

from collections import Counter

import trio

from supervision import ONE_FOR_ALL, ChildSpec, Intensity, Supervisor
from supervision.children import Children
from supervision.testing import seam

MANY = Intensity(10, 1.0)


class LeaseQueue:
    """A durable queue: what is taken is leased, and comes back only when it is released."""

    def __init__(self, tasks):
        self.ready, self.taken = list(range(tasks)), []

    async def take(self):
        with seam("queue.take"):
            await trio.sleep(0.01)
            if not self.ready:
                return None
            self.taken.append(self.ready.pop(0))
            return self.taken[-1]

    async def ack(self, task):
        with seam("queue.ack"):
            await trio.sleep(0.01)
            if task in self.taken:
                self.taken.remove(task)

    async def release_all(self):
        with seam("queue.release"):
            await trio.sleep(0.01)
            self.ready, self.taken = self.taken + self.ready, []


class Phones:
    """Counts what each got."""

    def __init__(self):
        self.got = Counter()

    async def send(self, task):
        with seam("phones.send"):
            await trio.sleep(0.01)
            self.got[task] += 1
            await trio.sleep(0.01)  # the answer


class RightConsumer:
    """Gives back an earlier incarnation's leases, sends, then acks."""

    def __init__(self, queue, phones):
        self.queue, self.phones, self.stopping = queue, phones, False

    async def run(self, ready):
        ready()
        await self.recover()
        while not self.stopping:
            task = await self.queue.take()
            if task is not None:
                await self.handle(task)

    async def recover(self):
        await self.queue.release_all()

    async def handle(self, task):
        await self.phones.send(task)
        await self.queue.ack(task)

    def stop(self):
        self.stopping = True


class AckBeforeSendConsumer(RightConsumer):
    async def handle(self, task):
        await self.queue.ack(task)
        await self.phones.send(task)


class LeaseLeakingConsumer(RightConsumer):
    async def recover(self):
        await trio.lowlevel.checkpoint()


def delivery(consumer, tasks=5, again=3):
    """A scenario: all tasks are sent, whatever happens to the consumer; at most what was leased is sent again."""

    async def scenario():
        queue, phones = LeaseQueue(tasks), Phones()
        spec = ChildSpec("consumer", lambda: consumer(queue, phones), shutdown=1.0)
        supervisor = Supervisor("delivery", [spec], intensity=MANY, observe=lambda event: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run, lambda: None)
            with trio.move_on_after(5):
                while queue.ready or queue.taken:  # noqa: ASYNC110 - virtual time
                    await trio.sleep(0.1)
            supervisor.stop()
        lost = sorted(set(range(tasks)) - set(phones.got))
        assert not lost, f"lost = {len(lost)}: {lost}"
        assert not queue.taken, f"leases left behind: {queue.taken}"
        repeats = phones.got.total() - tasks
        assert repeats <= again, f"duplicates = {repeats}, more than one a crash"

    return scenario


class UnawaitedExits(Children):
    """Asks a child to stop and goes on to the next without having seen it go."""

    async def terminate(self, child):
        if child.incarnation is not None:
            child.incarnation.actor.stop()
            self.nursery.start_soon(child.incarnation.stop, lambda life, seconds: None)
            await trio.lowlevel.checkpoint()
        self.stopped(child)


class ExitsNotAwaitedSupervisor(Supervisor):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self._children.__class__ = UnawaitedExits


class RestartsTooEarlySupervisor(Supervisor):
    """In a restart it starts the successors at once, while the old group is still on its way out."""

    async def _stop_group(self, child):
        members = self._children.in_order()
        for member in reversed(members):
            if member is not child and member.incarnation is not None:
                self._children.nursery.start_soon(member.incarnation.stop, lambda life, seconds: None)
                self._children.stopped(member)
        return members


class Source:
    """Makes one item after the other; asked to stop, it hands over what it has in hand."""

    def __init__(self, house):
        self.house, self.stopping = house, trio.Event()

    async def run(self, ready):
        with self.house.alone("source"):
            ready()
            while not self.stopping.is_set():
                with trio.move_on_after(0.03):
                    await self.stopping.wait()
            await trio.sleep(0.02)
            self.house.waiting += 1
            if self.house.sink is not None:
                self.house.sink.store()

    def stop(self):
        self.stopping.set()


class Sink:
    """Takes what the source hands over, and needs a moment to go."""

    def __init__(self, house):
        self.house, self.stopping = house, trio.Event()

    async def run(self, ready):
        with self.house.alone("sink"):
            self.house.sink = self
            self.store()
            ready()
            try:
                await self.stopping.wait()
                await trio.sleep(0.005)
            finally:
                self.house.sink = None
                with trio.move_on_after(1, shield=True):
                    await trio.sleep(0.05)

    def store(self):
        self.house.waiting = 0

    def stop(self):
        self.stopping.set()


class Alone:
    """What only one incarnation may have at a time: a port, a connection, a lease."""

    def __init__(self, house, name):
        self.house, self.name = house, name

    def __enter__(self):
        self.house.running[self.name] += 1
        if self.house.running[self.name] > 1:
            self.house.laws.append(f"two incarnations of {self.name} at once")

    def __exit__(self, *exc):
        self.house.running[self.name] -= 1


class House:
    def __init__(self):
        self.waiting, self.sink = 0, None
        self.running, self.laws = Counter(), []

    def alone(self, name):
        return Alone(self, name)


def source_and_sink(supervisor_class):
    """A scenario: never two incarnations at once, and the source goes before the sink that it hands over to."""

    async def scenario():
        house = House()
        specs = [ChildSpec("sink", lambda: Sink(house)), ChildSpec("source", lambda: Source(house))]
        supervisor = supervisor_class("group", specs, strategy=ONE_FOR_ALL, intensity=MANY, observe=lambda event: None)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(supervisor.run, lambda: None)
            await trio.sleep(0.2)
            supervisor.stop()
        assert not house.laws, "; ".join(house.laws)
        assert not house.waiting, f"the sink was gone before its source: {house.waiting} item lost"
        assert not +house.running, f"outlived their supervisor: {+house.running}"

    return scenario
