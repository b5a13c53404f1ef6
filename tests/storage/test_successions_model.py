"""Puts, replacements and removals in any order, against a base that is a dictionary."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.records import Row, Stored
from storage.store import Store
from tests.conftest import Server, linked
from tests.draws import drawn

TOKENS = ["a", "b", "c", "d"]
ROWS = st.tuples(
    st.sampled_from(TOKENS),
    st.sampled_from([None, *TOKENS]),
    st.fixed_dictionaries(
        {
            "locale": st.sampled_from(["", "de", "fr"]),
            "best_minute": st.sampled_from([None, 0, 7]),
            "tags": st.sampled_from([[], ["x"], ["y", "z"]]),
            "fields": st.sampled_from([{}, {"n": "1"}, {"m": "2"}]),
        }
    ),
)
CALLS = st.lists(st.one_of(st.lists(ROWS, min_size=1, max_size=4), st.sampled_from(TOKENS)), max_size=10)
"""A call puts some rows; a token alone is removed."""
NOTHING = ("", None, [], {})


class Model:
    """The base, slowly: token → (id, attributes). Ids are those of the model alone."""

    def __init__(self) -> None:
        self.base: dict[str, tuple[int, dict[str, Any]]] = {}
        self.ids = itertools.count()
        self.left = 0

    def put(self, rows: list[tuple[str, str | None, dict[str, Any]]]) -> Stored:
        counts = {"inserted": 0, "updated": 0, "moved": 0, "merged": 0, "unknown": 0}
        for token, replaces, attributes in rows:
            known = self.base.get(token)
            last = None if replaces is None else self.base.get(replaces)
            if replaces is not None:
                for other in (known, last):
                    if other is not None:
                        kept = {name: value for name, value in attributes.items() if value not in NOTHING}
                        attributes = other[1] | kept
                if last is None:
                    counts["unknown"] += 1
                elif replaces != token:
                    counts["moved" if known is None else "merged"] += 1
                    self.left += known is not None
                    del self.base[replaces]
                    known = last
            counts["inserted" if known is None else "updated"] += 1
            self.base[token] = (next(self.ids) if known is None else known[0], attributes)
        return Stored(**counts)

    def remove(self, token: str) -> bool:
        found = self.base.pop(token, None)
        self.left += found is not None
        return found is not None


def wire(channel: str, token: str, replaces: str | None, given: dict[str, Any]) -> list[Any]:
    texts = [given["locale"], "", "", "", ""]
    row: list[Any] = [channel, token, "token", 5, *texts, given["best_minute"], given["tags"], given["fields"]]
    return row if replaces is None else [*row, replaces]


async def rows_of(store: Store, channel: str) -> list[Row]:
    return await store.subscribers_some(channel, 100)


@pytest.mark.tarantool
@pytest.mark.timeout(180)
@settings(max_examples=drawn(30), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(calls=CALLS)
def test_the_base_is_as_the_model_says_after_any_calls(tarantool: Server, channel: str, calls: list[Any]) -> None:
    """Item 2: ids, attributes and counts; and one row that is put again at once changes nothing."""

    async def main() -> None:
        async with linked(tarantool) as link:
            store, model = Store(link), Model()
            for row in await rows_of(store, channel):
                await store.subscribers_remove(channel, row.token)
            before = (await store.removals()).get(channel, 0)
            real: dict[int, int] = {}  # the model's id → the store's
            for call in calls:
                if isinstance(call, str):
                    assert await store.subscribers_remove(channel, call) == model.remove(call)
                else:
                    stored = await store.subscribers_put([wire(channel, *row) for row in call])
                    assert stored == model.put(call)
                rows = await rows_of(store, channel)
                if len(call) == 1 and not isinstance(call, str):
                    await store.subscribers_put([wire(channel, *call[0])])
                    assert await rows_of(store, channel) == rows
                assert {row.token: attributes(row) for row in rows} == {
                    token: known for token, (_, known) in model.base.items()
                }
                for row in rows:
                    assert real.setdefault(model.base[row.token][0], row.id) == row.id
                assert len(set(real.values())) == len(real)
                assert (await store.subscribers_count()).get(channel, 0) == len(rows)
                assert (await store.removals()).get(channel, 0) - before == model.left

    trio.run(main)


def attributes(row: Row) -> dict[str, Any]:
    return {"locale": row.locale, "best_minute": row.best_minute, "tags": row.tags, "fields": row.fields}
