"""A token that replaces another, from outside: through the API, an import, and to the phones of a real node."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadside import cli
from broadside.api.subscriber import MAX_TOKEN
from broadside.demo import samples
from broadside.imports.mapping import MapFile, Mapping
from broadside.imports.rules import Rules
from broadside.newsroom.successions import put_order
from storage.link import Link
from tests.broadside.sent_lines import plain
from tests.broadside.test_api import KEY, api_over, put
from tests.broadside.test_node_end_to_end import NodeProcess
from tests.broadside.test_subscriber_files import Import, Node
from transports import registry

A, B, C, D = (letter * 64 for letter in "abcd")
KEPT = {"locale": "de", "tz": "Europe/Berlin", "tags": ["sport"], "fields": {"first_name": "Ada"}}


@pytest.fixture
async def api(own_link: Link) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=api_over(own_link).app())
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as client:
        yield client


def phone(token: str, replaces: str | None = None, **more: Any) -> dict[str, Any]:
    named = {} if replaces is None else {"replaces": replaces}
    return {"channel": "ios", "token": token, "registered_at": 1_790_000_000_000, **named, **more}


async def base(api: httpx.AsyncClient) -> list[dict[str, Any]]:
    return list((await api.get("/v1/subscribers?limit=5000")).json()["items"])


async def test_the_api_moves_a_subscriber_to_its_new_token_and_says_so(api: httpx.AsyncClient) -> None:
    """Item 2."""
    await put(api, phone(A, **KEPT), phone(D))
    (before, _) = await base(api)
    moved = {"inserted": 0, "updated": 1, "replaces": {"moved": 1, "merged": 0, "unknown": 0}}
    assert await put(api, phone(B, A, locale="fr")) == moved
    assert (await base(api))[0] == {**before, "token": B, "locale": "fr"}
    again = {"inserted": 0, "updated": 1, "replaces": {"moved": 0, "merged": 0, "unknown": 1}}
    assert await put(api, phone(B, A, locale="fr")) == again
    assert (await base(api))[0] == {**before, "token": B, "locale": "fr"}
    merged = {"inserted": 0, "updated": 1, "replaces": {"moved": 0, "merged": 1, "unknown": 0}}
    assert await put(api, phone(D, B)) == merged
    assert await base(api) == [{**before, "token": D, "locale": "fr"}]
    assert await put(api, phone(C)) == {"inserted": 1, "updated": 0}, "nobody who replaces nothing hears of it"


@pytest.mark.parametrize("written", [A.upper(), f"<{A}>", f"  {A} "])
async def test_the_old_token_is_found_in_whatever_form_it_is_written(api: httpx.AsyncClient, written: str) -> None:
    """Item 2: the base has a token in its platform's form."""
    await put(api, phone(A, **KEPT))
    assert (await put(api, phone(B, written)))["replaces"]["moved"] == 1
    assert [row["token"] for row in await base(api)] == [B]


async def test_the_old_token_may_be_of_another_kind(api: httpx.AsyncClient) -> None:
    """Item 2: a release of an app moves its phones from registration tokens to installation ids."""
    old, new = registry.load("fcm").sample("1" * 64), "c" * 22
    await put(api, {"channel": "android", "token": old, **KEPT})
    answer = await put(api, {"channel": "android", "kind": "fid", "token": new, "replaces": f'"{old}"'})
    assert answer["replaces"]["moved"] == 1
    (row,) = await base(api)
    assert (row["id"], row["token"], row["kind"], row["locale"]) == (1, new, "fid", "de")


@pytest.mark.parametrize("word", ["", " ", "NULL", "none", None])
async def test_a_word_for_nothing_replaces_nothing(api: httpx.AsyncClient, word: str | None) -> None:
    """Item 2: a database writes NULL for a phone that never had another token."""
    row = {**phone(A), "replaces": word}
    assert await put(api, row) == {"inserted": 1, "updated": 0}


@pytest.mark.parametrize("value", [7, "x" * (MAX_TOKEN + 1), ["a"], {"token": A}])
async def test_what_is_no_token_is_refused_by_its_name(api: httpx.AsyncClient, value: Any) -> None:
    """Item 2."""
    answer = await put(api, phone(A), {**phone(B), "replaces": value})
    (error,) = answer["faults"]
    assert (error["field"], error["line"]) == ("replaces", 2)
    assert "the phone's last token on the same channel" in error["remedy"]
    assert [row["token"] for row in await base(api)] == [A]


