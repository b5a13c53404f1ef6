"""The command line shows the key, and what it sends, to nobody but the node that holds the data folder."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from broadside.api.api_client import Client
from broadside.datafolder import DataFolder, NodeInfo
from broadside.errors import NodeUnreachable
from storage import socket_path
from tests.broadside import fake_node
from tests.broadside.fake_node import FakeNode, Said

folder, node, broadside = fake_node.folder, fake_node.node, fake_node.broadside

COMMANDS = (
    ["campaign", "list"],
    ["subscribers", "count"],
    ["fire", "--title", "secret", "--body", "news"],
    ["doctor"],
)


class Squatter:
    """Listens at a port, answers everything with 200, and remembers it."""

    def __init__(self) -> None:
        self.heard = b""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.thread = threading.Thread(target=self._listen, daemon=True)
        self.thread.start()

    def _listen(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            with client:
                self.heard += client.recv(65536)
                client.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 16\r\n\r\n{"campaigns":[]}')

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


@pytest.fixture
def squatter() -> Iterator[Squatter]:
    squatter = Squatter()
    yield squatter
    squatter.close()


def left_behind(folder: DataFolder, squatter: Squatter, pid: int) -> None:
    """What a node leaves that was killed, and whose port somebody else has taken."""
    folder.key()
    folder.write_node(NodeInfo(pid=pid, url=squatter.url, started=0, socket="api.sock"))


def test_nobody_at_the_port_of_a_node_that_was_killed_is_asked(
    broadside: Said, folder: DataFolder, squatter: Squatter
) -> None:
    """S3."""
    folder.create()
    left_behind(folder, squatter, os.getpid())
    for command in COMMANDS:
        broadside(*command)
    assert squatter.heard == b""


def test_a_node_that_starts_takes_the_old_address_away_first(
    broadside: Said, folder: DataFolder, squatter: Squatter
) -> None:
    """S3."""
    folder.create()
    left_behind(folder, squatter, os.getpid())
    with folder.locked():
        assert not folder.node_json.exists()
        for command in COMMANDS:
            code, _, err = broadside(*command)
            assert command == ["doctor"] or (code == 3 and "is starting or stopping; try again" in err)
    assert squatter.heard == b""


def test_an_address_that_another_process_wrote_is_not_believed(
    broadside: Said, folder: DataFolder, squatter: Squatter
) -> None:
    """S3."""
    with folder.locked():
        left_behind(folder, squatter, os.getpid() + 1)
        assert folder.read_node() is None
        for command in COMMANDS:
            broadside(*command)
        left_behind(folder, squatter, os.getpid())
        assert folder.read_node() is not None
        for command in COMMANDS:  # the node's word; yet its port is another's by now
            broadside(*command)
    assert squatter.heard == b""
    assert not folder.node_json.exists(), "it goes at every end"


def test_an_address_goes_at_an_end_by_an_error_too(folder: DataFolder) -> None:
    """S3."""

    def ends() -> None:
        with folder.locked():
            folder.write_node(NodeInfo(pid=os.getpid(), url="http://127.0.0.1:1", socket="api.sock", started=0))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        ends()
    assert not folder.node_json.exists()


def test_whoever_relays_from_the_nodes_old_port_sees_nothing(
    broadside: Said, node: FakeNode, folder: DataFolder, squatter: Squatter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3: nor does a proxy that the environment names."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, squatter.url)
    folder.write_node(NodeInfo(pid=os.getpid(), url=squatter.url, socket="api.sock", started=0))
    code, out, _ = broadside("fire", "--title", "secret", "--body", "news", "--json")
    assert (code, json.loads(out)["state"]) == (0, "firing")
    assert squatter.heard == b""


def test_a_socket_in_a_folder_that_others_can_reach_is_not_believed(folder: DataFolder, tmp_path: Path) -> None:
    """S3."""
    elsewhere = tmp_path / "elsewhere"
    with folder.locked():
        folder.key()
        elsewhere.mkdir(mode=0o700)
        there = elsewhere / "api.sock"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(there))
            folder.write_node(NodeInfo(pid=os.getpid(), url="http://127.0.0.1:1", socket=str(there), started=0))
            Client.of(folder).close()
            elsewhere.chmod(0o755)
            with pytest.raises(NodeUnreachable, match="no longer its own"):
                Client.of(folder)
            elsewhere.chmod(0o700)
            if os.geteuid() == 0:
                os.chown(elsewhere, 65534, -1)
                with pytest.raises(NodeUnreachable, match="no longer its own"):
                    Client.of(folder)


def test_a_data_folder_with_a_long_path_has_its_socket_in_a_private_folder(tmp_path: Path) -> None:
    """S3."""
    long = DataFolder(tmp_path / ("x" * socket_path.LONGEST))
    with long.locked():
        with long.socket() as path:
            assert socket_path.fits(path)
            assert path.parent.stat().st_mode & 0o777 == 0o700
            path.touch()
            assert long.owns(path)
        assert not path.parent.exists()
    short = DataFolder(Path("/tmp") / f"bs-test-{os.getpid()}")
    with short.locked(), short.socket() as path:
        assert path == short.root / "api.sock"
    for part in sorted(short.root.rglob("*"), reverse=True):
        part.rmdir() if part.is_dir() else part.unlink()
    short.root.rmdir()
