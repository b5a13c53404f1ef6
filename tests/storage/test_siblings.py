"""Two rows of one phone at Google: a registration token, and the Firebase installation id with which it begins."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from storage.link import Link
from storage.records import Stored
from tests.storage.test_dead_ledger import DAY
from tests.storage.test_successions import FULL, NOW, Base, row

FID = "dQw4w9WgXcQ-dQw4w9WgXc"
TOKEN = f"{FID}:APA91b{'x' * 60}"
OTHER = f"{FID[:-1]}Z:APA91b{'x' * 60}"
"""The token of another phone, whose id differs in its last letter."""


def registered(token: str, at: int = NOW, **given: Any) -> list[Any]:
    made = row(token, at=at, channel="ios", **given)
    made[2] = "fid" if token == FID else "token"
    return made


@pytest.fixture
async def base(own_link: Link) -> Base:
    base = Base(own_link)
    await base.join()
    await base.beat()
    return base


async def test_an_installation_id_takes_the_place_of_its_token_and_keeps_id_and_attributes(base: Base) -> None:
    """27.4: the app's backend only registers the new target; nobody has said what it replaces."""
    await base.register(row("first"), registered(TOKEN, **FULL), registered(OTHER))
    before = (await base.rows())[TOKEN]
    assert await base.register(registered(FID, NOW + 5)) == Stored(0, 1, moved=1)
    rows = await base.rows()
    assert rows.keys() == {"first", FID, OTHER}
    given = {"token": FID, "kind": "fid", "registered_at": NOW + 5, "changed_at": rows[FID].changed_at}
    assert rows[FID] == before._replace(**given)
    assert await base.register(registered(FID, NOW + 5)) == Stored(0, 1), "again: it is known"


async def test_a_token_that_the_app_gets_later_takes_the_ids_place_again(base: Base) -> None:
    """27.4: an app that asks for a token gives its installation id up."""
    await base.register(registered(FID, NOW, **FULL))
    assert await base.register(registered(TOKEN, NOW + 5)) == Stored(0, 1, moved=1)
    (found,) = (await base.rows()).values()
    assert (found.token, found.kind, found.locale, found.id) == (TOKEN, "token", "de", 1)


@pytest.mark.parametrize("later", [FID, TOKEN])
@pytest.mark.parametrize("order", list(itertools.permutations((FID, TOKEN))))
async def test_in_whatever_order_they_come_the_later_registration_stands(
    base: Base, order: tuple[str, str], later: str
) -> None:
    """27.4: an import has no order, and what stays must be the target that lives."""
    for token in order:
        await base.register(registered(token, NOW + (5 if token == later else 0)))
    assert (await base.rows()).keys() == {later}
    assert await base.count() == 1


@pytest.mark.parametrize("order", list(itertools.permutations((FID, TOKEN))))
async def test_of_two_registered_at_once_the_installation_id_stands(base: Base, order: tuple[str, str]) -> None:
    """27.4: a file may have both of a phone, and no time."""
    await base.register(*[registered(token) for token in order])
    assert (await base.rows()).keys() == {FID}


@pytest.mark.parametrize("again", [FID, TOKEN])
async def test_two_rows_of_one_phone_become_one_when_either_registers_again(
    base: Base, own_link: Link, again: str
) -> None:
    """27.4: a base of an earlier version may have both."""
    await base.register(registered(FID, NOW, locale="fr"), registered(OTHER, NOW + 1, **FULL))
    assert await base.register(row(TOKEN, OTHER, at=NOW + 1)) == Stored(0, 1, moved=1), "the app names it by mistake"
    assert (await base.rows()).keys() == {FID, TOKEN}
    assert await base.register(registered(again, NOW + 9)) == Stored(0, 1, merged=1)
    (found,) = (await base.rows()).values()
    assert (found.token, await base.count(), await base.removals()) == (again, 1, 1)


async def test_an_older_registration_of_one_of_two_rows_leaves_the_newer(base: Base) -> None:
    """27.4: an old export that is imported again."""
    await base.register(registered(FID, NOW + 9, locale="fr"), registered(OTHER, NOW, **FULL))
    await base.register(row(TOKEN, OTHER, at=NOW))
    assert (await base.rows()).keys() == {FID, TOKEN}
    assert await base.register(registered(TOKEN, NOW)) == Stored(0, 1, merged=1)
    (found,) = (await base.rows()).values()
    assert (found.token, found.kind, found.locale, found.registered_at) == (FID, "fid", "fr", NOW + 9)


async def test_a_refused_token_whose_installation_id_is_in_the_base_is_no_death(base: Base) -> None:
    """27.4: it counts for nothing, so that a migration raises no question."""
    await base.register(registered(OTHER, NOW, **FULL), registered(FID, NOW, locale="fr"))
    await base.register(row(TOKEN, OTHER, at=NOW))
    await base.fire(page_size=50)
    await base.walk()
    (refused,) = await base.refuse("ios", "likely", 1)
    assert refused.token == TOKEN
    assert await base.store.dead_list() == []
    assert (await base.rows()).keys() == {FID, TOKEN}, "it is not deleted either: a wrong key may refuse it"


async def test_a_deleted_token_is_not_restored_beside_its_installation_id(base: Base) -> None:
    """27.4: the phone has registered again, under its other target."""
    await base.register(registered(TOKEN, NOW - DAY))
    await base.fire(page_size=10)
    await base.walk()
    await base.refuse("ios", "certain", 1)
    assert await base.rows() == {}
    await base.register(registered(FID, NOW + 5))
    await base.store.dead_restore("ios", None, NOW + 6)
    assert (await base.rows()).keys() == {FID}


async def test_ids_that_only_look_alike_are_two_phones(base: Base) -> None:
    """27.4: another platform's token may have a colon at the same place."""
    await base.register(registered(TOKEN), registered(f"{FID}x{'y' * 60}"), registered(OTHER))
    plain = row(FID, channel="ios")
    assert await base.register(plain) == Stored(1, 0), "of the kind token: no installation id"
    assert await base.count() == 4