async def test_a_token_of_another_channel_is_refused_and_the_others_are_stored(api: httpx.AsyncClient) -> None:
    """Item 2: it would stay there for ever, as a second subscriber of the same phone."""
    there = registry.load("fcm").sample("1" * 64)
    await put(api, {"channel": "android", "token": there})
    rows = [phone(f"{n:064x}") for n in range(1500)]
    answer = await put(api, *rows, phone(A, B), phone(C, there))
    (error,) = answer["faults"]
    assert (answer["inserted"], error["field"], error["line"]) == (1501, "replaces", 1502)
    assert "is a token of channel android, not of ios" in error["detail"]
    assert error["value"] in error["detail"]
    assert there not in json.dumps(error), "a token is written shortened"
    assert len(await base(api)) == 1502
    # a token that both channels have, or that this very request puts, is this channel's too
    await put(api, phone(D), {"channel": "android", "token": registry.load("fcm").sample("d" * 64)})
    assert (await put(api, phone("e" * 64, D)))["replaces"]["moved"] == 1


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
async def test_old_and_new_in_one_request_are_one_subscriber_in_any_order(
    api: httpx.AsyncClient, order: tuple[int, ...]
) -> None:
    """Item 2."""
    rows = [phone(A, **KEPT), phone(B, A, locale="fr"), phone(C, B)]
    answer = await put(api, *[rows[n] for n in order])
    assert answer == {"inserted": 1, "updated": 2, "replaces": {"moved": 2, "merged": 0, "unknown": 0}}
    (row,) = await base(api)
    assert (row["token"], row["locale"], row["tz"]) == (C, "fr", "Europe/Berlin")


@given(st.lists(st.tuples(st.integers(0, 5), st.none() | st.integers(0, 5)), max_size=12))
def test_a_request_is_put_in_its_own_order_except_that_a_token_comes_before_its_successor(
    links: list[tuple[int, int | None]],
) -> None:
    """Item 2: all rows, each once; rows of one token in their order unless they lie on a circle."""
    targets = {n: ("ios", str(token)) for n, (token, _) in enumerate(links)}
    replaced = {n: ("ios", str(old)) for n, (_, old) in enumerate(links) if old is not None}
    order = put_order(targets, replaced)
    assert sorted(order) == list(range(len(links)))
    after: dict[int, set[int]] = {token: set() for token, _ in links}
    for token, old in links:
        if old is not None and old != token:
            after[token].add(old)

    def before(token: int, seen: frozenset[int] = frozenset()) -> frozenset[int]:
        for old in after.get(token, set()) - seen:
            seen = before(old, seen | {old})
        return seen

    if any(token in before(token) for token, _ in links):
        return  # a circle has no order
    place = {index: n for n, index in enumerate(order)}
    for n, (token, old) in enumerate(links):
        for m, (other, _) in enumerate(links):
            if other == old and old != token:
                assert place[m] < place[n]
            if other == token and m < n:
                assert place[m] < place[n]
    if not replaced:
        assert order == list(range(len(links)))


def test_an_import_takes_the_old_token_from_a_column_or_a_key(tmp_path: Path) -> None:
    """Item 2: blank cells replace nothing; a text that is too long is told by its line."""
    run = Import(tmp_path)
    summary = run(f"channel,token,replaces\nios,{A},{B}\nios,{C},\nios,{D},{'x' * (MAX_TOKEN + 1)}\n")
    assert (summary.inserted, summary.rejected) == (2, 1)
    assert run.node.rows["ios", A] == {"channel": "ios", "token": A, "replaces": B}
    assert run.node.rows["ios", C] == {"channel": "ios", "token": C}
    assert run.told[0].startswith("base line 4: replaces: ")
    run(json.dumps({"channel": "ios", "token": D, "replaces": C}))
    assert run.node.rows["ios", D]["replaces"] == C
    run.rules = Rules(run.rules.device_tokens, mapping=Mapping(MapFile(columns={"previous": "replaces"}), "map"))
    run(f"channel,token,previous\nios,{B},{A}\n")
    assert run.node.rows["ios", B]["replaces"] == A


