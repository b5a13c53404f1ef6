"""A POST that must not be done twice: what a client gets that repeats it under its key."""

from __future__ import annotations

import httpx
import pytest
import trio
from starlette.applications import Starlette
from trio.testing import MockClock

from broadside.api.idempotency import HEADER
from broadside.console import kept_answers
from broadside.console.http_answers import ApiFailure
from broadside.console.kept_answers import KEPT_FOR, KeptAnswers
from storage.tubes import Tubes
from tests.broadside.test_api import api, app

__all__ = ["api", "app"]


class Counter:
    """Counts how often it is done."""

    def __init__(self, *, fails: int = 0) -> None:
        self.done, self._fails = 0, fails

    async def __call__(self) -> int:
        await trio.sleep(1)
        self.done += 1
        if self.done <= self._fails:
            raise ValueError("lost")
        return self.done


async def test_a_repeat_gets_the_first_answer_and_does_nothing(autojump_clock: MockClock) -> None:
    """Issue 22.1: only Fire took a key; a kick whose answer was lost, and that was repeated, kicked another batch."""
    kept, do = KeptAnswers(), Counter()
    assert [await kept.once("local", "k", b"kick", do) for _ in range(3)] == [1, 1, 1]
    assert await kept.once("other", "k", b"kick", do) == 2, "a key is its owner's"
    with pytest.raises(ApiFailure) as other:
        await kept.once("local", "k", b"end", do)
    assert (other.value.problem.status, other.value.problem.field, other.value.problem.value) == (422, HEADER, "k")
    await trio.sleep(KEPT_FOR)
    assert await kept.once("local", "k", b"kick", do) == 3


async def test_a_repeat_waits_for_the_first_and_is_done_itself_if_that_fails(autojump_clock: MockClock) -> None:
    """Issue 22.1."""
    kept, do = KeptAnswers(), Counter(fails=1)
    found: list[object] = []

    async def ask() -> None:
        try:
            found.append(await kept.once("local", "k", b"kick", do))
        except ValueError as error:
            found.append(str(error))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
    assert (found, do.done) == (["lost", 2, 2], 2)


async def test_answers_are_bounded(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 22.1."""
    monkeypatch.setattr(kept_answers, "MOST", 3)
    kept, do = KeptAnswers(), Counter()
    for key in "abcd":
        await kept.once("local", key, b"", do)
    assert await kept.once("local", "d", b"", do) == 4
    assert await kept.once("local", "a", b"", do) == 5, "the oldest has gone"


async def test_a_kick_is_done_once_under_its_key(
    api: httpx.AsyncClient, app: Starlette, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22.1."""
    kicks: list[int] = []

    async def kick(tubes: Tubes, channel: str, count: int) -> int:
        kicks.append(count)
        return 1

    monkeypatch.setattr(Tubes, "tube_kick", kick)
    for _ in range(2):
        answer = await api.post("/v1/tubes/ios/kick?count=2", headers={HEADER: "k1"})
        assert (answer.status_code, answer.json()) == (200, {"kicked": 1})
    assert kicks == [2]
    answer = await api.post("/v1/tubes/ios/kick?count=3", headers={HEADER: "k1"})
    assert (answer.status_code, answer.json()["field"]) == (422, HEADER)
    answer = await api.post("/v1/tubes/ios/kick", headers={HEADER: "ключ".encode()})
    assert (answer.status_code, answer.json()["field"]) == (400, HEADER)
    assert kicks == [2]
