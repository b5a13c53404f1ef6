"""Commands and demo on a terminal, and in a locale, that is not UTF-8."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from broadside import cli
from broadside.cli import output
from broadside.demo.demo import Terminal
from broadside.outlet import Outlet, standard
from simulators.serving.service import TwinReady
from simulators.twin import _announce
from tests.broadside.fake_node import FakeNode, folder, node

__all__ = ["folder", "node"]  # fixtures


class Terminals:
    """Standard output and error of an encoding, and what was written there."""

    def __init__(self, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._raw = io.BytesIO()
        self.encoding = encoding
        stream = io.TextIOWrapper(self._raw, encoding=encoding)
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)

    def text(self) -> str:
        sys.stdout.flush()
        return self._raw.getvalue().decode(self.encoding)


@pytest.mark.parametrize(("encoding", "shown"), [("ascii", r"Gr\xf6\xdfe \u2192"), ("latin-1", r"Größe \u2192")])
def test_a_terminal_that_is_not_utf_8_shows_escapes(
    encoding: str, shown: str, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E8, S18: UnicodeEncodeError, after the campaign was read."""
    node.campaigns = [dict(node.campaigns[0], message={"title": "Größe →", "body": "B"})]
    terminals = Terminals(encoding, monkeypatch)
    assert cli.run(["campaign", "list", "--data", str(node.folder.root)]) == 0
    assert shown in terminals.text()
    output.complain("Größe →")
    assert terminals.text().endswith(f"{shown}\n")


def test_an_argument_that_is_no_text_is_a_sentence(node: FakeNode, capsys: pytest.CaptureFixture[str]) -> None:
    """S18: in a C locale `--title Größe` comes as bytes that no JSON can carry: unexpected UnicodeEncodeError."""
    title = os.fsdecode(b"Gr\xf6\xdfe")
    assert cli.run(["fire", "--title", title, "--body", "B", "--data", str(node.folder.root)]) == 2
    assert "is not UTF-8 text (correct it, or set LC_ALL=C.UTF-8)" in capsys.readouterr().err


def test_the_demo_writes_to_a_terminal_that_is_not_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """S18: the quotation marks round the sample campaign's title ended the demo."""
    terminals = Terminals("ascii", monkeypatch)
    terminal = Terminal()
    terminal.say("fired “Broadside is alive”")
    terminal.log("→ ö")
    for stream in (terminal._out, terminal._err):
        assert isinstance(stream, Outlet)
        stream.close()
    said = terminals.text()
    assert r"fired \u201cBroadside is alive\u201d" in said
    assert r"\u2192 \xf6" in said


def test_what_an_outlet_writes_to_a_stream_is_in_the_streams_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    """S18: umlauts were lost on the way to a stream without a descriptor."""
    terminals = Terminals("latin-1", monkeypatch)
    outlet = standard(sys.stdout, "standard output", lambda lines, why: f"{lines} {why}")
    outlet.write("Größe\n")
    outlet.close()
    assert terminals.text() == "Größe\n"


def test_a_twin_says_how_to_reach_it_in_utf_8(monkeypatch: pytest.MonkeyPatch) -> None:
    """S18: in a data folder with an umlaut no twin started, because its first line holds paths."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    ready = TwinReady(
        platform="apns",
        port=1,
        origin="https://localhost:1",
        ca="ö/ca.pem",
        credentials={},
        directory="ö",
        ledger=None,
        pid=1,
    )
    _announce(ready)
    assert msgspec.json.decode(raw.getvalue())["ca"] == "ö/ca.pem"


def test_a_whole_process_on_such_a_terminal_prints_what_it_reads(tmp_path: Path) -> None:
    """E8: the doctor ended at the first path with an umlaut."""
    command = [sys.executable, "-m", "broadside.cli", "doctor", "--json", "--data", str(tmp_path / "öl")]
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=120, cwd=tmp_path)
    assert rb"\xf6l will be made at the first start" in done.stdout, done.stderr
    assert done.stderr == b""
