"""A full disk is waited out: nothing that it refused is half written, and all goes on once there is room."""

from __future__ import annotations

import gc
import json
import subprocess
import weakref
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from actors.membership import Membership
from actors.reporter import Reporter
from storage.errors import DiskFull
from storage.link import Link
from storage.records import Lease
from storage.tubes import Tubes
from tests.conftest import Server
from tests.storage.test_walk_verbs import BOTH, CAMPAIGN, NOW, House

pytestmark = pytest.mark.tarantool


async def test_a_full_disk_refuses_a_write_as_a_whole_and_answers_reads(own_tarantool: Server, own_link: Link) -> None:
    """S11: error 40 was a refusal like that of a wrong argument; now callers wait, as for a lost connection."""
    house = House(own_link)
    await house.join()
    await house.subscribers(10)
    assert not (await house.store.memory()).disk_full
    with own_tarantool.disk_full():
        with pytest.raises(DiskFull, match=r"subscribers_remove is not written"):
            await house.store.subscribers_remove("ios", "token-1")
        assert sum((await house.store.subscribers_count()).values()) == 10
        assert (await house.store.memory()).disk_full
        assert (await house.tubes.memory()).disk_full, "one instance, one disk"
    assert await house.store.subscribers_remove("ios", "token-1")
    assert not (await house.store.memory()).disk_full


async def test_whoever_insists_gets_the_answer_once_there_is_room(own_tarantool: Server, own_link: Link) -> None:
    """S11: a Fire's batons, a claim, a report wait for room instead of ending their actor."""
    house = House(own_link)
    await house.join()
    await house.subscribers(100)
    batons = await house.fire(page_size=50)
    claims = []

    async def claim() -> None:
        claims.append(await house.store.page_claim("n1", house.epoch, batons[0], NOW))

    async with trio.open_nursery() as nursery:
        with own_tarantool.disk_full():
            nursery.start_soon(claim)
            await trio.sleep(1.5)
            assert claims == []
    assert [each.verdict for each in claims] == ["claimed"]


async def test_a_node_and_its_reports_outlive_a_full_disk(own_tarantool: Server, own_link: Link) -> None:
    """S11: after 12 s the heartbeat had crashed too often and the node ended, and reports were given up as void."""
    house = House(own_link)
    await house.join()
    await house.subscribers(100)
    await house.fire(page_size=100)
    await house.walk_page()
    assert await house.deliver("ios") + await house.deliver("android") == 100
    await house.tubes.renew(house.epoch, Lease(60.0, []))
    membership = Membership(
        node="n1",
        channels=BOTH,
        tubes=house.tubes,
        store=house.store,
        clock=lambda: NOW,
        sending=lambda since: frozenset(),
    )
    reporter = Reporter(node="n1", tubes=Tubes(own_link, "reporter"), store=house.store, clock=lambda: NOW)
    async with trio.open_nursery() as nursery:
        with own_tarantool.disk_full():
            nursery.start_soon(reporter.run, lambda: None)
            nursery.start_soon(membership.run, lambda: None)
            await trio.sleep(3)
            with trio.fail_after(5):  # a reader may see the report that is being written, before it is taken back
                while await house.state() != "firing":  # noqa: ASYNC110 - the store tells nobody
                    await trio.sleep(0.01)
        with trio.fail_after(30):
            while await house.state() != "done":  # noqa: ASYNC110 - the store tells nobody
                await trio.sleep(0.1)
        reporter.stop()
        membership.stop()
    campaign = await house.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    assert sum(tallies["delivered"] for tallies in campaign.tallies.values()) == 100, "no line was given up"


@pytest.mark.parametrize("blank", [True, False], ids=["a blank one", "one with data"])
def test_an_instance_that_starts_on_a_full_disk_waits_for_room(tmp_path: Path, blank: bool) -> None:
    """S11: it ended at its first write, and the node with it."""
    server = Server(tmp_path / "tarantool", ["ios"])
    if not blank:
        server.start().stop()
    server.process = process = subprocess.Popen(
        server.embedded.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        restore_signals=False,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        with server.disk_full():
            process.stdin.write(server.embedded.handshake)
            process.stdin.flush()
            waits = json.loads(process.stderr.readline())
            assert waits["event"] == "the disk of the data folder is full: the start waits until there is room"
            assert (waits["level"], process.poll()) == ("warning", None)
        assert b'"ready":true' in process.stdout.readline()
        assert b"there is room on the disk" in process.stderr.readline()
    finally:
        server.stop()
        process.stderr.close()
        server.embedded.remove_runtime()


async def test_an_error_for_a_full_disk_is_in_no_reference_cycle(own_tarantool: Server, own_link: Link) -> None:
    """S11: the call kept its error in a variable, so each held its frames until the collector came."""
    house = House(own_link)
    await house.join()
    gc.disable()
    try:
        with own_tarantool.disk_full():
            try:
                await house.store.subscribers_put([("ios", "t", "token", NOW, "", "", "", "", "", None, [], {})])
            except DiskFull as error:
                seen = weakref.ref(error)
            else:
                raise AssertionError("it was written")
        await trio.lowlevel.checkpoint()
        assert seen() is None
    finally:
        gc.enable()
