"""A twin as a process: the ready line, gentle and hard ends, ledger and credentials across them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from simulators import twin_credentials as keys
from simulators import twins
from simulators.apns import apns_twin as apns
from simulators.errors import LedgerError, TwinError
from simulators.fcm import fcm_twin as fcm
from simulators.ledger import Entry, Ledger, count_ledger, read_ledger
from simulators.twin import main
from tests.simulators.conftest import ALERT, token

Started = tuple["subprocess.Popen[str]", dict[str, Any]]


@contextlib.contextmanager
def twin(*arguments: str | Path) -> Iterator[Started]:
    command = [sys.executable, "-m", "simulators.twin", *map(str, arguments)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            process.kill()


def push(ready: dict[str, Any], headers: dict[str, str], tokens: list[str]) -> list[int]:
    context = ssl.create_default_context(cafile=ready["ca"])
    with httpx.Client(http2=True, verify=context) as client:
        url = ready["origin"] + "/3/device/"
        return [client.post(url + to, headers=headers, content=ALERT).status_code for to in tokens]


def test_a_twin_is_found_by_its_entry_point() -> None:
    assert {"apns", "fcm"} <= set(twins.names())
    assert (twins.load("apns"), twins.load("fcm")) == (apns.build_twin, fcm.build_twin)
    with pytest.raises(TwinError, match=r'^platform "pager" has no twin; these have one: apns, fcm\b'):
        twins.load("pager")


@pytest.mark.parametrize("signalled", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_gently(
    folder: keys.Credentials, apns_headers: dict[str, str], tmp_path: Path, signalled: int
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with twin("apns", "--directory", folder.directory, "--ledger", ledger) as (process, ready):
        assert ready["ready"] is True
        assert ready["origin"] == f"https://localhost:{ready['port']}"
        assert ready["credentials"] == {"key": str(folder.apns_key), "key_id": "TWIN000001", "team_id": "TWINTEAM01"}
        assert push(ready, apns_headers, [token(1), token(1), "xx"]) == [200, 200, 400]
        process.send_signal(signalled)
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == (
            "apns twin: accepted 2 (duplicates 1), refused 1: "
            "BadDeviceToken 1 (not lower-case hex, two digits a byte)\n"
        )
    counts = count_ledger(ledger)
    assert (counts.accepted, counts.distinct, counts.duplicates, counts.torn) == (2, 1, 1, False)


def test_the_guard_ends_it_with_its_parent(folder: keys.Credentials) -> None:
    with twin("fcm", "--directory", folder.directory, "--guard") as (process, ready):
        assert ready["credentials"] == {"service_account": str(folder.service_account)}
        assert process.stdin is not None
        process.stdin.write("not the end")
        process.stdin.flush()
        time.sleep(0.2)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(5) == 0


def test_without_the_guard_the_end_of_stdin_means_nothing(folder: keys.Credentials) -> None:
    with twin("apns", "--directory", folder.directory) as (process, _):
        assert process.stdin is not None
        process.stdin.close()
        time.sleep(0.2)
        assert process.poll() is None


def test_every_answered_push_outlives_kill_minus_nine(
    folder: keys.Credentials, apns_headers: dict[str, str], tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    tokens = [token(n) for n in range(50)]
    with twin("apns", "--directory", folder.directory, "--ledger", ledger) as (process, ready):
        assert push(ready, apns_headers, tokens) == [200] * 50
        process.kill()
        process.wait(5)
    counts = count_ledger(ledger)
    assert counts.lost({*tokens, "never"}, "CAMPAIGN") == {"never"}
    assert counts.tokens("ANOTHER") == set()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--script", "none.toml"], "none.toml"),
        (["--port", "70000"], "port 70000"),
        (["--latency", "-1"], "latency"),
        (["--ledger", "/nowhere/at/all"], "ledger /nowhere/at/all"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(
    folder: keys.Credentials, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert main(["apns", "--directory", str(folder.directory), *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert says in told.err
    assert told.err.count("\n") == 1


def test_a_taken_port_is_a_users_mistake(folder: keys.Credentials, capsys: pytest.CaptureFixture[str]) -> None:
    with twin("apns", "--directory", folder.directory) as (_, ready):
        assert main(["apns", "--directory", str(folder.directory), "--port", str(ready["port"])]) == 2
    assert f"port {ready['port']}" in capsys.readouterr().err


def test_credentials_are_private_kept_and_safe_to_make_at_once(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "twins"
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(keys.ensure_credentials, [directory] * 4))
    assert len(set(made)) == 1
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    files = {path: path.read_bytes() for path in directory.iterdir()}
    assert {path.name for path in files} == {
        "ca.pem",
        "server.pem",
        "AuthKey_TWIN000001.p8",
        "service-account.json",
        "lock",
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    keys.ensure_credentials(directory)
    assert {path: path.read_bytes() for path in directory.iterdir()} == files
    assert json.loads(made[0].service_account.read_bytes())["private_key"].startswith("-----BEGIN PRIVATE KEY-----")


def test_a_directory_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TwinError, match="twin directory"):
        keys.ensure_credentials(tmp_path / "file" / "twins")


def entry(number: int, collapse: str | None = "C") -> Entry:
    return Entry(time=number, token=token(number), collapse=collapse, id="i", app="a")


def test_a_ledger_survives_its_writers_and_cuts_off_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for number in (1, 2):
        ledger = Ledger(path)
        ledger.add(entry(number))
        ledger.close()
        ledger.close()
        with path.open("ab") as file:
            file.write(b'{"time":5,"tok')
    assert [read.time for read in read_ledger(path)] == [1, 2]
    assert count_ledger(path).torn
    Ledger(path).close()
    assert not count_ledger(path).torn
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_strange_file_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text('{"time": 1}\n')
    with pytest.raises(LedgerError, match="line 1"):
        list(read_ledger(path))


def test_duplicates_are_of_one_collapse_id_and_counted_as_far_as_remembered() -> None:
    ledger = Ledger(remember=2)
    for number, collapse in ((1, "A"), (1, "A"), (1, "B"), (1, None), (1, None), (2, "A"), (2, "A")):
        ledger.add(entry(number, collapse))
    assert (ledger.accepted, ledger.duplicates) == (7, 1)


def test_a_flush_is_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[int] = []
    write: Callable[[int, Any], int] = os.write

    def counted(file: int, data: Any) -> int:
        writes.append(file)
        return write(file, data)

    monkeypatch.setattr(os, "write", counted)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for number in range(100):
        ledger.add(entry(number))
    ledger.flush()
    ledger.flush()
    assert len(writes) == 1
    ledger.close()
