"""A token that replaces another: the subscriber keeps id and attributes, no walk loses or doubles the phone."""

from __future__ import annotations

from typing import Any

import pytest

from campaigns.message import Message
from campaigns.recipient import Recipient, pack_recipients, unpack_recipients
from storage.link import Link
from storage.records import Remainder, Row, Stored
from storage.store import Store
from tests.conftest import Server, linked
from tests.storage.test_dead_ledger import DAY, HOUR, Judged
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, settlement

OTHER = CAMPAIGN + 1
FULL: dict[str, Any] = {
    "locale": "de", "tz": "Europe/Berlin", "country": "DE", "app_version": "4.2", "screen": "big", "best_minute": 480,
    "tags": ["sport"], "fields": {"first_name": "Ada"},
}  # fmt: skip


def row(token: str, replaces: str | None = None, *, at: int = NOW, channel: str = "ios", **given: Any) -> list[Any]:
    blank = dict.fromkeys(("locale", "tz", "country", "app_version", "screen"), "")
    attributes = {**blank, "best_minute": None, "tags": [], "fields": {}, **given}
    return [channel, token, "token", at, *attributes.values(), *([] if replaces is None else [replaces])]


class Base(Judged):
    """A base whose tokens are replaced."""

    async def register(self, *rows: list[Any]) -> Stored:
        return await self.store.subscribers_put(rows)

    async def rows(self) -> dict[str, Row]:
        return {row.token: row for row in await self.store.subscribers_page(0, 5000)}

    async def ids(self) -> dict[str, int]:
        await self.count()
        return {token: row.id for token, row in (await self.rows()).items()}

    async def sent(self, channel: str = "ios") -> list[tuple[int, str]]:
        """Deliver all that is on a channel's tube; answers (id, token) of every push."""
        pushes: list[tuple[int, str]] = []
        while tasks := await self.batches(channel):
            for task in tasks:
                phones = unpack_recipients(task.recipients)
                pushes += [(phone.id, phone.token) for phone in phones]
                assert await self.tubes.settle(channel, [settlement(task, delivered=len(phones))]) == [True]
        await self.report()
        return pushes

    async def fire_another(self) -> None:
        policy = {"page_size": 10, "ttl_ms": HOUR}
        await self.store.campaign_create(OTHER, Message(title="t", body="b"), None, policy, NOW + 5)
        batons = await self.store.campaign_fire(OTHER, 1, NOW + 5)
        assert batons
        await self.tubes.baton_put(batons)


@pytest.fixture
async def base(own_link: Link) -> Base:
    base = Base(own_link)
    await base.join()
    await base.beat()
    return base


async def test_rows_of_a_node_of_an_older_version_are_taken_too(base: Base, own_link: Link) -> None:
    """22.1: rows are packed now; while a ring is upgraded, older nodes still send them as they are."""
    rows = [row("a"), row("b", locale="de"), row("c", "b", locale="fr")]
    (*counts,) = await own_link.call("store", "store.subscribers_put", rows)
    assert Stored(*counts) == Stored(2, 1, moved=1)
    assert {token: each.locale for token, each in (await base.rows()).items()} == {"a": "", "c": "fr"}


async def test_a_successor_keeps_id_and_attributes_except_those_that_it_gives(base: Base) -> None:
    """Item 2."""
    await base.register(row("first"), row("old", **FULL), row("last"))
    before = (await base.rows())["old"]
    assert await base.register(row("new", "old", at=NOW + 5, locale="fr", tags=["arts"])) == Stored(0, 1, moved=1)
    rows = await base.rows()
    assert rows.keys() == {"first", "new", "last"}
    given = {"token": "new", "registered_at": NOW + 5, "locale": "fr", "tags": ["arts"]}
    assert rows["new"] == before._replace(**given, changed_at=rows["new"].changed_at)
    assert await base.ids() == {"first": 1, "new": 2, "last": 3}
    assert await base.removals() == 0


async def test_a_replacement_that_is_sent_again_changes_nothing(base: Base) -> None:
    """Item 2: whoever had no answer sends it again, and the attributes that it does not give stay."""
    await base.register(row("old", **FULL))
    await base.register(row("new", "old", locale="fr"))
    before = await base.rows()
    for _ in range(2):
        assert await base.register(row("new", "old", locale="fr")) == Stored(0, 1, unknown=1)
        assert await base.rows() == before


