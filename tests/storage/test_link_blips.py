"""What a cut wire may not do: it repeats nothing, and leaves nothing taken for nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from broadside import topology, wire
from campaigns.batch import Leave
from campaigns.baton import Baton
from storage.link import Endpoint, Link
from storage.records import PagePart, Placed, Settlement, TakenBaton
from storage.store import Store
from storage.tubes import Tubes
from supervision import ChildExited, ExitKind, SupervisionEvent
from tests.conftest import Server, linked
from tests.storage.test_link_laws import joined
from tests.storage.wire_cutter import Wire, wire_to
from tests.sweep.campaign import Campaign, rows

WORKER = "worker-1"


@asynccontextmanager
async def worker_link(endpoint: Endpoint) -> AsyncIterator[Link]:
    """A link that says whose it is, as a worker's does."""
    link = Link({"queue": endpoint}, greetings={"queue": ("tubes.identify", WORKER)})
    async with trio.open_nursery() as nursery:
        started = trio.Event()
        nursery.start_soon(link.run, started.set)
        await started.wait()
        yield link
        link.stop()


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    with trio.fail_after(10):
        while not await condition():  # noqa: ASYNC110 - the queue tells nobody
            await trio.sleep(0.01)


async def taken(tubes: Tubes, name: str) -> int:
    return int((await tubes.statistics())["tubes"][name]["taken"])


async def put_batch(tubes: Tubes, page: int = 0) -> None:
    _, epoch, _ = await tubes.epoch()
    held = TakenBaton(Baton(1, 0, page, 0), 0, 0, epoch)
    assert await tubes.page_put(held, [Placed(PagePart("ios", 0, b"\x90"), 0.0, 0)], 1, {}, [], {}) == "put"


def settlement(id: int, number: int) -> Settlement:
    return Settlement(task_id=id, number=number, tallies={}, reasons={}, dead=[], ended=[], remainders=[])


async def test_who_hangs_up_before_the_log_in_is_tried_again_at_once() -> None:
    calls = 0

    async def hang_up(stream: trio.SocketStream) -> None:
        nonlocal calls
        calls += 1

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, hang_up, [listener])
        port = listener.socket.getsockname()[1]
        link = Link({"queue": Endpoint(f"127.0.0.1:{port}")})
        nursery.start_soon(link.run, lambda: None)
        with trio.move_on_after(2):  # the driver by itself waits for half of its connect timeout: 2.5 s
            while calls < 4:  # noqa: ASYNC110
                await trio.sleep(0.01)
        link.stop()
        nursery.cancel_scope.cancel()
    assert calls == 4


