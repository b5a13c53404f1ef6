"""Least privilege: who may do what in an instance, as Tarantool itself lists it and as it answers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import asynctnt
import pytest
import trio
import trio_asyncio

from storage.embedded import LUA, Embedded
from storage.tarantool_program import tarantool
from tests.conftest import Server

PEERS = "a-password-of-the-peers"
LIST = """
package.path = package.path .. (';%s/?.lua;%s/?/init.lua'):format(arg[1], arg[1])
local json = require('json')
box.cfg({work_dir = arg[2], log_level = 1, feedback_enabled = box.internal.feedback_daemon and false})
local told = {published = {}, grants = {}}
require('roles.store').start()
require('roles.tubes').start({'ios'})
for _, prefix in ipairs({'store', 'tubes'}) do
    for name in pairs(rawget(_G, prefix)) do
        table.insert(told.published, prefix .. '.' .. name)
    end
end
for _, name in ipairs({'broadside', 'peer'}) do
    told.grants[name] = box.schema.user.info(name)
end
for _, name in ipairs({'broadside_verbs', 'broadside_peer'}) do
    told.grants[name] = box.schema.role.info(name)
end
told.setuid = {}
for _, f in box.space._func:pairs() do
    if f.setuid == 1 and f.name:match('^%l+%.') then
        table.insert(told.setuid, f.name)
    end
end
print(json.encode(told))
os.exit(0)
"""


@pytest.fixture
def server(tmp_path: Path) -> Any:
    server = Server(tmp_path / "tarantool", ["ios"])
    server.embedded = Embedded(tmp_path / "tarantool", ["ios"], peer_password=PEERS, memory=128 << 20)
    server.start()
    yield server
    if server.process is not None:
        server.stop()
    server.embedded.remove_runtime()


def listed(server: Server, folder: Path) -> Any:
    """What the instance's own access lists say, once it has stopped."""
    server.stop()
    script = folder / "list.lua"
    script.write_text(LIST)
    command = [tarantool() or "tarantool", str(script), str(LUA), str(server.embedded.directory)]
    return json.loads(subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout)


def test_the_roles_hold_execute_on_their_verbs_and_nothing_else(server: Server, tmp_path: Path) -> None:
    told = listed(server, tmp_path)
    published = {("execute", "function", name) for name in told["published"]}
    assert len(published) > 50
    assert {tuple(grant) for grant in told["grants"]["broadside_verbs"]} == published
    assert sorted(told["grants"]["broadside_peer"]) == [
        ["execute", "function", f"tubes.{name}"] for name in ("batch_of", "baton_put", "stop")
    ]
    for user, role in (("broadside", "broadside_verbs"), ("peer", "broadside_peer")):
        # `public` is Tarantool's own (what all may look up), `session,usage` is the log-in, `alter` one's own password
        assert {tuple(grant) for grant in told["grants"][user]} == {
            ("execute", "role", "public"),
            ("execute", "role", role),
            ("session,usage", "universe", ""),
            ("alter", "user", user),
        }
    assert set(told["published"]) <= set(told["setuid"])


async def asked(server: Server, user: str | None, password: str | None, *requests: tuple[str, list[Any]]) -> list[str]:
    """What the instance answers to each request: `ok`, or the refusal."""
    path = server.embedded.endpoint.uri.removeprefix("unix/:")

    async def island() -> list[str]:
        link = asynctnt.Connection(
            host="unix/", port=path, username=user, password=password, fetch_schema=False, auto_refetch_schema=False,
            reconnect_timeout=0,
        )  # fmt: skip
        await link.connect()
        answers = []
        for what, args in requests:
            try:
                await (link.eval(*args) if what == "eval" else getattr(link, what)(*args))
                answers.append("ok")
            except asynctnt.exceptions.TarantoolDatabaseError as error:
                answers.append(str(error.message))
        await link.disconnect()
        return answers

    async with trio_asyncio.open_loop():
        return await trio_asyncio.aio_as_trio(island)()


FORBIDDEN: list[tuple[str, list[Any]]] = [
    ("eval", ["return 1"]),
    ("call", ["box.session.su", ["admin"]]),
    ("call", ["box.schema.user.grant", ["guest", "super"]]),
    ("call", ["queue.tube.push_ios:put", [[1]]]),
    ("call", ["os.exit", [1]]),
    ("select", [512]),
    ("insert", [512, [1]]),
    ("delete", [512, [1]]),
    ("select", [280]),  # _space
    ("insert", [312, [32, 1, "universe", 0, 1]]),  # _priv
]


@pytest.mark.parametrize("user", ["broadside", "peer", None])
async def test_evaluation_spaces_and_foreign_functions_are_refused_to_everybody(
    server: Server, user: str | None
) -> None:
    password = {"broadside": server.embedded.password, "peer": PEERS, None: None}[user]
    for request, answer in zip(FORBIDDEN, await asked(server, user, password, *FORBIDDEN), strict=True):
        assert "denied" in answer or "not defined" in answer, f"{user} may {request}: {answer}"


async def test_a_peer_may_hand_batons_over_and_call_no_other_verb(server: Server) -> None:
    with trio.fail_after(30):
        answers = await asked(
            server,
            "peer",
            PEERS,
            ("call", ["tubes.baton_put", [[]]]),
            ("call", ["tubes.baton_take", ["x", 1, 0]]),
            ("call", ["tubes.statistics", []]),
            ("call", ["store.subscribers_page", [0, 10]]),
        )
    assert answers[0] == "ok"
    assert all("denied" in answer for answer in answers[1:]), answers