async def test_the_successor_of_an_unknown_token_is_put_and_counted(base: Base) -> None:
    """Item 2."""
    assert await base.register(row("new", "old", locale="fr")) == Stored(1, 0, unknown=1)
    assert (await base.rows())["new"].locale == "fr"


async def test_a_token_that_replaces_itself_is_registered_again(base: Base) -> None:
    """Item 2: apps send the last token that they know, changed or not."""
    await base.register(row("same", **FULL))
    before = (await base.rows())["same"]
    assert await base.register(row("same", "same", at=NOW + 5)) == Stored(0, 1)
    assert await base.rows() == {"same": before._replace(registered_at=NOW + 5)}


async def test_a_chain_of_replacements_is_one_subscriber(base: Base) -> None:
    """Item 2, within one call and over several."""
    await base.register(row("a", **FULL))
    assert await base.register(row("b", "a"), row("c", "b"), row("d", "c")) == Stored(0, 3, moved=3)
    await base.register(row("e", "d"))
    rows = await base.rows()
    assert rows.keys() == {"e"}
    assert (rows["e"].id, rows["e"].locale, rows["e"].fields) == (1, "de", FULL["fields"])


async def test_a_token_that_comes_back_is_the_same_subscriber(base: Base) -> None:
    """Item 2: a replaces b and b replaces a, as often as you like."""
    await base.register(row("a", **FULL))
    for new, old in (("b", "a"), ("a", "b"), ("b", "a")):
        await base.register(row(new, old))
        assert await base.ids() == {new: 1}


async def test_two_subscribers_that_are_one_phone_become_the_older_and_are_counted(base: Base) -> None:
    """Item 2: the app registered the new token before it named the old one."""
    await base.register(row("old", **FULL), row("other"), row("new", locale="fr", tags=["arts"]))
    assert await base.register(row("new", "old", screen="small")) == Stored(0, 1, merged=1)
    rows = await base.rows()
    assert await base.ids() == {"new": 1, "other": 2}
    assert (rows["new"].screen, rows["new"].locale, rows["new"].tags) == ("small", "fr", ["arts"]), "given, its own"
    assert (rows["new"].tz, rows["new"].fields) == ("Europe/Berlin", {"first_name": "Ada"}), "and the old one's"
    assert (await base.count(), await base.removals()) == (2, 1)


async def test_a_walk_under_way_sends_once_to_each_phone_whose_token_is_replaced(base: Base) -> None:
    """Item 2: pages before the replacement have the old token, pages after it the new one; the proofs agree."""
    await base.register(*[row(f"old-{n}") for n in range(40)])
    await base.fire(page_size=10)
    await base.walk_page()
    await base.walk_page()
    await base.register(*[row(f"new-{n}", f"old-{n}") for n in range(40)])
    await base.register(row("newcomer"))
    await base.walk()
    pushes = await base.sent()
    assert sorted(id for id, _ in pushes) == list(range(1, 41))
    assert {token for id, token in pushes if id > 20} == {f"new-{n}" for n in range(20, 40)}
    assert await base.state() == "done"
    assert await base.verified() == []


@pytest.mark.parametrize("walked", range(5))
async def test_two_subscribers_that_become_one_in_mid_campaign_get_it_once(base: Base, walked: int) -> None:
    """Item 2: wherever the walk is, when both are in the audience: what was walked stays, what was not is reached."""
    await base.register(*[row(f"p-{n}") for n in range(40)])
    await base.fire(page_size=10)
    for _ in range(walked):
        await base.walk_page()
    old, new = "p-5", "p-25"
    assert (await base.register(row(new, old))).merged == 1
    assert await base.ids() == {f"p-{n}": n + 1 for n in range(40) if n != 5}
    await base.walk()
    pushes = await base.sent()
    assert [id for id, token in pushes if token == new] == [26]
    assert len(pushes) == (40 if walked else 39), "the old token itself, if it was on a tube by then"
    assert await base.verified() == []


