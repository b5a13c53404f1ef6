"""The link's laws, against a real Tarantool."""

from __future__ import annotations

import os
import signal
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing
from asynctnt.exceptions import TarantoolNotConnectedError

from campaigns.baton import Baton
from storage.errors import LinkDown, LinkLost, LinkTimeout, VerbRefused
from storage.link import CALLS_IN_FLIGHT, Endpoint, Link
from storage.records import Lease, TakenBaton
from storage.store import Store
from storage.tubes import Tubes
from supervision import ChildRestarting, ChildSpec, Intensity, SupervisionEvent, Supervisor
from tests.conftest import Server, linked


async def joined(link: Link, worker: str = "test", node: str = "n1") -> Tubes:
    tubes = Tubes(link, worker)
    uuid, held, _ = await tubes.epoch()
    epoch = await Store(link).node_join(node, uuid, held, 1, ["ios"])
    assert epoch is not None
    if epoch != held:
        await tubes.adopt(epoch)
    await tubes.renew(epoch, Lease(30.0, []))
    return tubes


async def test_a_cancelled_take_takes_nothing(own_link: Link) -> None:
    tubes = await joined(own_link)
    for n in range(30):
        with trio.move_on_after(0.005):
            await tubes.baton_take()
        await tubes.baton_put([Baton(1, 0, n, 0)])
        with trio.fail_after(3):
            held = None
            while held is None:
                held = await tubes.baton_take()
        assert held.baton.seq == n
        assert await tubes.baton_ack(held)


async def test_a_poll_cancelled_while_its_task_arrives_gives_the_task_back(own_link: Link) -> None:
    tubes = await joined(own_link)
    took: list[TakenBaton] = []

    async def poll(scope: trio.CancelScope) -> None:
        held = None
        with scope:
            held = await tubes.baton_take()
        if held is not None:  # the answer was faster than the cancel: then the task is ours
            took.append(held)

    for n in range(40):
        scope = trio.CancelScope()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(poll, scope)
            await trio.sleep(0.002)
            nursery.start_soon(tubes.baton_put, [Baton(1, 0, n, 0)])
            await trio.sleep(0.0005 * (n % 4))
            scope.cancel()
    for held in took:
        await tubes.baton_ack(held)
    left = 40 - len(took)
    assert left, "no cancel met a task on its way: the test tests nothing"
    with trio.fail_after(20):
        while left:
            again = await tubes.baton_take()
            if again is not None:
                await tubes.baton_ack(again)
                left -= 1
    statistics = await tubes.statistics()
    assert statistics["tubes"]["batons"]["taken"] == 0
    assert statistics["tubes"]["batons"]["total"] == 0


async def test_an_answer_between_the_cancel_and_its_delivery_goes_back_too() -> None:
    class Future:
        body: list[Any]

        def add_done_callback(self, callback: Any) -> None:
            self.answered = callback

        def cancelled(self) -> bool:
            return False

        def exception(self) -> None:
            return None

        def result(self) -> Future:
            return self

    future = Future()
    future.body = [1, [[8, [7, "t", "a task"]]]]
    link = Link({"queue": Endpoint("unix/:/nowhere")})
    line = link._lines["queue"]
    line.connection = type("Connection", (), {"call": lambda *_: future, "unsent": lambda _: 0})()
    came_back: list[Any] = []
    scope = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def poll() -> None:
            with scope:
                await link.call("queue", "tubes.baton_take", poll=True, orphan=came_back.append)
                raise AssertionError("a cancelled call must not return")

        await trio.testing.wait_all_tasks_blocked()
        scope.cancel()
        future.answered(future)  # in the same tick: the cancel is on its way, the task has not run yet
    assert came_back == [[1, [[8, [7, "t", "a task"]]]]]


