"""The demo waits for its Tarantool: what is lost on the way is asked for again."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from broadside.config.config import Demo
from broadside.demo import demo
from broadside.demo.demo_config import demo_config
from broadside.errors import FireFailed, Problem
from storage.errors import LinkDown, LinkLost
from storage.link import Link
from tests.broadside.test_fire_once import newsroom

LOST = [LinkLost("cut"), LinkDown("cut"), FireFailed("", "the store does not answer in time", maybe=True)]


class Blinking:
    """A newsroom whose every method loses its first calls, one before and one after they have reached the store."""

    def __init__(self, real: Any, calls: Counter[str] | None = None) -> None:
        self.real, self.calls = real, Counter[str]() if calls is None else calls

    def __getattr__(self, name: str) -> Any:
        if name == "subscribers":
            return Blinking(self.real.subscribers, self.calls)

        async def call(*args: Any) -> Any:
            self.calls[name] += 1
            if self.calls[name] == 1:
                raise LOST[len(self.calls) % 2]
            found = await getattr(self.real, name)(*args)
            if self.calls[name] == 2:
                raise LOST[2] if name == "fire" else LOST[0]
            return found

        return call


@pytest.mark.tarantool
async def test_the_demo_fills_its_base_and_fires_once_over_a_link_that_is_lost(
    own_link: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C8: one lost call ended the whole node."""
    monkeypatch.setattr(demo, "AGAIN_AFTER", 0.01)
    shown = []

    async def watch(newsroom: Any, fired: Any, terminal: Any) -> None:
        shown.append(fired)
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(demo, "watch", watch)
    config = msgspec.structs.replace(demo_config(tmp_path), demo=Demo(subscribers=2500))
    real = newsroom(own_link, channels=config.channels)
    with trio.fail_after(30):
        await demo.show(Blinking(real), config, demo.Terminal())  # type: ignore[arg-type]
    assert sum((await real.subscribers.count()).values()) == 2500
    assert [each.id for each in (await real.campaigns(100)).items] == [each.id for each in shown]


@pytest.mark.tarantool
async def test_the_demo_puts_again_what_was_refused_while_its_node_had_no_lease(
    own_link: Link, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """23: on starved cores the heartbeat is late, no node serves the channels, and the demo fired at an empty base."""
    monkeypatch.setattr(demo, "AGAIN_AFTER", 0.01)
    config = msgspec.structs.replace(demo_config(tmp_path), demo=Demo(subscribers=1500))
    real, calls = newsroom(own_link, channels=config.channels), 0

    class Late:
        @property
        def subscribers(self) -> Late:
            return self

        async def put(self, rows: list[Any]) -> Any:
            nonlocal calls
            calls += 1
            if calls > 2:
                return await real.subscribers.put(rows)
            late = range(0, len(rows), calls)  # all, and then every second
            stored, _ = await real.subscribers.put([row for n, row in enumerate(rows) if n not in late])
            return stored, {n: Problem("channel", "no node serves it") for n in late}

    await demo._fill(Late(), config, demo.Terminal())  # type: ignore[arg-type]
    assert sum((await real.subscribers.count()).values()) == 1500


async def test_what_no_repeat_can_mend_is_said_at_once() -> None:
    async def refused() -> None:
        await trio.lowlevel.checkpoint()
        raise FireFailed("", "no", maybe=False, status=422)

    with pytest.raises(FireFailed):
        await demo.insist(refused)
