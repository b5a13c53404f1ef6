"""Many subscribers in one request: read ahead while the store writes, in order, and within bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, MutableMapping, Sequence
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from starlette.applications import Starlette

import storage.store
from broadside.api.attributes.changes import Changes
from broadside.api.bounds import LARGEST_LINE
from broadside.api.subscriber import Subscriber, decode_lines, decode_stored_form
from broadside.console import bulk_load
from broadside.newsroom.alarms import RefusedLines
from broadside.newsroom.ring import Ring
from broadside.newsroom.subscriber_desk import Prepared, SubscriberDesk
from storage.errors import LinkDown
from storage.link import Link
from storage.records import Stored
from storage.store import REPLACEMENTS_A_CALL, ROWS_A_CALL, Store, pack_rows
from tests.broadside.api_parts import api_of
from tests.broadside.test_api import KEY, api, app, lines, newsroom_over, put, subscriber

__all__ = ["api", "app"]

Sent = Callable[[], None] | None
ONE = b'{"channel":"ios","token":"%064x"}'


@pytest.mark.parametrize(
    "block",
    [
        ONE % 1 + b"\n" + ONE % 2 + b"\n",
        b'{"channel":"ios","token":"ab","tags":["a"],"fields":{}}\n',
        ONE % 1 + b"\r\n" + ONE % 2 + b"\n",
        ONE % 1 + b"\n\n" + ONE % 2 + b"\n",
        b"\xef\xbb\xbf" + ONE % 1 + b"\n",
        ONE % 1 + ONE % 2 + b'\n{"channel":"ios",\n"token":"ab"}\n',
        ONE % 1 + ONE % 2 + b'\n{"channel":"ios","token":"ab","fields":{}\n{"a":"b"}}\n',
        b'{"channel":"ios","token":"a}\n{b"}\n',
        ONE % 1 + b"\n[]\n",
        b'{"channel":"ios","token":"ab","locale":"de_DE.UTF-8"}\n',
        b'{"channel":"ios","token":"ab","replaces":"cd"}\n',
        b'{"channel":"ios","token":"ab","fields":{"a":"' + b"x" * LARGEST_LINE + b'"}}\n',
        ONE % 1 + b"\n" + b"{" * 2_000 + b"}\n",
        b"\n",
    ],
    ids=[
        "plain",
        "tags",
        "carriage-return",
        "blank",
        "mark",
        "two-on-one",
        "over-two",
        "break-in-text",
        "array",
        "converted",
        "replaces",
        "long",
        "deep",
        "empty",
    ],
)
def test_lines_that_are_decoded_at_once_are_what_each_of_them_is(block: bytes) -> None:
    """Issue 22.1: a record over two lines, or two records on one, must be found in whatever way lines are decoded."""
    each = block.split(b"\n")[:-1]
    found = decode_stored_form(block)
    assert found is None or found == decode_lines(each, Changes())


def test_lines_in_their_stored_form_are_decoded_at_once() -> None:
    """Issue 22.1."""
    block = b"".join(ONE % n + b"\n" for n in range(3_000))
    assert decode_stored_form(block) == [Subscriber(channel="ios", token=f"{n:064x}") for n in range(3_000)]


def test_rows_that_replace_tokens_go_to_the_store_in_small_parts() -> None:
    """Issue 22.1: they went a thousand a call, each with a look into every recent campaign's refused tokens."""
    row = ["ios", "t", "token", 1, "", "", "", "", "", None, [], {}]
    assert len(pack_rows([row] * 2 * ROWS_A_CALL)) == 2
    assert len(pack_rows([row, [*row, "old"]] * REPLACEMENTS_A_CALL)) == 2


async def pieces_of(rows: Sequence[dict[str, Any]], size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(rows), size):
        yield lines(rows[start : start + size])


