"""The embedded instance and who started it."""

from __future__ import annotations

import pytest

from storage.tubes import Tubes
from tests.conftest import Server, linked

pytestmark = pytest.mark.tarantool


async def test_an_instance_whose_starter_is_gone_leaves_nothing_but_its_data(own_tarantool: Server) -> None:
    runtime, data = own_tarantool.embedded.runtime, own_tarantool.embedded.directory
    assert runtime.exists()
    own_tarantool.stop()  # as after a kill -9 of the node: its standard input ends
    assert not runtime.exists()
    assert list(data.glob("*.snap"))
    own_tarantool.start()
    async with linked(own_tarantool) as link:
        await Tubes(link, "test").epoch()
