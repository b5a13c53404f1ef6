"""What a node says and does while the disk of its Tarantool is full."""

from __future__ import annotations

import pytest

from storage.link import Link
from storage.store import Store
from tests.broadside.test_fire_once import client, fire, phones
from tests.conftest import Server

pytestmark = pytest.mark.tarantool
ROOM = "make room on the disk of its data folder: all goes on by itself, without a restart"


async def test_a_full_disk_is_507_and_an_alarm_until_there_is_room(own_tarantool: Server, own_link: Link) -> None:
    """S11: it was a 500 that named no remedy, and no alarm."""
    await phones(Store(own_link), 10)
    async with client(own_link) as api:
        with own_tarantool.disk_full():
            removed = await api.delete("/api/subscribers?channel=ios&token=token-1")
            refused = await fire(api)
            ready = await api.get("/readyz")
            status = await api.get("/api/status")
        for answer in (removed, refused):
            error = answer.json()["error"]
            assert (answer.status_code, error["remedy"]) == (507, ROOM), answer.text
            assert "Tarantool's disk is full: store: store." in error["message"]
        assert ready.status_code == 503
        for alarms in (ready.json()["alarms"], status.json()["alarms"]):
            assert alarms == [f"the disk of the store is full: nothing is accepted, and campaigns wait; {ROOM}"]
        fired = await fire(api)
        assert fired.status_code == 201, "the refused request has fired nothing, and its key is free"
        again = await api.get("/readyz")
        assert (again.status_code, again.json()["alarms"]) == (200, [])
