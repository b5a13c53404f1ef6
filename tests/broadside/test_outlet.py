"""Lines on their way out of a process: written, or counted as lost; nothing that happens out there comes back."""

from __future__ import annotations

import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from broadside import logs
from broadside.demo.demo import Terminal
from broadside.outlet import LARGEST_BACKLOG, Outlet, RotatingFile, harmless, standard


def notice(lines: int, why: str) -> str:
    return f"{lines} lost: {why}"


class Disk:
    """Takes lines, or is full."""

    def __init__(self) -> None:
        self.full = False
        self.tries = 0
        self.written = b""

    def write(self, data: bytes) -> None:
        self.tries += 1
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.written += data


def wait_for(look: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_what_was_lost_is_counted_and_said_once_when_it_works_again() -> None:
    """S10."""
    disk = Disk()
    outlet = Outlet("disk", disk.write, notice)
    outlet.write("one\n")
    wait_for(lambda: disk.written)
    disk.full = True
    for text in ("two\n", "three\nfour\n"):
        tries = disk.tries
        outlet.write(text)
        wait_for(lambda tries=tries: disk.tries > tries and not outlet._size)  # type: ignore[misc]
    wait_for(lambda: outlet.trouble == "No space left on device (3 lines lost so far)")
    disk.full = False
    outlet.write("five\n")
    wait_for(lambda: b"five" in disk.written)
    outlet.write("six\n")
    outlet.close()
    assert disk.written.decode() == "one\n\n3 lost: No space left on device\nfive\nsix\n"
    assert outlet.trouble == ""


def test_a_pipe_that_nobody_reads_holds_up_nobody() -> None:
    """S10."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        outlet = standard(stream, "pipe", notice)
        line = "x" * 999 + "\n"
        began = time.monotonic()
        for _ in range(2 * LARGEST_BACKLOG // len(line)):
            outlet.write(line)
        outlet.close(0.1)
        assert time.monotonic() - began < 5
        assert "nobody reads them" in outlet.trouble
        threading.Thread(target=drain, args=(reader,)).start()
        outlet.close(10)
    wait_for(lambda: not outlet._thread.is_alive())


def drain(reader: int) -> None:
    while os.read(reader, 1 << 20):
        pass
    os.close(reader)


def test_a_pipe_whose_reader_has_gone_and_a_closed_stream_harm_nobody() -> None:
    """S10."""
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    outlet = standard(stream, "pipe", notice)
    outlet.write("one\n")
    wait_for(lambda: "Broken pipe" in outlet.trouble)
    stream.close()
    outlet.close()
    closed = standard(None, "closed", notice)
    closed.write("one\n")
    wait_for(lambda: closed.trouble)
    closed.close()


def test_a_log_file_is_rotated_private_and_found_again_when_it_was_taken_away(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "node.log", largest=100, keep=2)
    for number in range(12):
        file.write(f"line {number:02} of twenty-five b\n".encode())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["node.log", "node.log.1", "node.log.2"]
    assert (tmp_path / "node.log").read_text().splitlines()[-1].startswith("line 11")
    assert (tmp_path / "node.log.1").read_text().splitlines()[0].startswith("line 04")
    assert (tmp_path / "node.log").stat().st_mode & 0o777 == 0o600
    assert all(path.stat().st_size <= 100 for path in tmp_path.iterdir())


def test_a_log_file_that_was_open_to_others_is_closed_to_them(tmp_path: Path) -> None:
    """S23: log files had mode 0644, and one that was there kept it."""
    older = tmp_path / "node.log"
    older.write_text("old\n")
    older.chmod(0o644)
    RotatingFile(older, largest=100, keep=2).write(b"new\n")
    assert older.read_text() == "old\nnew\n"
    assert older.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def node_logs(tmp_path: Path) -> Iterator[list[str]]:
    before = structlog.get_config()
    said: list[str] = []
    logs.configure_node(tmp_path, said.append)
    yield said
    logs.close()
    structlog.configure(**before)


class Unsayable:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_a_line_that_cannot_be_rendered_is_said_to_be_so(node_logs: list[str], tmp_path: Path) -> None:
    """S10."""
    log = structlog.get_logger("test")
    log.info("odd", value=Unsayable())
    log.info("half a pair: \ud800")
    logs.child_line("worker-1")("stderr", '{"event": "x", "level": "info", "self": 1, "method_name": 2}')
    logs.child_line("worker-1")("stderr", "[" * 200_000)
    log.info("last")
    logs.close()
    text = (tmp_path / "node.log").read_text()
    assert "a log line cannot be written" in text
    assert "half a pair: \\ud800" in text
    assert '"last"' in text
    assert any("last" in line for line in node_logs)


def test_a_log_on_a_full_disk_is_an_alarm_until_it_works_again(node_logs: list[str], tmp_path: Path) -> None:
    """S10."""
    log = structlog.get_logger("test")
    log.info("first")
    file = tmp_path / "node.log"
    wait_for(file.exists)
    assert logs.troubles() == []
    logs._outlets[-1]._write = RotatingFile(Path("/dev/full"), 1000, 1).write
    log.info("second")
    wait_for(logs.troubles)
    assert "No space left on device (1 lines lost so far)" in logs.troubles()[0]


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_json_means_the_same_after_it_was_made_harmless(text: str) -> None:
    """S13."""
    line = harmless(json.dumps({text: [text]}, ensure_ascii=False))
    assert json.loads(line) == {text: [text]}
    assert not {"\x1b", "\x9b", "\x00", "\x7f", "\r", "\u2028", "\u202e", "\u2066"}.intersection(line)


def test_no_text_from_outside_can_steer_the_terminal_through_the_nodes_log(
    node_logs: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """S13: a child's line, and a provider's text in it, reached the terminal and node.log raw."""
    evil = "a\x1b[2J\x9b2J\u202eb\x7f"
    logs.child_line("worker-1")("stderr", evil)
    logs.child_line("worker-1")("stderr", json.dumps({"event": "refused", "level": "info", "why": evil}))
    terminal = Terminal()
    for say in (terminal.say, terminal.log, terminal.error):
        say(evil)
    for line in node_logs:
        terminal.log(line)
    logs.close()
    printed = "".join(capfd.readouterr())
    written = (tmp_path / "node.log").read_text()
    assert printed.count("\\u202e") == 5
    for text in (printed, written):
        assert "\\u009b2J" in text
        assert not {"\x1b", "\x9b", "\u202e", "\x7f"}.intersection(text)
    assert json.loads(written.splitlines()[-1])["why"] == evil
