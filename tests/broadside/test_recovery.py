"""A killed Tarantool says how long it will take: from the size of its files, and its speed at the last start."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
import trio

from broadside.newsroom.alarm_board import AlarmBoard
from broadside.newsroom.ring import Ring
from broadside.node import processes
from storage import recovery
from storage.embedded import Embedded
from storage.link import Endpoint, Link
from storage.recovery import CAREFUL, SPEED, Recovery, unread
from storage.store import Store
from tests.broadside.test_api import newsroom_over

ROWS = 20_000


@asynccontextmanager
async def running(embedded: Embedded, start: Recovery) -> AsyncIterator[Link]:
    """The instance as a node runs it, and a link to it; killed at the end."""
    link = Link({"store": embedded.endpoint, "queue": embedded.endpoint})
    async with trio.open_nursery() as nursery:
        with trio.fail_after(60):
            process = processes.tarantool(embedded, start, start.done, os.environ)
            await nursery.start(lambda task_status: process.run(task_status.started))
            await nursery.start(lambda task_status: link.run(task_status.started))
        yield link
        nursery.cancel_scope.cancel()


@pytest.mark.tarantool
@pytest.mark.timeout(120)
async def test_a_killed_tarantool_says_how_long_its_start_takes_and_learns_its_speed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 24.6: nobody knew whether it would serve again in a second or in five minutes."""
    monkeypatch.setattr(recovery, "SAID_FROM", 0.01)
    embedded = Embedded(tmp_path / "data", ["ios"], memory=256 << 20)
    start = Recovery(embedded.directory)
    async with running(embedded, start) as link:
        assert start.told() == "", "it serves"
        tokens = [os.urandom(64).hex() for _ in range(ROWS)]  # of which no log is compressed away
        rows = [("ios", token, "token", 1, "de", "", "", "", "", None, [], {}) for token in tokens]
        await Store(link).subscribers_put(rows)
    assert not (embedded.directory / SPEED).exists(), "there was nothing to read, so nothing was measured"
    size = unread(embedded.directory)
    assert size > ROWS * 60

    now = 0.0
    again = Recovery(embedded.directory, lambda: now)
    with structlog.testing.capture_logs() as logs:
        again.begin()
    assert logs[0]["why"] == again.told()
    assert f"it reads {size / 1e6:.0f} MB of snapshot and log: about {size / CAREFUL:.0f} s, by a guess" in again.told()
    now = 7.0
    assert again.told().endswith("7 s have passed, so it is slower this time")
    async with running(embedded, again) as link:
        assert await Store(link).subscribers_count() == {"ios": ROWS}
        assert again.told() == ""

    learned = Recovery(embedded.directory)
    learned.begin()
    assert "as fast as at its last start; 0 s have passed" in learned.told()
    assert 0.0 < learned.expected < 60.0
    assert learned.expected != pytest.approx(size / CAREFUL), "by its own speed"


def test_only_what_a_start_reads_counts(tmp_path: Path) -> None:
    """Issue 24.6: the newest snapshot and the logs since, not the older ones that are kept beside them."""
    for name, size in {"01.snap": 1, "01.xlog": 10, "07.snap": 100, "07.xlog": 1000, "09.xlog": 10_000}.items():
        (tmp_path / name).write_bytes(b"x" * size)
    (tmp_path / "11.xlog.inprogress").write_bytes(b"x")
    assert unread(tmp_path) == 11_100
    assert unread(tmp_path / "missing") == 0


@pytest.mark.parametrize("kept", [b"", b"{}", b'{"bytes_per_second":0}', b'{"bytes_per_second":"fast"}'])
def test_a_speed_that_cannot_be_read_is_guessed(tmp_path: Path, kept: bytes) -> None:
    """Issue 24.6."""
    (tmp_path / SPEED).write_bytes(kept)
    (tmp_path / "00.xlog").write_bytes(b"x" * round(recovery.SAID_FROM * CAREFUL))
    start = Recovery(tmp_path)
    start.begin()
    assert "about 2 s, by a guess, as no start was measured yet" in start.told()


async def test_what_a_start_takes_stands_in_the_alarm() -> None:
    """Issue 24.6: so it is in `broadside status`, on the page and in `/readyz`."""
    nowhere = Link(dict.fromkeys(("store", "queue"), Endpoint("unix/:/nowhere", "nobody", "")))
    told = "it reads 812 MB"
    ring = Ring(store=Store(nowhere), node="n1")
    board = AlarmBoard(newsroom_over(nowhere), ring, list, lambda: told)
    (alarm,) = (await board.look()).alarms
    assert alarm.text == "Tarantool does not answer this node: it reads 812 MB"
    told = ""
    (alarm,) = (await board.look()).alarms
    assert alarm.text == "Tarantool does not answer this node: queue: the link is not running"