async def test_what_was_taken_before_a_cut_is_settled_after_it(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as outside, wire_to(own_tarantool) as cable, worker_link(cable.endpoint) as link:
        await put_batch(await joined(outside))
        tubes = Tubes(link, WORKER)
        ((id, number, _),) = await tubes.batch_take("ios", 1)
        session = link.session("queue")
        for _ in range(3):
            await cable.cut()
            await tubes.epoch()  # waits for the new connection
        assert link.session("queue") == session, "the queue took it for another worker"
        assert await taken(Tubes(outside, "-"), "push_ios") == 1
        assert await tubes.settle("ios", [settlement(id, number)]) == [True]


async def test_a_new_incarnation_of_a_worker_gives_its_leases_back_at_once(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as outside:
        await put_batch(await joined(outside))
        async with worker_link(own_tarantool.embedded.endpoint) as link:
            ((id, number, _),) = await Tubes(link, WORKER).batch_take("ios", 1)
        async with worker_link(own_tarantool.embedded.endpoint) as link:
            tubes = Tubes(link, WORKER)
            assert await tubes.batch_release_worker("ios") == 1
            ((again, later, _),) = await tubes.batch_take("ios", 1)
            assert again == id
            assert await tubes.settle("ios", [settlement(id, number)]) == [False], "the former take is over"
            assert await tubes.settle("ios", [settlement(id, later)]) == [True]


async def test_what_a_poll_took_whose_answer_was_lost_is_taken_again_at_once(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as outside, wire_to(own_tarantool) as cable, worker_link(cable.endpoint) as link:
        await put_batch(await joined(outside))
        tubes, look = Tubes(link, WORKER), Tubes(outside, "-")
        await tubes.epoch()
        cable.deaf = True
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose, tubes)
            await eventually(lambda: is_taken(look, 1))
            await cable.cut()
        cable.deaf = False
        assert await taken(look, "push_ios") == 1, "the lease outlives the connection"
        with trio.fail_after(5):  # far below the ttr of 60 s
            ((id, number, _),) = await tubes.batch_take("ios", 1)
        assert await tubes.settle("ios", [settlement(id, number)]) == [True]


async def test_two_polls_at_once_do_not_give_back_what_the_other_took(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as outside, worker_link(own_tarantool.embedded.endpoint) as link:
        look = await joined(outside)
        tubes = Tubes(link, WORKER)
        found: list[tuple[int, int, Any]] = []

        async def take() -> None:
            found.extend(await tubes.batch_take("ios", 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            await trio.sleep(0.2)  # it waits at the instance
            nursery.start_soon(take)
            await trio.sleep(0.2)
            for page in range(2):
                await put_batch(look, page)
        assert [await tubes.settle("ios", [settlement(id, number)]) for id, number, _ in found] == [[True], [True]]


async def test_a_poll_left_behind_on_a_connection_that_seems_alive_takes_nothing(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as outside, wire_to(own_tarantool) as cable, worker_link(cable.endpoint) as link:
        look = await joined(outside)
        tubes = Tubes(link, WORKER)
        await tubes.epoch()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose, tubes)
            await trio.sleep(0.3)  # blocked at the instance
            await cable.cut(instance_too=False)
        await tubes.epoch()
        await put_batch(look)
        with trio.fail_after(1.5):  # while the forgotten poll would still wait
            ((id, number, _),) = await tubes.batch_take("ios", 1)
        assert await tubes.settle("ios", [settlement(id, number)]) == [True]


async def test_after_a_restart_of_the_instance_the_session_is_another_and_its_leases_are_gone(
    own_tarantool: Server,
) -> None:
    async with worker_link(own_tarantool.embedded.endpoint) as link, linked(own_tarantool) as outside:
        await put_batch(await joined(outside))
        tubes = Tubes(link, WORKER)
        ((id, number, _),) = await tubes.batch_take("ios", 1)
        session = link.session("queue")
        own_tarantool.kill()
        await trio.to_thread.run_sync(own_tarantool.start)
        await tubes.epoch()
        assert link.session("queue") != session, "lost leases must be visible"
        assert await tubes.settle("ios", [settlement(id, number)]) == [False]


async def test_a_campaign_over_a_wire_that_is_cut_in_mid_send_repeats_nobody(
    own_tarantool: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    channels = list(own_tarantool.embedded.channels)
    monkeypatch.setattr("actors.settler.HELD_DELAY", 0.02)
    async with linked(own_tarantool) as link, wire_to(own_tarantool) as cable:
        store = Store(link)
        await store.subscribers_put(rows(60, channels))
        audience = {row.id for row in await store.subscribers_page(0, 1000)}
        at = cable.endpoint
        campaign = Campaign(
            channels=channels,
            campaign=1 << 41,
            page_size=5,
            seconds=0.03,
            shepherd=2.0,
            server=wire.TarantoolLogin(at.uri, at.user, at.password),
        )
        campaign.wired(monkeypatch)
        crashes: list[SupervisionEvent] = []
        monkeypatch.setattr(topology, "observe", lambda event: crashes.append(event) if _is_crash(event) else None)
        cuts = Cuts(cable, campaign)
        monkeypatch.setattr(topology, "build_transport", cuts.transport(topology.build_transport))

        async def state() -> str:
            found = await store.campaign_get(campaign.id)
            return "" if found is None else found.state

        async with trio.open_nursery() as nursery:
            nursery.start_soon(campaign.run_node, link)
            await trio.sleep(0.3)
            await campaign.fire(store, Tubes(link, "console"))
            await campaign.wait_done(state, 30)
            campaign.stop()
        found = await store.campaign_get(campaign.id)
        assert found is not None
        assert not crashes, "an outage is no bug"
        assert cuts.made >= 5, "no batch was on its way when the wire was cut: the test tests nothing"
        campaign.judge(audience, found.tallies)  # forgives nothing: duplicates = 0


def _is_crash(event: SupervisionEvent) -> bool:
    return isinstance(event, ChildExited) and event.reason.kind is ExitKind.CRASH


class Cuts:
    """Cuts the wire in the middle of every second batch that is sent, ten times at most."""

    def __init__(self, cable: Wire, campaign: Campaign) -> None:
        self.cable, self.campaign, self.sends, self.made = cable, campaign, 0, 0

    def transport(self, build: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def made(setup: Any) -> Any:
            transport = build(setup)
            send = transport.send

            async def cutting(batch: Any) -> Any:
                self.sends += 1
                number = self.sends
                outcomes = await send(batch)
                if number % 2 and self.made < 10:
                    self.made += 1
                    await self.cable.cut()
                return outcomes

            transport.send = cutting
            return transport

        return made


async def lose(tubes: Tubes) -> None:
    """A take whose answer does not come."""
    with pytest.raises(Exception, match="connection lost"):
        await tubes.batch_take("ios", 1)


async def is_taken(tubes: Tubes, count: int) -> bool:
    return await taken(tubes, "push_ios") == count


async def test_leave_to_send_is_awaited_while_a_wire_is_cut_and_given_again_after_it(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as outside, wire_to(own_tarantool) as cable, worker_link(cable.endpoint) as link:
        await joined(outside)
        tubes = Tubes(link, WORKER)
        await tubes.epoch()
        leave = tubes.leave()
        assert leave() is Leave.GIVEN
        await cable.cut()
        with trio.fail_after(10):
            while leave() is not Leave.AWAITED:
                await trio.lowlevel.checkpoint()
        await tubes.epoch()
        assert leave() is Leave.GIVEN, "its leases outlive the connection"


async def test_leave_to_send_is_gone_once_the_queue_has_restarted(own_tarantool: Server) -> None:
    async with linked(own_tarantool) as outside, worker_link(own_tarantool.embedded.endpoint) as link:
        await joined(outside)
        tubes = Tubes(link, WORKER)
        await tubes.epoch()
        leave = tubes.leave()
        own_tarantool.kill()
        await eventually(lambda: says(leave, Leave.AWAITED))
        await trio.to_thread.run_sync(own_tarantool.start)
        await tubes.epoch()
        assert leave() is Leave.GONE
        assert tubes.leave()() is Leave.GIVEN


async def says(leave: Callable[[], Leave], wanted: Leave) -> bool:
    return leave() is wanted
