"""The API's lists go on at a cursor, and subscribers that come as lines are judged one by one."""

from __future__ import annotations

import codecs
import json
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from broadside.api.bounds import LARGEST_LINE
from broadside.console import bulk_load
from campaigns.message import Message
from storage.link import Link
from storage.records import Buried, DeadRow
from storage.store import Store
from storage.tubes import Tubes
from tests.broadside.test_api import KEY, api, app, lines, put, subscriber

__all__ = ["api", "app"]


async def all_of(api: httpx.AsyncClient, path: str, limit: int) -> list[dict[str, Any]]:
    """Everything in a list, from page to page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        page = (await api.get(path, params={"limit": limit, "cursor": cursor})).json()
        assert len(page["items"]) <= limit
        found += page["items"]
        cursor = page["next"]
    return found


async def test_campaigns_are_listed_page_by_page_without_their_texts(api: httpx.AsyncClient, own_link: Link) -> None:
    """Issue 22.1: one answer had the whole messages of a hundred campaigns, with 48 KB of texts each."""
    for n in range(7):
        message = Message(title="" if n == 3 else f"t{n}", body="b" * 5_000)
        await Store(own_link).campaign_create(
            100 + n, message, None, {"page_size": 100, "ttl_ms": 1000}, 1_800_000_000_000
        )
    found = await all_of(api, "/v1/campaigns", 3)
    assert [each["title"] for each in found] == ["t6", "t5", "t4", "b" * 200, "t2", "t1", "t0"]
    assert len((await api.get("/v1/campaigns")).content) < 10_000
    assert [each["id"] for each in await all_of(api, "/v1/campaigns", 7)] == [each["id"] for each in found]


async def test_buried_batches_and_the_dead_are_listed_page_by_page(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22.1: only the first were shown."""
    batches = [Buried(n, ["other"], 0, "a reason", 0, pri) for pri in (0, 2) for n in (1 + pri, 7 + pri, 11 + pri)]

    async def buried(tubes: Tubes, channel: str, limit: int, after: tuple[int, int] | None = None) -> list[Buried]:
        return [each for each in batches if after is None or (each.pri, each.id) > after][:limit]

    rows = [DeadRow(n, name, "asked", 1, 2, 3, 4, 5, 6, 7, 0.1, {}, []) for n in (9, 8, 7) for name in ("b.c", "a.b")]

    async def dead(store: Store, limit: int = 100, after: tuple[int, str] | None = None) -> list[DeadRow]:
        return [row for row in rows if after is None or (row.campaign, row.channel) < after][:limit]

    monkeypatch.setattr(Tubes, "tube_buried", buried)
    monkeypatch.setattr(Store, "dead_list", dead)
    assert [each["id"] for each in await all_of(api, "/v1/tubes/ios/buried", 2)] == [1, 7, 11, 3, 9, 13]
    assert [each["channel"] for each in await all_of(api, "/v1/dead", 2)] == ["b.c", "a.b"] * 3


async def test_a_cursor_that_is_none_is_refused_by_its_name(api: httpx.AsyncClient) -> None:
    """Issue 22.1."""
    for path in ("campaigns", "subscribers", "dead", "tubes/ios/buried"):
        for cursor in ("-1", "x", "1.2.3", "9" * 30, "a" * 65, "²"):
            answer = await api.get(f"/v1/{path}", params={"cursor": cursor})
            assert (answer.status_code, answer.json()["field"]) == (400, "cursor"), (path, cursor)


async def test_lines_are_judged_one_by_one_and_numbered_as_they_stand(api: httpx.AsyncClient) -> None:
    """Issue 22.1: a chunk was refused as a whole for one bad row."""
    good = [json.dumps(subscriber(n)).encode() for n in range(4)]
    body = [
        codecs.BOM_UTF8 + good[0],
        b"",
        b'{"channel": "ios", "token": "a',  # a line is a whole record: two halves are two mistakes
        b'b"}',
        good[1] + b"\r",
        b"[" * 5_000,
        json.dumps(subscriber(8, screen="Größe"), ensure_ascii=False).encode("latin-1"),
        json.dumps(subscriber(9, fields={"a": "x" * LARGEST_LINE})).encode(),
        b"[" + good[2] + b"]",
        good[2] + b"," + good[2],
        good[3],
    ]
    answer = await api.post("/v1/subscribers/bulk", content=b"\n".join(body))
    told = answer.json()
    assert (told["inserted"], told["refused"]) == (3, 7)
    assert [fault["line"] for fault in told["faults"]] == [3, 4, 6, 7, 8, 9, 10]
    assert all(fault["detail"] and fault["remedy"] for fault in told["faults"])
    assert (await api.get("/v1/subscribers/count")).json()["total"] == 3


async def test_a_body_of_lines_may_have_any_length_and_names_a_hundred_faults(api: httpx.AsyncClient) -> None:
    """Issue 22.1: a request took 5,000 rows."""
    rows = [subscriber(n, **({"channel": "iso"} if n % 50 == 0 else {})) for n in range(12_000)]
    told = await put(api, *rows)
    assert (told["inserted"], told["refused"]) == (11_760, 240)
    assert [fault["line"] for fault in told["faults"]] == [1 + 50 * n for n in range(100)]


async def test_lines_come_in_any_pieces(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 22.1."""
    monkeypatch.setattr(bulk_load, "AT_ONCE", 3)
    body = lines(subscriber(n) for n in range(10)).rstrip(b"\n")

    async def pieces() -> Any:
        for at in range(0, len(body), 17):
            yield body[at : at + 17]

    answer = await api.post("/v1/subscribers/bulk", content=pieces())
    assert answer.json() == {"inserted": 10, "updated": 0}


async def test_the_word_bearer_is_written_in_any_case(app: Starlette) -> None:
    """D4: `bearer` needed a capital B."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        for word in ("Bearer", "bearer", "BEARER"):
            answer = await client.get("/v1/newsroom", headers={"authorization": f"{word} {KEY}"})
            assert answer.status_code == 200
        for wrong in (KEY, f"Basic {KEY}", f"Bearer{KEY}", f"Bearer x{KEY}"):
            answer = await client.get("/v1/newsroom", headers={"authorization": wrong})
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert answer.headers["content-type"] == "application/problem+json"
