"""Recipients of a channel that treats apps by their version carry whether theirs is new."""

from __future__ import annotations

from typing import Any

import pytest

from campaigns.recipient import NEW_APP, PersonalRecipient, Recipient, unpack_recipients
from campaigns.where import version_bounds
from storage.link import Link
from storage.records import PageRows
from storage.store import Store

pytestmark = pytest.mark.tarantool

VERSIONS = {
    "5.0": True, "5": True, "v5.0.1": True, "5.10-beta": True, "4.9": False, "4.99.99": False,
    "6.0": False, "10.0": False, "": False, "new": False,
}  # fmt: skip
"""Version → whether it keeps ``>=5.0,<6``."""


async def based(link: Link) -> Store:
    store = Store(link)
    rows: list[tuple[Any, ...]] = []
    for channel in ("android", "ios"):
        for n, version in enumerate(VERSIONS):
            token = f"{channel}-{n}"
            rows.append((channel, token, "token", 1, "pt", "", "", version, "", None, [], {"name": "x" * n}))
    await store.subscribers_put(rows)
    return store


def by_token(rows: PageRows) -> dict[str, Recipient]:
    return {each.token: each for part in rows.parts for each in unpack_recipients(part.recipients)}


async def test_a_recipient_carries_behind_the_fields_whether_its_app_is_new(own_link: Link) -> None:
    """21.4: only on the channel that asks, with personal fields and without; versions compare by their numbers."""
    store = await based(own_link)
    rule = {"android": version_bounds(">=5.0,<6")}
    for fields in ((), ("name",)):
        found = by_token(await store.page_read(0, 1 << 53, 7, fields=fields, versions=rule))
        for n, (version, is_new) in enumerate(VERSIONS.items()):
            own = ("x" * n,) if fields else ()
            android, ios = found[f"android-{n}"], found[f"ios-{n}"]
            assert isinstance(android, PersonalRecipient)
            assert android.values == (*own, NEW_APP if is_new else ""), version
            assert (ios.values if isinstance(ios, PersonalRecipient) else ()) == own
            assert (android.kind, android.registered_at, android.locale) == ("token", 1, "pt")


async def test_without_a_rule_rows_are_what_they_were(own_link: Link) -> None:
    store = await based(own_link)
    found = by_token(await store.page_read(0, 1 << 53, 500))
    assert {type(each) for each in found.values()} == {Recipient}