async def test_calls_wait_for_the_connection_and_go_on_after_a_kill(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        tubes = await joined(link)
        session = link.session("queue")
        own_tarantool.kill()
        with pytest.raises(LinkLost):
            await link.call("queue", "tubes.marked_campaigns", deadline=0.5)
        await trio.to_thread.run_sync(own_tarantool.start)
        with trio.fail_after(10):
            _, epoch, leased = await tubes.epoch()
        assert (epoch, leased) == (1, False), "the epoch is durable, the lease is not"
        assert link.session("queue") != session, "a new session must be visible"


async def test_a_stopped_instance_is_noticed_and_its_calls_fail_in_time(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        tubes = await joined(link)
        assert own_tarantool.process is not None
        os.kill(own_tarantool.process.pid, signal.SIGSTOP)
        try:
            started = trio.current_time()
            with pytest.raises(LinkTimeout, match=r"no answer to tubes\.marked_campaigns within 0\.5 s"):
                await link.call("queue", "tubes.marked_campaigns", deadline=0.5)
            assert trio.current_time() - started < 5.0, "far below the 10 s of a call that has no deadline of its own"
        finally:
            os.kill(own_tarantool.process.pid, signal.SIGCONT)
        with trio.fail_after(10):
            await tubes.epoch()


async def test_a_stopped_instance_does_not_make_us_hold_more_than_the_limit(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as link:
        await joined(link)
        assert own_tarantool.process is not None
        os.kill(own_tarantool.process.pid, signal.SIGSTOP)
        began = 0

        async def call() -> None:
            nonlocal began
            async with link._lines["queue"].places:
                began += 1
                await trio.sleep_forever()

        try:
            async with trio.open_nursery() as nursery:
                for _ in range(CALLS_IN_FLIGHT * 3):
                    nursery.start_soon(call)
                await trio.sleep(0.1)
                assert began == CALLS_IN_FLIGHT
                nursery.cancel_scope.cancel()
        finally:
            os.kill(own_tarantool.process.pid, signal.SIGCONT)


async def test_stopping_the_link_while_it_reconnects_does_not_hang() -> None:
    for _ in range(5):
        link = Link({"queue": Endpoint("unix/:/nowhere/at/all.sock")})
        with trio.fail_after(5):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(link.run, lambda: None)
                await trio.sleep(0.07)
                link.stop()


async def test_an_error_of_the_instance_names_the_verb(link: Link) -> None:
    with pytest.raises(VerbRefused, match=r"tubes\.nothing"):
        await link.call("queue", "tubes.nothing")


async def test_a_failed_call_that_nobody_awaits_harms_nobody(link: Link) -> None:
    link.tell("queue", "tubes.nothing")
    with trio.move_on_after(0.001):
        await link.call("queue", "tubes.nothing", poll=True)
    await trio.sleep(0.05)
    assert await link.call("queue", "tubes.marked_campaigns")


async def test_the_password_is_in_no_repr_and_no_command_line(tarantool: Server) -> None:
    embedded = tarantool.embedded
    assert embedded.password not in repr(embedded) + repr(embedded.endpoint) + " ".join(embedded.command)


async def test_our_user_may_call_verbs_and_nothing_else(link: Link) -> None:
    for verb, args in (("box.schema.user.passwd", ["x"]), ("os.exit", []), ("queue.statistics", [])):
        with pytest.raises(VerbRefused):
            await link.call("queue", verb, *args)
    connection = link._lines["queue"].connection
    for future in (connection.eval("return 1"), connection.select(512), connection.insert(512, [1])):
        done = trio.Event()
        future.add_done_callback(lambda _, done=done: done.set())
        await done.wait()
        assert "denied" in str(future.exception())


async def test_a_link_that_ends_lets_everybody_go_at_once(own_tarantool: Server) -> None:
    link = Link({"queue": own_tarantool.embedded.endpoint, "away": Endpoint("unix/:/nowhere")})
    outcomes: list[str] = []

    async def call(where: str, verb: str, *, insist: bool = False) -> None:
        try:
            if insist:
                await link.insist(where, verb, "worker", 1, [], 1.9)
            else:
                await link.call(where, verb, "worker", 1, [], 1.9, poll=True, deadline=10.0)
        except (LinkDown, LinkLost) as error:
            outcomes.append(type(error).__name__)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link.run, lambda: None)
            await trio.sleep(0.3)
            nursery.start_soon(call, "queue", "tubes.baton_take")  # blocked at the instance
            nursery.start_soon(call, "away", "tubes.epoch")  # waits for the connection
            nursery.start_soon(partial(call, "away", "tubes.epoch", insist=True))
            await trio.sleep(0.2)
            started = trio.current_time()
            link.stop()
        assert trio.current_time() - started < 1.0
        with pytest.raises(LinkDown):
            await link.call("queue", "tubes.epoch")
    assert sorted(outcomes) == ["LinkDown", "LinkDown", "LinkLost"]


async def test_an_outage_of_the_instance_restarts_nothing() -> None:
    link = Link({"queue": Endpoint("unix/:/nowhere")})
    events: list[SupervisionEvent] = []
    tree = Supervisor("worker", [ChildSpec("link", lambda: link)], intensity=Intensity(0, 60.0), observe=events.append)
    async with trio.open_nursery() as nursery:
        up = trio.Event()
        nursery.start_soon(tree.run, up.set)
        with trio.fail_after(1):
            await up.wait()  # ready when its loop runs, connected or not
        with pytest.raises(LinkLost):
            await link.call("queue", "tubes.epoch", deadline=0.5)
        tree.stop()
    assert [type(event).__name__ for event in events if "Exit" in type(event).__name__] == ["ChildExited"]
    assert not any(isinstance(event, ChildRestarting) for event in events)


@pytest.mark.parametrize("poll", [True, False])
async def test_a_call_that_fails_at_once_still_lets_the_link_work(poll: bool) -> None:
    class Lost:
        def call(self, *_: Any) -> None:
            raise TarantoolNotConnectedError("lost")

        def unsent(self) -> int:
            return 0

    link = Link({"queue": Endpoint("unix/:/nowhere")})
    link._lines["queue"].connection = Lost()
    with trio.testing.assert_checkpoints(), suppress(LinkLost):
        await link.call("queue", "tubes.baton_take", poll=poll)


@pytest.mark.parametrize("deadline", [0.3, 0.9])
async def test_calls_without_patience_do_not_throw_away_the_connection_that_is_logging_in(
    own_tarantool: Server, deadline: float
) -> None:
    """C4: an instance that greets after half a second is reached by one log-in, whoever gave up in the meantime."""
    log_ins = 0
    path = own_tarantool.embedded.endpoint.address()[1]

    async def greet_late(client: trio.SocketStream) -> None:
        nonlocal log_ins
        log_ins += 1
        await trio.sleep(0.5)
        instance = trio.SocketStream(trio.socket.socket(trio.socket.AF_UNIX, trio.socket.SOCK_STREAM))
        async with instance, trio.open_nursery() as nursery:
            await instance.socket.connect(path)
            nursery.start_soon(carry, client, instance)
            nursery.start_soon(carry, instance, client)

    async def carry(source: trio.SocketStream, to: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for data in source:
                await to.send_all(data)

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, greet_late, 0)
        port = listeners[0].socket.getsockname()[1]
        link = Link({"queue": replace(own_tarantool.embedded.endpoint, uri=f"127.0.0.1:{port}")})
        up = trio.Event()
        nursery.start_soon(link.run, up.set)
        await up.wait()
        with trio.fail_after(10):
            while True:
                with suppress(LinkTimeout):
                    await link.call("queue", "tubes.epoch", deadline=deadline)
                    break
        link.stop()
        nursery.cancel_scope.cancel()
    assert log_ins == 1


async def test_a_call_that_got_its_connection_late_says_nothing_of_it() -> None:
    """C4: a hundredth of a second is no trial, where the other seconds went by before there was a connection."""

    class Silent:
        def call(self, *_: Any) -> Any:
            return Future[Any]()

        def unsent(self) -> int:
            return 0

    link = Link({"queue": Endpoint("unix/:/nowhere")})
    line = link._lines["queue"]
    link._running = True

    async def connect_late() -> None:
        await trio.sleep(0.19)
        line.connection = Silent()
        line.up.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(connect_late)
        with pytest.raises(LinkTimeout):
            await link.call("queue", "tubes.epoch", deadline=0.2)
    assert not line.lost.is_set()
    with pytest.raises(LinkTimeout):
        await link.call("queue", "tubes.epoch", deadline=0.1)
    assert line.lost.is_set(), "this one had all of its time"


async def test_an_endpoint_comes_or_goes_and_the_other_connections_stay(tarantool: Server) -> None:
    async with linked(tarantool) as link:
        here = tarantool.embedded.endpoint
        with trio.fail_after(10):
            await link.call("queue", "tubes.epoch")
        connection = link._lines["queue"].connection
        link.change({"store": here, "queue": here, "peer:b": here})
        with trio.fail_after(10):
            await link.call("peer:b", "tubes.epoch")
        assert link._lines["queue"].connection is connection
        gone = replace(here, uri="127.0.0.1:1")
        link.change({"store": here, "queue": here, "peer:b": gone})
        assert not link.connected("peer:b")
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(LinkDown):
                    await link.call("peer:b", "tubes.epoch", deadline=5.0)

            nursery.start_soon(wait)
            await trio.sleep(0.1)
            link.change({"store": here, "queue": here})
            nursery.cancel_scope.deadline = trio.current_time() + 1  # whoever waits for it is released
        assert not link.connected("peer:b")
        with pytest.raises(LinkDown, match="not in the configuration"):
            await link.insist("peer:b", "tubes.epoch")
        assert link._lines["queue"].connection is connection
