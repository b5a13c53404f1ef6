"""The store's master dies for good: its replica takes over, and nothing that was acknowledged is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import msgspec
import pytest

from broadside import cli
from broadside.api.outward_records import FeedLine
from broadside.api.subscriber import Subscriber
from broadside.errors import ApiError, NodeUnreachable
from tests.cluster.base_of import base_of
from tests.cluster.ring import Ring, until

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]


@pytest.fixture
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ring]:
    ring = Ring(tmp_path_factory.mktemp("ring"), 20_000, latency_ms=50)
    try:
        yield ring.start()
    finally:
        ring.end()


class Importer(threading.Thread):
    """Writes newcomers through a node, ten at a time, and remembers which were acknowledged."""

    def __init__(self, ring: Ring, node: int = 2) -> None:
        super().__init__(daemon=True)
        self.ring = ring
        self.node = node
        self.acknowledged: set[str] = set()
        self.longest = 0.0
        """Seconds between two acknowledged writes."""
        self.ending = threading.Event()

    def run(self) -> None:
        last = time.monotonic()
        with self.ring.node(self.node).client() as client:
            for number in range(1_000_000):
                tokens = [f"live-newcomer-{number}-{n}:APA91b{number * 10 + n:060x}" for n in range(10)]
                rows = [Subscriber(channel="android-news", token=token) for token in tokens]
                try:
                    client.upsert(msgspec.json.Encoder().encode_lines(rows))
                    self.acknowledged.update(tokens)
                    now = time.monotonic()
                    self.longest, last = max(self.longest, now - last), now
                except (ApiError, NodeUnreachable):
                    time.sleep(0.05)
                if self.ending.is_set():
                    return


class FeedReader(threading.Thread):
    """The app's backend: reads the feed in small parts, each behind the cursor of the last line that it has."""

    def __init__(self, ring: Ring) -> None:
        super().__init__(daemon=True)
        self.ring = ring
        self.heard: list[FeedLine] = []
        self.ending = threading.Event()

    def run(self) -> None:
        with self.ring.node(2).client() as client:
            while not self.ending.is_set():
                with suppress(ApiError, NodeUnreachable):  # it asks again, behind the same line
                    self.heard += client.feed(self.heard[-1].cursor if self.heard else "", 7)
                time.sleep(0.02)


def tokens(ring: Ring) -> set[str]:
    """All that is in the base now."""
    with ring.node(1).client() as client:
        return {row.token for row in base_of(client)}


@pytest.mark.timeout(240)
def test_a_replica_takes_over_in_mid_walk_and_the_old_master_comes_back_as_a_replica(
    ring: Ring, capfd: pytest.CaptureFixture[str]
) -> None:
    old, new = ring.cluster.stores
    importer = Importer(ring)
    importer.start()
    until(lambda: len(importer.acknowledged) >= 100, "import", 20.0)
    ring.live |= importer.acknowledged  # they are in the base when it is fired
    reader = FeedReader(ring)
    reader.start()
    run = ring.fire("the only one")
    run.walked(5)
    old.kill()
    acknowledged = set(importer.acknowledged)
    assert cli.run(["store", "promote", str(new.socket.parent)]) == 0
    assert "master, quorum 1 (term 2)" in capfd.readouterr().out
    run.until(lambda: run.state() == "done", "end of the campaign", 60.0)
    importer.ending.set()
    importer.join(30)
    base = tokens(ring)
    newcomers = {token for token in base if token.startswith("live-newcomer")}
    run.judge(0, new, also=newcomers)
    assert acknowledged <= importer.acknowledged <= base, "what was acknowledged is there"
    assert ring.live <= base
    # issue 25.9: whoever was deleted is in the feed, and no failover makes its reader miss one
    rows = {row.token for row in ring.rows}
    assert len(rows - base) > 100
    # some leave after the campaign's end
    until(lambda: {line.token for line in reader.heard} == rows - tokens(ring), "feed", 60.0)
    reader.ending.set()
    reader.join(30)
    assert {line.kind for line in reader.heard} == {"dead"}, "no gap, and nothing else has happened"

    # B1: no failover makes a second campaign of one request
    assert ring.asked("the only one", node=2) == run.campaign

    old.start()
    assert old.process is not None
    assert old.process.wait(30) == 1
    assert "Move its data folder away and start it again: it comes back as a replica" in old.last_words()
    old.socket.parent.rename(old.folder / "retired")
    old.begin()
    assert old.ask("status")["read_only"]
    for node in (1, 2):
        assert cli.run(["doctor", "--config", str(ring.node(node).folder / "broadside.toml")]) in (0, 1)
    said = capfd.readouterr().out
    assert f"127.0.0.1:{new.port}: master (term 2)" in said
    assert "follows, 0 writes behind" in said
    assert "takes batons" in said
    assert cli.run(["store", "promote", str(new.socket.parent), "--quorum", "2"]) == 0
    assert "quorum 2 (term 2)" in capfd.readouterr().out
    ring.live |= newcomers
    again = ring.fire()
    again.done()
    again.judge(0, new)
