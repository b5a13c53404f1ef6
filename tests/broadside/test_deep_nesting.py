"""S7: a text that is nested too deeply is no more than a text that cannot be read, wherever it comes from."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import trio
import trio.testing

from broadside import wire
from broadside.api.base_records import ImportedLines
from broadside.api.token_rules import DeviceTokens
from broadside.cli.message_options import _options
from broadside.datafolder import DataFolder
from broadside.errors import RecordError, UsageError
from broadside.imports.importer import import_file
from broadside.imports.rules import Rules
from tests.broadside.sent_lines import sent

DEEP = b'{"channel": ' + b"[" * 3_000 + b"]" * 3_000 + b"}"


def test_a_request_nested_too_deeply_is_refused() -> None:
    with pytest.raises(RecordError):
        sent(DEEP)


def test_a_line_nested_too_deeply_is_rejected_and_the_others_are_taken(tmp_path: Path) -> None:
    taken: list[bytes] = []

    def take(body: bytes) -> ImportedLines:
        taken.append(body)
        return ImportedLines(inserted=len(sent(body)), updated=0)

    good = b'{"channel": "ios", "token": "aa"}'
    file = io.BytesIO(b"\n".join([good, DEEP, good.replace(b"aa", b"bb")]) + b"\n")
    summary = import_file(file, "base", tmp_path / "rejected", take, Rules(DeviceTokens({})), tell=lambda said: None)
    assert (summary.rejected, b"aa" in b"".join(taken), b"bb" in b"".join(taken)) == (1, True, True)


def test_options_nested_too_deeply_are_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "options.json").write_bytes(DEEP)
    with pytest.raises(UsageError):
        _options(tmp_path / "options.json")


def test_a_node_file_nested_too_deeply_is_nobodys(tmp_path: Path) -> None:
    (tmp_path / "node.json").write_bytes(DEEP)
    assert DataFolder(tmp_path).read_node() is None


async def test_a_frame_nested_too_deeply_is_none_of_our_messages() -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(len(DEEP).to_bytes(4, "big") + DEEP)
    with pytest.raises(wire.WireError):
        await wire.MessageStream(ours).receive()