def test_an_import_adds_up_what_the_node_says_of_replaced_tokens(tmp_path: Path) -> None:
    """Item 2."""
    run = Import(tmp_path)

    class Counting(Node):
        def upsert(self, body: bytes) -> Any:
            answer = super().upsert(body)
            return msgspec.structs.replace(answer, replaces={"moved": len(plain(body)), "unknown": 1})

    rows = "".join(f"ios,{n:064x},{n + 10**6:064x}\n" for n in range(3000))
    summary = run(f"channel,token,replaces\n{rows}", Counting().upsert)
    assert summary.replaces == {"moved": 3000, "unknown": 2}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, 20)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


@pytest.mark.timeout(300)
def test_a_push_refused_under_the_old_token_goes_to_the_new_one_and_nobody_died(
    node: NodeProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    """Item 2: the app replaces its token while the push is on its way; a node, its twins, the command line."""

    def command(*words: str) -> str:
        capfd.readouterr()
        assert cli.run([*words, "--data", str(node.data)]) == 0
        return capfd.readouterr()[0]

    node.start()
    node.wait_for("serving;", 150)
    for row in rows_of(command("subscribers", "export")):
        if row["token"].startswith(samples.DEAD):
            command("subscribers", "remove", row["channel"], row["token"])
    platforms = {"ios-news": registry.load("apns"), "android-news": registry.load("fcm")}
    old = {channel: platform.sample(samples.DEAD + "1" * 60) for channel, platform in platforms.items()}
    new = {channel: platform.sample("1" * 64) for channel, platform in platforms.items()}
    for channel, token in old.items():
        said = command("subscribers", "put", channel, token, "--locale", "de", "--tag", "sport")
        assert said == f"added one subscriber of {channel}\n"
    before = node.ledger()
    ids = {row["token"]: row["id"] for row in rows_of(command("subscribers", "export"))}
    twins = node.children("simulators.twin")
    assert len(twins) == 2
    for twin in twins:
        os.kill(twin, signal.SIGSTOP)
    try:
        command("fire", "--title", "T", "--body", "B")
        tubes = [f"push_{channel}" for channel in old]
        node.until(lambda: all(node.api("/v1/tubes")["tubes"][tube]["taken"] for tube in tubes), "batches in hand")
        for channel, token in new.items():
            said = command("subscribers", "put", channel, token, "--replaces", old[channel])
            assert said == f"updated one subscriber of {channel}: the old token is replaced\n"
            said = command("subscribers", "put", channel, token, "--replaces", old[channel])
            assert said == f"updated one subscriber of {channel}; the old token is no subscriber's\n"
    finally:
        for twin in twins:
            os.kill(twin, signal.SIGCONT)
    (campaign,) = node.until(lambda: done(node, "T"), "end of the campaign", 60)
    sums: Counter[str] = Counter()
    for tally in campaign["channels"].values():
        sums.update(tally)
    rows = rows_of(command("subscribers", "export"))
    assert (sums["delivered"], sums["dead"], sums["rejected"]) == (len(rows), 0, 0)
    pushes = node.ledger() - before
    assert pushes == Counter(row["token"] for row in rows), "each phone once, under the token that it has now"
    assert set(new.values()) <= set(pushes)
    assert {row["token"]: row["id"] for row in rows if row["token"] in new.values()} == {
        new[channel]: ids[old[channel]] for channel in new
    }
    assert {tuple(row["tags"]) for row in rows if row["token"] in new.values()} == {("sport",)}
    assert not [entry for entry in node.api("/v1/dead")["items"] if entry["campaign"] == campaign["id"]]
    verified = node.api(f"/v1/campaigns/{campaign['id']}/verify")
    assert verified["ok"], verified["problems"]
    assert "replaces" not in command("subscribers", "export", "--format", "csv").splitlines()[0]
    assert node.end() == 0


def done(node: NodeProcess, title: str) -> list[dict[str, Any]]:
    campaigns = node.api("/v1/campaigns")["items"]
    return [each for each in campaigns if each["title"] == title and each["state"] == "done"]


def rows_of(exported: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exported.splitlines()]