async def test_a_phone_whose_old_token_was_refused_already_is_reached_under_its_new_one(base: Base) -> None:
    """Item 2: when both are in the audience, the new one's row keeps its place in the walk."""
    await base.register(*[row(f"p-{n}") for n in range(40)])
    await base.fire(page_size=10)
    await base.walk_page()
    await base.refuse("ios", "likely", 10)
    assert (await base.register(row("p-25", "p-5"))).merged == 1
    await base.walk()
    assert (26, "p-25") in await base.sent()
    assert await base.verified() == []


async def test_of_two_that_are_in_hand_the_refused_one_is_not_sent_again(base: Base) -> None:
    """Item 2: its phone gets the push under the new token anyway."""
    await base.register(*[row(f"p-{n}") for n in range(40)])
    await base.fire(page_size=10)
    await base.walk()
    await base.register(row("p-25", "p-5"))
    assert await base.store.subscribers_successors("ios", [(6, "p-5"), (26, "p-25")]) == {}
    assert len(await base.sent()) == 40
    assert await base.verified() == []


async def test_a_subscriber_that_came_after_fire_leaves_its_phone_in_the_audience(base: Base) -> None:
    """Item 2: the new token is registered, and then named as the successor, while the campaign is walked."""
    await base.register(*[row(f"p-{n}") for n in range(30)])
    await base.fire(page_size=10)
    await base.walk_page()
    await base.register(row("new"))
    assert (await base.register(row("new", "p-15"))).merged == 1
    await base.walk()
    pushes = await base.sent()
    assert dict(pushes)[16] == "new"
    assert sorted(id for id, _ in pushes) == list(range(1, 31))
    assert await base.verified() == []


async def test_a_page_that_changes_hands_is_sent_to_the_new_tokens_of_those_who_are_left(base: Base) -> None:
    """Item 2: who is settled is known by id, so nobody is doubled; who comes back in a remainder has the new token."""
    await base.register(*[row(f"old-{n}") for n in range(10)])
    await base.fire(page_size=10)
    await base.walk()
    (task,) = await base.batches("ios")
    phones = unpack_recipients(task.recipients)
    await base.register(row("new-9", "old-9"))
    successors = await base.store.subscribers_successors("ios", [(phone.id, phone.token) for phone in phones])
    assert successors == {10: Recipient(10, "new-9", "token", NOW, "")}
    rest = [Remainder(0.0, 1, 1, pack_recipients([successors[10]]))]
    done = settlement(task, delivered=9, remainders=rest)
    assert await base.tubes.settle("ios", [done]) == [True]
    assert await base.sent() == [(10, "new-9")]
    assert await base.state() == "done"
    assert await base.verified() == []


@pytest.mark.parametrize("kind", ["likely", "doubtful"])
async def test_a_death_with_a_successor_is_not_counted(base: Base, kind: str) -> None:
    """Item 2: the old tokens of a whole base are refused, as after a new release of the app: no key looks wrong."""
    await base.register(*[row(f"old-{n}") for n in range(100)])
    await base.fire(page_size=50)
    await base.walk()
    await base.register(*[row(f"new-{n}", f"old-{n}") for n in range(70)])
    await base.refuse("ios", kind, 75)
    listed = await base.row()
    assert (listed.likely + listed.doubtful, listed.kept, listed.reasons) == (5, 5, {"Word": 5})
    assert await base.judge() == ["deleting"], "5 of 30"
    assert await base.count() == 95
    assert {f"new-{n}" for n in range(70)} <= (await base.rows()).keys()
    assert await base.verified() == []


async def test_a_certain_death_of_an_old_token_leaves_its_successor(base: Base) -> None:
    """Item 2."""
    await base.register(*[row(f"old-{n}") for n in range(40)])
    await base.fire(page_size=50)
    await base.walk()
    await base.register(*[row(f"new-{n}", f"old-{n}", at=NOW - HOUR) for n in range(30)])
    await base.refuse("ios", "certain", 40)
    assert await base.ids() == {f"new-{n}": n + 1 for n in range(30)}
    assert await base.removals() == 10
    assert await base.verified() == []


