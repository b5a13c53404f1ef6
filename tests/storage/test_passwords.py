"""The password files of a standalone server: what it refuses, and that any password works."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from benchmarks.ports import free_ports
from storage import admin
from storage.embedded import Embedded

pytestmark = pytest.mark.tarantool


def settings(folder: Path, name: str, **more: object) -> list[str]:
    """The command of a server with the password files of ``folder``."""
    given = {"role": "store", "data": str(folder / name), "password_file": str(folder / "password")}
    (folder / f"{name}.json").write_text(json.dumps(given | more))
    return [Embedded(folder, []).command[0], str(admin.SERVER), str(folder / f"{name}.json")]


def secret(path: Path, text: str, mode: int = 0o600) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    ("text", "mode", "refusal"),
    [
        ("", 0o600, "is empty (write the password into it)"),
        ("\n\n", 0o600, "is empty (write the password into it)"),
        ("p\n", 0o644, "is secret but open to every user (chmod 600 "),
    ],
)
@pytest.mark.parametrize("key", ["password_file", "peers_password_file", "replication.password_file"])
def test_a_password_file_that_protects_nothing_is_refused(
    tmp_path: Path, key: str, text: str, mode: int, refusal: str
) -> None:
    """S20: an empty file and one that everybody may read were taken: whoever can connect was let in."""
    secret(tmp_path / "password", "sound\n")
    bad = secret(tmp_path / "bad", text, mode)
    more: dict[str, object] = {"listen": "127.0.0.1:3301", key: bad}
    if key.startswith("replication"):
        more = {"listen": "127.0.0.1:3301", "replication": {"password_file": bad}}
    done = subprocess.run(settings(tmp_path, "s", **more), capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stderr.startswith(f"settings: {key}: file {bad} {refusal}")) == (2, True), done.stderr
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("password", ["p/w+w=", "p@ss:word", "p%41", "p#x?y z", "plain-1.2_3~"])
def test_a_replica_follows_its_master_whatever_the_replication_password(tmp_path: Path, password: str) -> None:
    """E5: `/ + = @ :`, as `openssl rand -base64` writes them, broke the set-up: a URI holds the password."""
    secret(tmp_path / "password", "p\n")
    file = secret(tmp_path / "replication", f"{password}\n")
    ports = free_ports(2)
    servers = []
    try:
        for number, name in enumerate(("master", "replica")):
            replication = {
                "others": [f"127.0.0.1:{ports[1 - number]}"], "password_file": file, "master": number == 0, "quorum": 1,
            }  # fmt: skip
            command = settings(tmp_path, name, listen=f"127.0.0.1:{ports[number]}", replication=replication)
            server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            servers.append(server)
            assert server.stdout is not None
            assert server.stderr is not None
            line = server.stdout.readline()
            assert line, server.stderr.read().decode()
            assert json.loads(line)["read_only"] == (number == 1)
        deadline = time.monotonic() + 20
        while not admin.ask(tmp_path / "replica" / "admin.sock", "status")["instances"][0]["followed"]:
            assert time.monotonic() < deadline, "the replica does not follow"
            time.sleep(0.1)
    finally:
        for server in servers:
            server.kill()
            server.communicate()