async def test_a_later_line_of_the_same_subscriber_holds(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22.1: also in another batch, in another call of a batch, and with wrong lines between them."""
    monkeypatch.setattr(bulk_load, "AT_ONCE", 4)
    monkeypatch.setattr(storage.store, "ROWS_A_CALL", 1)
    rows = [subscriber(n % 3, app_version=str(n), **({"channel": "iso"} if n % 7 == 5 else {})) for n in range(61)]
    answer = (await api.post("/v1/subscribers/bulk", content=pieces_of(rows, 5))).json()
    assert (answer["inserted"], answer["updated"], answer["refused"]) == (3, 61 - 3 - 8, 8)
    assert [fault["line"] for fault in answer["faults"]] == list(range(6, 61, 7))
    kept = {row["token"]: row["app_version"] for row in (await api.get("/v1/subscribers")).json()["items"]}
    last = {row["token"]: row["app_version"] for row in rows if row["channel"] == "ios"}
    assert kept == last


async def test_the_next_lines_are_read_while_the_store_writes(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22.1: the node read and stored by turns, on one core of two."""
    monkeypatch.setattr(bulk_load, "AT_ONCE", 10)
    read_on = trio.Event()

    async def slow(store: Store, packed: Sequence[bytes], sent: Sent = None) -> Stored:
        assert sent is not None
        sent()
        await read_on.wait()
        return Stored(10, 0)

    async def body() -> AsyncIterator[bytes]:
        yield lines(subscriber(n) for n in range(10))
        yield lines(subscriber(n) for n in range(10, 20))
        read_on.set()

    monkeypatch.setattr(Store, "subscribers_put_packed", slow)
    with trio.fail_after(10):
        answer = await api.post("/v1/subscribers/bulk", content=body())
    assert answer.json()["inserted"] == 20


async def test_two_batches_are_on_their_way_but_those_that_replace_tokens_go_alone(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22.1: the store waited for the node between two calls. What is there decides who has a token."""
    monkeypatch.setattr(bulk_load, "AT_ONCE", 10)
    under_way = 0
    beside = dict[str, int]()
    through = Store.subscribers_put_packed

    async def watched(store: Store, packed: Sequence[bytes], sent: Sent = None) -> Stored:
        nonlocal under_way
        under_way += 1
        assert sent is not None
        sent()
        await trio.testing.wait_all_tasks_blocked()
        kind = "replacing" if b"old" in packed[0] else "plain"
        beside[kind] = max(beside.get(kind, 0), under_way)
        stored = await through(store, packed)
        under_way -= 1
        return stored

    monkeypatch.setattr(Store, "subscribers_put_packed", watched)
    rows = [subscriber(n, **({"replaces": f"old-{n}"} if n // 10 % 3 == 2 else {})) for n in range(120)]
    answer = (await api.post("/v1/subscribers/bulk", content=pieces_of(rows, 10))).json()
    assert (answer["inserted"], answer["replaces"]["unknown"]) == (120, 40)
    assert beside == {"plain": 2, "replacing": 1}


async def test_no_batch_is_larger_than_its_bytes_and_a_slow_store_holds_the_reader_up(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22.1: a thousand lines of 60 KB each were kept at once, whatever the store had taken."""
    sizes, read, ahead, prepare = [], 0, [], SubscriberDesk.prepare

    async def measured(desk: SubscriberDesk, rows: Sequence[Subscriber]) -> Prepared:
        prepared = await prepare(desk, rows)
        sizes.append(sum(map(len, prepared.packed)))
        return prepared

    async def slow(store: Store, packed: Sequence[bytes], sent: Sent = None) -> Stored:
        await trio.testing.wait_all_tasks_blocked()
        ahead.append(read)
        return Stored(sum(map(len, packed)), 0)

    async def body() -> AsyncIterator[bytes]:
        nonlocal read
        for n in range(600):
            read += 1
            yield lines([subscriber(n, fields={f"f{at}": "x" * 1000 for at in range(11)})])

    monkeypatch.setattr(SubscriberDesk, "prepare", measured)
    monkeypatch.setattr(Store, "subscribers_put_packed", slow)
    told = (await api.post("/v1/subscribers/bulk", content=body())).json()
    assert told["inserted"] == sum(sizes)
    assert len(sizes) >= 6
    assert max(sizes) < bulk_load.AT_ONCE_BYTES + LARGEST_LINE
    assert ahead[0] < 400, "three batches at most: two are on their way, one is read"


async def test_others_have_their_turn_while_lines_are_converted(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22.1: 2,500 lines that must be read one by one held the node's loop for 150 ms."""
    turns, seen, decode = 0, list[tuple[int, int]](), bulk_load.decode_lines

    def counted(part: Sequence[bytes], changes: Changes, *, strict: bool) -> Any:
        seen.append((turns, len(part)))
        return decode(part, changes, strict=strict)

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    monkeypatch.setattr(bulk_load, "decode_lines", counted)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        told = await put(api, *(subscriber(n, tz="GMT+3") for n in range(1_000)))
        nursery.cancel_scope.cancel()
    assert told["converted"]["tz"]["count"] == 1_000
    assert max(lines for _, lines in seen) <= 100
    assert len(seen) == 10
    both = zip(seen, seen[2:], strict=False)  # in one round of the loop either of the two tasks may be first
    assert all(later > before for (before, _), (later, _) in both), "the other task ran between the steps"


@pytest.mark.parametrize("gone", [False, True])
async def test_a_client_that_leaves_in_the_middle_leaves_whole_batches(
    app: Starlette, api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    """Issue 22.1: what was read whole is stored, the rest is not, and the next request finds a sound base."""
    monkeypatch.setattr(bulk_load, "AT_ONCE", 10)
    parts = [lines(subscriber(n) for n in range(10 * at, 10 * at + 10)) for at in range(3)]
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if parts:
            return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts) or gone}
        return {"type": "http.disconnect"}

    async def send(event: MutableMapping[str, Any]) -> None:
        sent.append(event)

    scope = {
        "type": "http", "method": "POST", "path": "/v1/subscribers/bulk", "raw_path": b"/v1/subscribers/bulk",
        "query_string": b"", "headers": [(b"host", b"node"), (b"authorization", f"Bearer {KEY}".encode())],
        "state": {}, "scheme": "http", "server": None, "client": None, "root_path": "", "http_version": "1.1",
    }  # fmt: skip
    await app(scope, receive, send)
    assert sent[0]["status"] == (400 if gone else 200)
    assert (await api.get("/v1/subscribers/count")).json()["total"] == 30
    assert (await put(api, subscriber(5), subscriber(31)))["updated"] == 1


async def test_a_store_that_is_away_in_the_middle_is_answered_as_for_any_request(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22.1: two tasks work on a request, and their error comes in no group."""
    monkeypatch.setattr(bulk_load, "AT_ONCE", 10)
    calls = 0
    through = Store.subscribers_put_packed

    async def away(store: Store, packed: Sequence[bytes], sent: Sent = None) -> Stored:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise LinkDown("store: the link is not running")
        return await through(store, packed, sent)

    monkeypatch.setattr(Store, "subscribers_put_packed", away)
    answer = await api.post("/v1/subscribers/bulk", content=pieces_of([subscriber(n) for n in range(100)], 10))
    assert answer.status_code == 503, answer.text
    assert (await api.get("/v1/subscribers/count")).json()["total"] == 10


async def test_a_request_of_which_many_lines_are_refused_is_an_alarm_for_an_hour(own_link: Link) -> None:
    """Issue 22, CONSOLE 3: only the sender learned of it."""
    now = 1_800_000_000_000
    refused = RefusedLines(lambda: now)
    newsroom = newsroom_over(own_link)
    newsroom.refused_lines = refused
    made = api_of(newsroom, Ring(store=Store(own_link), node="n1"), own_link, KEY, own=refused.alarms)
    transport = httpx.ASGITransport(app=made.app())
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as api:
        rows = [subscriber(n) for n in range(200)]
        wrong = [subscriber(n, channel="iso") for n in range(10)]
        await put(api, *rows, *wrong[:9])
        await put(api, *rows, *rows, *wrong)
        assert refused.alarms() == [], "nine lines, and ten of 410, are for their sender alone"
        await put(api, *rows[:150], *wrong)
        (alarm,) = (await api.get("/v1/status")).json()["alarms"]
        assert alarm["name"] == "subscribers-refused"
        assert "10 of 160" in alarm["text"]
        assert "line 151" in alarm["text"]
        assert "iso" in alarm["text"]
        now += RefusedLines.SHOWN_FOR
        assert refused.alarms()
        now += 1
        assert refused.alarms() == []