@pytest.mark.parametrize("kind", ["likely", "doubtful"])
async def test_a_question_whose_phones_have_new_tokens_is_judged_again(base: Base, kind: str) -> None:
    """Item 2: the refusals came before the successors. Those that are left are few, and are judged as always."""
    await base.register(*[row(f"old-{n}") for n in range(100)])
    await base.fire(page_size=50)
    await base.walk()
    await base.refuse("ios", kind, 60)
    assert await base.judge() == ["asked"]
    await base.register(*[row(f"new-{n}", f"old-{n}") for n in range(30)])
    assert ((await base.row()).state, (await base.row()).kept) == ("asked", 30), "30 of 70 would be asked about as well"
    await base.register(*[row(f"new-{n}", f"old-{n}") for n in range(30, 55)])
    assert await base.judge() == ["deleting"]
    assert await base.count() == 95
    listed = await base.row()
    assert (listed.state, listed.likely + listed.doubtful, listed.reasons) == ("closed", 5, {"Word": 5})
    lease = await base.beat()
    assert lease is not None
    assert lease.dead == []
    assert await base.verified() == []


async def test_what_a_person_calls_dead_is_not_the_successor(base: Base) -> None:
    """Item 2."""
    await base.register(*[row(f"old-{n}") for n in range(100)])
    await base.fire(page_size=50)
    await base.walk()
    await base.refuse("ios", "doubtful", 60)
    await base.judge()
    await base.register(*[row(f"new-{n}", f"old-{n}") for n in range(10)])
    assert await base.store.dead_answer("ios", None, "confirmed", NOW + 1) == ([CAMPAIGN], 50)
    await base.register(row("new-10", "old-10"))
    await base.judge()
    assert await base.count() == 51
    assert {f"new-{n}" for n in range(11)} <= (await base.rows()).keys()
    assert await base.store.dead_restore("ios", None, NOW + 2) == (49, 0)
    assert await base.ids() == {f"{'new' if n < 11 else 'old'}-{n}": n + 1 for n in range(100)}
    assert await base.verified() == []


async def test_an_undone_deletion_and_a_replacement_agree_in_either_order(base: Base) -> None:
    """Item 2: restored first, the subscriber gets the new token; deleted still, the old token is unknown."""
    await base.register(*[row(f"old-{n}") for n in range(40)])
    await base.fire(page_size=50)
    await base.walk()
    await base.register(row("newer-0", "old-0"))
    await base.refuse("ios", "certain", 20)
    assert await base.register(row("new-1", "old-1", at=NOW + 1)) == Stored(1, 0, unknown=1)
    assert await base.store.dead_restore("ios", None, NOW + 2) == (19, 0)
    assert await base.register(row("new-1", "old-1", at=NOW + 3)) == Stored(0, 1, merged=1)
    assert await base.register(row("new-2", "old-2", at=NOW + 3)) == Stored(0, 1, moved=1)
    expected = {f"old-{n}": n + 1 for n in range(3, 40)} | {"newer-0": 1, "new-1": 2, "new-2": 3}
    assert await base.ids() == expected
    assert await base.removals() == 1
    assert await base.verified() == []


async def test_a_successor_that_dies_comes_back_under_the_old_id(base: Base) -> None:
    """Item 2."""
    await base.register(*[row(f"old-{n}", **FULL) for n in range(40)])
    await base.register(*[row(f"new-{n}", f"old-{n}") for n in range(40)])
    before = await base.rows()
    await base.fire(page_size=50)
    await base.walk()
    await base.refuse("ios", "certain", 20)
    assert await base.store.dead_restore("ios", None, NOW + 2) == (20, 0)
    assert await base.rows() == before
    assert await base.judge(NOW + DAY + 1) == []
    assert await base.verified() == []


async def test_a_token_of_another_channel_is_found_there(base: Base) -> None:
    """Item 2."""
    await base.register(row("here"), row("both"), row("both", channel="android"), row("there", channel="android"))
    known = [("ios", "here"), ("ios", "both"), ("ios", "nowhere")]
    assert await base.store.subscribers_elsewhere(known) is None
    assert await base.store.subscribers_elsewhere([*known, ("ios", "there")]) == (3, "android")
    many = [("ios", f"n-{n}") for n in range(1500)]
    assert await base.store.subscribers_elsewhere([*many, ("ios", "there")]) == (1500, "android")


