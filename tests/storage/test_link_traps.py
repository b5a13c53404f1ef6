"""The driver's traps that need no outage to show (docs/adr/0004-the-link.md); those of outages: test_link_laws.py."""

from __future__ import annotations

import gc
import os
import resource
import signal

import pytest
import trio

from storage.errors import LinkLost, VerbRefused
from storage.link import BYTES_UNSENT, Link
from storage.store import Store
from storage.tubes import Tubes
from tests.conftest import Server, linked
from tests.storage.test_link_laws import joined
from tests.sweep.campaign import rows


async def test_a_change_of_the_schema_leaves_calls_as_they_were(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        await joined(link)
        own_tarantool.embedded.channels.append("huawei")  # type: ignore[attr-defined]
        own_tarantool.kill()
        await trio.to_thread.run_sync(own_tarantool.start)  # makes the new channel's tube: a change of the schema
        await Tubes(link, "test").epoch()
        connection = link._lines["queue"].connection
        assert connection.schema is None or not connection.schema.spaces, "no schema is fetched, so none is refetched"
        assert connection.fetch_schema is False
        assert connection.auto_refetch_schema is False


async def test_blocked_polls_leave_room_for_other_calls(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        tubes = await joined(link)
        async with trio.open_nursery() as nursery:
            for number in range(1000):  # more than the 768 messages of Tarantool's default
                nursery.start_soon(poll, link, f"worker-{number}")
            await trio.sleep(0.5)
            with trio.fail_after(2):
                await tubes.epoch()
            nursery.cancel_scope.cancel()


async def poll(link: Link, worker: str) -> None:
    await link.call("queue", "tubes.baton_take", worker, 1, [], 4.0, poll=True)


async def test_an_answer_is_freed_without_the_collector(link: Link) -> None:
    store = Store(link)
    await store.subscribers_put(rows(50, ["trap-5"]))
    gc.collect()
    gc.disable()
    try:
        before = len(gc.get_objects())
        for _ in range(200):
            assert len(await store.subscribers_page(0, 50)) == 50
        grown = len(gc.get_objects()) - before
    finally:
        gc.enable()
    # the driver's own response objects are cycles, but the rows that they brought are not among them
    assert grown < 200 * 25, f"{grown} objects left by 200 answers of 50 rows"


async def test_calls_to_a_stopped_instance_hold_bounded_bytes(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        await joined(link)
        line = link._lines["queue"]
        connection = line.connection
        assert own_tarantool.process is not None
        os.kill(own_tarantool.process.pid, signal.SIGSTOP)
        text = "x" * (4 << 20)
        most = 0

        async def call() -> None:
            with pytest.raises(LinkLost):
                await link.call("queue", "tubes.nothing", text, deadline=1.0)

        try:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            async with trio.open_nursery() as nursery:
                for _ in range(32):  # 128 MB
                    nursery.start_soon(call)
                for _ in range(20):
                    await trio.sleep(0.02)
                    most = max(most, connection.unsent())
        finally:
            os.kill(own_tarantool.process.pid, signal.SIGCONT)
        assert BYTES_UNSENT < most <= BYTES_UNSENT + len(text) + 100
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        assert grown < 100 << 10, f"{grown >> 10} MB"


async def test_whoever_can_connect_finds_every_verb_in_place(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        await joined(link)
        own_tarantool.kill()
        answered = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, own_tarantool.start)
            while not answered:
                try:
                    await link.call("queue", "tubes.epoch", deadline=0.05)
                    await link.call("store", "store.subscribers_count", deadline=5.0)
                    answered = True
                except VerbRefused as error:
                    raise AssertionError(f"the port is open before the verbs are there: {error}") from error
                except LinkLost:
                    continue
