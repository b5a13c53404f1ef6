"""The embedded instance and who started it."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from storage import admin, socket_path
from storage.embedded import LUA, Embedded
from storage.errors import EmbeddedUnavailable
from storage.tubes import Tubes
from tests.conftest import Server, linked

pytestmark = pytest.mark.tarantool


async def test_an_instance_whose_starter_is_gone_leaves_nothing_but_its_data(own_tarantool: Server) -> None:
    embedded, data = own_tarantool.embedded, own_tarantool.embedded.directory
    assert embedded.socket.exists()
    own_tarantool.stop()  # as after a kill -9 of the node: its standard input ends
    assert not embedded.socket.exists()
    assert not embedded.link.parent.exists()
    assert list(data.glob("*.snap"))
    own_tarantool.start()
    async with linked(own_tarantool) as link:
        await Tubes(link, "test").epoch()


@pytest.fixture(params=["short", "long"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """An instance whose data folder has a path that a socket's may or may not have."""
    with tempfile.TemporaryDirectory(prefix="e-", dir="/tmp") as folder:
        place = Path(folder) / ("x" * 100 if request.param == "long" else "x")
        server = Server(place, ["ios"]).start()
        yield server
        if server.process is not None:
            server.stop()


def test_the_socket_is_in_the_data_folder_where_its_path_is_short_enough(server: Server) -> None:
    """C6: a folder in /tmp is what tmpfiles removes."""
    embedded = server.embedded
    assert (embedded.directory / "listen.sock").is_socket()
    if len(str(embedded.directory)) < 80:
        assert embedded.socket.parent == embedded.directory
        assert not embedded.link.parent.exists()
    else:
        assert socket_path.fits(embedded.socket)
        assert embedded.link.parent.stat().st_mode & 0o777 == 0o700
    server.stop()
    embedded.remove_runtime()
    assert not embedded.link.parent.exists()
    assert not embedded.socket.exists()


async def test_a_socket_that_is_taken_away_is_there_again_while_tarantool_lives(server: Server) -> None:
    """C6: new connections failed for ever, while the old ones went on and nobody noticed."""
    embedded = server.embedded
    async with linked(server) as old:
        await Tubes(old, "test").epoch()
        embedded.socket.unlink()
        if embedded.link.exists():
            shutil.rmtree(embedded.link.parent)
        async with linked(server) as new:
            with trio.fail_after(8):
                await Tubes(new, "test").epoch()
        assert await Tubes(old, "test").epoch()
        assert old.connected("queue")


def test_a_start_that_never_came_to_be_leaves_nothing_behind(tmp_path: Path) -> None:
    """C6: each failed start left a folder in /tmp."""
    before = set(Path(tempfile.gettempdir()).glob("bs-*"))
    embedded = Embedded(tmp_path / ("x" * 100), ["ios"])
    assert embedded.endpoint.uri == f"unix/:{embedded.socket}"
    assert set(Path(tempfile.gettempdir()).glob("bs-*")) - before == set()


def test_a_folder_that_somebody_else_has_made_is_not_used(tmp_path: Path) -> None:
    embedded = Embedded(tmp_path / ("x" * 100), ["ios"])
    embedded.link.parent.mkdir(mode=0o755)
    embedded.link.parent.chmod(0o755)
    try:
        with pytest.raises(EmbeddedUnavailable, match="is not a private folder"):
            _ = embedded.handshake
    finally:
        embedded.link.parent.rmdir()


CFG_OF = """
package.path = ('%s/?.lua;%s/?/init.lua;'):format(arg[1], arg[1]) .. package.path
local config = require('json').decode(arg[2])
require('instance').start(config)
local daemon = box.internal.feedback_daemon
print(box.cfg.feedback_enabled, daemon ~= nil and daemon.fiber ~= nil)
os.exit(0)
"""


def test_an_instance_reports_nothing_to_the_makers_of_tarantool(tmp_path: Path) -> None:
    """C10: their feedback daemon is on by default in every version, and posts versions, uuids and counts."""
    (tmp_path / "cfg_of.lua").write_text(CFG_OF)
    embedded = Embedded(tmp_path / "base", ["ios"], memory=64 << 20)
    try:
        command = [embedded.command[0], str(tmp_path / "cfg_of.lua"), str(LUA), embedded.handshake.decode().strip()]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.split()
    finally:
        embedded.remove_runtime()
    assert said == ["false", "false"]


async def test_an_instance_that_listens_at_an_ipv6_address_is_reached_there(tmp_path: Path) -> None:
    """S22: `[::1]:3301` passed the configuration, and its brackets went into the look-up of the name."""
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        port = probe.getsockname()[1]
    server = Server(tmp_path / "queue", ["ios"])
    server.embedded = dataclasses.replace(server.embedded, listen=f"[::1]:{port}")
    assert server.embedded.endpoint.address() == ("::1", str(port))
    server.start()
    try:
        with trio.fail_after(30):
            async with linked(server) as link:
                assert await Tubes(link, "test").epoch()
    finally:
        server.stop()
        server.embedded.remove_runtime()


async def test_a_tube_is_made_while_the_instance_runs(own_tarantool: Server) -> None:
    """A reload that adds a channel."""
    found = admin.ask(own_tarantool.embedded.admin, "serve", channels=["ios", "newcomer"], hosts=[])
    assert found is True
    assert own_tarantool.embedded.admin.stat().st_mode & 0o777 == 0o600
    async with linked(own_tarantool) as link:
        assert "push_newcomer" in (await Tubes(link, "test").statistics())["tubes"]