async def test_replacements_survive_a_kill_and_are_all_there_or_none_of_a_call(own_tarantool: Server) -> None:
    """Item 2: answered before a `kill -9`, they are there after it; sent again, they change nothing."""
    async with linked(own_tarantool) as link:
        store = Store(link)
        await store.subscribers_put([row(f"old-{n}", **FULL) for n in range(500)])
        await store.subscribers_put([row(f"new-{n}") for n in range(0, 500, 5)])
        half = [row(f"new-{n}", f"old-{n}") for n in range(250)]
        assert await store.subscribers_put(half) == Stored(0, 250, moved=200, merged=50)
        bad = [row(f"new-{n}", f"old-{n}") for n in range(250, 500)]
        bad[-1][3] = "no time"
        with pytest.raises(Exception, match="unsigned"):
            await store.subscribers_put(bad)
        before = await store.subscribers_page(0, 5000)
        own_tarantool.kill()
        own_tarantool.start()
    async with linked(own_tarantool) as link:
        store = Store(link)
        assert await store.subscribers_page(0, 5000) == before
        assert {row.token for row in before if 250 < row.id <= 500} == {f"old-{n}" for n in range(250, 500)}
        assert await store.subscribers_put(half) == Stored(0, 250, unknown=250)
        assert await store.subscribers_page(0, 5000) == before
        everything = [row(f"new-{n}", f"old-{n}") for n in range(500)]
        assert await store.subscribers_put(everything) == Stored(0, 500, moved=200, merged=50, unknown=250)
        rows = await store.subscribers_page(0, 5000)
        assert [row.id for row in rows] == list(range(1, 501))
        assert {row.token for row in rows} == {f"new-{n}" for n in range(500)}
        assert {row.locale for row in rows} == {"de"}
        assert (await store.subscribers_count())["ios"] == 500


async def test_two_phones_that_come_and_are_merged_in_one_call_are_counted_once(own_link: Link) -> None:
    """Item 2: who left was counted before those who came, and a new channel's whole call was refused."""
    base = Base(own_link)
    stored = await base.register(row("a"), row("b"), row("b", "a"))
    assert (stored.inserted, stored.merged) == (2, 1)
    assert await base.store.subscribers_count() == {"ios": 1}


async def test_ids_are_never_used_again_by_a_server_that_was_killed(own_tarantool: Server) -> None:
    """Issue 22.1: Tarantool itself numbers new rows, and its log has no row of its own for the number."""

    async def put(*tokens: str) -> list[int]:
        async with linked(own_tarantool) as link:
            store = Store(link)
            await store.subscribers_put([row(token) for token in tokens])
            return [each.id for each in await store.subscribers_page(0, 100)]

    first = await put("a", "b", "c")
    async with linked(own_tarantool) as link:
        for token in ("b", "c"):
            assert await Store(link).subscribers_remove("ios", token)
    own_tarantool.kill()
    own_tarantool.start()
    assert await put("d") == [first[0], first[-1] + 1]


ENDPOINT = "https://push.example.com/w/abc"


async def test_an_address_is_one_phone_whatever_its_keys(base: Base) -> None:
    """A browser's subscription is an address and its keys."""
    beside = [row(f"{ENDPOINT}{more}#k.a") for more in ("d", "/d", "?d", "!")]
    stored = await base.register(row(f"{ENDPOINT}#key.one", **FULL), row("https://push.example.com/w/ab#k.a"), *beside)
    assert (stored.inserted, stored.updated) == (6, 0)
    first = (await base.rows())[f"{ENDPOINT}#key.one"].id
    assert (await base.register(row(f"{ENDPOINT}#key.two"))).updated == 1
    rows = await base.rows()
    assert rows[f"{ENDPOINT}#key.two"].id == first
    assert len(rows) == 6
    # an app that has only the old address may say so, and so may one that unregisters
    assert (await base.register(row("https://push.example.com/new#k.b", replaces=ENDPOINT))).moved == 1
    assert (await base.rows())["https://push.example.com/new#k.b"].id == first
    found, missing = await base.store.subscribers_find(["ios"], [], ["https://push.example.com/new", ENDPOINT])
    assert (found, missing) == ([first], [ENDPOINT])
    assert not await base.store.subscribers_remove("ios", ENDPOINT)
    assert await base.store.subscribers_remove("ios", "https://push.example.com/new")
    assert len(await base.rows()) == 5
    assert not await base.store.subscribers_remove("ios", "https://push.example.com/new")
