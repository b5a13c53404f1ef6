"""Who may connect to a Tarantool: S5. A stranger's SQL would freeze it for everybody."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from benchmarks.ring.cluster import free_ports
from broadside.doctor import checks_ring
from storage import admin
from storage.embedded import LUA, Embedded
from storage.tarantool_program import tarantool, version

pytestmark = pytest.mark.tarantool

GUARDED = """
package.path = ('%s/?.lua;'):format(arg[1]) .. package.path
box.cfg({work_dir = arg[2], log_level = 1, feedback_enabled = box.internal.feedback_daemon and false})
require('hosts').guard({'127.0.0.9'})
require('hosts').change({'127.0.0.1'}) -- as after a reload
box.cfg({listen = '127.0.0.1:' .. arg[3]})
print('up')
io.stdout:flush()
"""
GUESTS_RUN_SQL = version(tarantool() or "tarantool").series < (3, 0)
"""Since Tarantool 3 a user needs the right to run SQL."""
ENDLESS = "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c"
pack = msgspec.msgpack.encode


def ask(port: int, sql: str, source: str, seconds: float = 5.0) -> bytes:
    """What an instance answers a guest from this address."""
    request = pack({0x00: 11, 0x01: 1}) + pack({0x40: sql, 0x41: []})
    with socket.create_connection(("127.0.0.1", port), seconds, source_address=(source, 0)) as link:
        link.settimeout(seconds)
        link.recv(128, socket.MSG_WAITALL)
        link.sendall(pack(len(request)) + request)
        return link.recv(4096)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[int]:
    """The port of an instance that only 127.0.0.1 may connect to, and not the rest of loopback."""
    (port,) = free_ports(1)
    (tmp_path / "guarded.lua").write_text(GUARDED)
    (tmp_path / "base").mkdir()
    command = [
        *(Embedded(tmp_path, []).command[0], str(tmp_path / "guarded.lua")),
        *(str(LUA), str(tmp_path / "base"), str(port)),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        yield port
        process.kill()


def test_a_strangers_query_without_an_end_stops_nobody(guarded: int) -> None:
    """S5: a guest's recursive SELECT froze store and queue for good; now nothing that a stranger asks is run."""
    assert b"access to host '127.0.0.2' is denied" in ask(guarded, ENDLESS, "127.0.0.2")
    began = time.monotonic()
    assert (b"COLUMN_1" if GUESTS_RUN_SQL else b"Execute access to sql") in ask(guarded, "SELECT 1", "127.0.0.1")
    assert time.monotonic() - began < 1


LISTS = """
package.path = ('%s/?.lua;'):format(arg[1]) .. package.path
local hosts, json = require('hosts'), require('json')
local said = {}
for i, case in ipairs(json.decode(arg[2])) do
    said[i] = hosts.covers(case[1], case[2])
end
print(json.encode({said, hosts.wrong({'10.0.0.1', '10.0.0.0/8', '::1', 'fe80::1'}) or 'none',
                   hosts.wrong({'10.0.0.1', 'node-2'}), hosts.wrong({'10.0.0.256'}), hosts.wrong({'10.0.0.0/33'})}))
os.exit(0)
"""


def test_hosts_are_addresses_and_networks(tmp_path: Path) -> None:
    cases = [
        (["10.0.0.6"], "10.0.0.6", True),
        (["10.0.0.6"], "10.0.0.60", False),
        (["10.1.0.0/16"], "10.1.255.255", True),
        (["10.1.0.7/16"], "10.2.0.0", False),
        (["192.168.0.0/30"], "192.168.0.4", False),
        (["0.0.0.0/0"], "8.8.8.8", True),
        (["10.0.0.6"], "::ffff:10.0.0.6", True),
        (["fe80::1"], "fe80::1", True),
        (["fe80::1"], "fe80::2", False),
        ([], "10.0.0.6", False),
    ]
    (tmp_path / "lists.lua").write_text(LISTS)
    command = [Embedded(tmp_path, []).command[0], str(tmp_path / "lists.lua"), str(LUA)]
    command.append(json.dumps([[hosts, address] for hosts, address, _ in cases]))
    said = json.loads(subprocess.run(command, capture_output=True, timeout=20, check=True).stdout)
    assert said == [[covered for _, _, covered in cases], "none", "node-2", "10.0.0.256", "10.0.0.0/33"]


@pytest.mark.parametrize(
    ("settings", "refusal"),
    [
        ({"listen": "10.0.0.5:3301"}, "hosts: is missing, and 10.0.0.5:3301 can be reached from other machines"),
        ({"listen": "0.0.0.0:3301", "hosts": []}, "hosts: is missing, and 0.0.0.0:3301 can be reached"),
        ({"listen": "3301"}, "hosts: is missing, and 3301 can be reached"),
        ({"listen": "10.0.0.5:3301", "hosts": ["node-2"]}, "hosts: node-2 is no address"),
        ({"listen": "10.0.0.5:3301", "hosts": "10.0.0.6"}, "hosts: 10.0.0.6 is no address"),
        (
            {"listen": "10.0.0.5:3301", "hosts": ["10.0.0.7"], "replication": {"others": ["10.0.0.6:3301"]}},
            "hosts: 10.0.0.6 of replication.others is missing",
        ),
    ],
)
def test_a_server_does_not_listen_to_everybody(tmp_path: Path, settings: dict[str, object], refusal: str) -> None:
    """S5: no listen beyond loopback without `hosts`, and none that keeps its own replicas out."""
    for name in ("password", "settings"):
        (tmp_path / name).write_text("secret\n")
        (tmp_path / name).chmod(0o600)
    given = {"role": "store", "data": str(tmp_path / "base"), "password_file": str(tmp_path / "password")}
    (tmp_path / "settings").write_text(json.dumps(given | settings))
    command = [Embedded(tmp_path, []).command[0], str(admin.SERVER), str(tmp_path / "settings")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"settings: {refusal}")
    assert not (tmp_path / "base").exists()


def test_the_doctor_says_where_sql_is_open_to_whoever_connects(guarded: int) -> None:
    assert checks_ring.guest_runs_sql(f"127.0.0.1:{guarded}") == GUESTS_RUN_SQL
    if not GUESTS_RUN_SQL:
        assert checks_ring._strangers(f"127.0.0.1:{guarded}", None).text.endswith("refuses SQL without a password")
        return
    found = checks_ring._strangers(f"127.0.0.1:{guarded}", None)
    assert not found.ok
    assert found.text == f"127.0.0.1:{guarded}: runs SQL for anybody who connects, without a password"
    listed = checks_ring._strangers(f"127.0.0.1:{guarded}", ["10.0.0.6"])
    assert listed.ok
    assert listed.text.endswith("open only to 10.0.0.6")
    assert not checks_ring.guest_runs_sql("127.0.0.1:9")
