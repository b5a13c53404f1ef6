"""``broadside key`` at a real API over a real store, through the socket in the data folder."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest
import trio

from broadside.access.keyring import Keyring
from broadside.access.sessions import Sessions
from broadside.console.admission import Admission
from broadside.console.console import Console
from broadside.datafolder import DataFolder, NodeInfo
from broadside.newsroom.ring import Ring
from storage.access import AccessStore
from storage.link import Link
from storage.store import Store
from tests.broadside.api_parts import access_of, api_of
from tests.broadside.fake_node import Said, broadside, folder
from tests.broadside.test_api import newsroom_over

__all__ = ["broadside", "folder"]

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def run(own_link: Link, folder: DataFolder, broadside: Said) -> AsyncIterator[Run]:
    """The command line, beside a node's API that serves the data folder."""
    with folder.locked():
        own = [folder.key()]
        store = AccessStore(own_link)
        keyring = Keyring(store, "n1", lambda: own[0], lambda: own.insert(0, folder.renew_key()))
        sessions = Sessions(store, keyring)
        access = dataclasses.replace(
            access_of(own_link, own[0]),
            keyring=keyring,
            sessions=sessions,
            admission=Admission(keyring, sessions, "broadside-1"),
        )
        ring = Ring(store=Store(own_link), node="n1")
        app = api_of(newsroom_over(own_link), ring, own_link, own[0], access=access).app()
        socket, up = folder.root / "api.sock", trio.Event()
        console = Console(app, "127.0.0.1", 0, socket, bound=lambda url: None, closing=folder.forget_node)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(console.run, up.set)
            await up.wait()
            folder.write_node(NodeInfo(pid=os.getpid(), url="http://127.0.0.1:1", socket="api.sock", started=0))

            async def call(*arguments: str) -> tuple[int, str, str]:
                return await trio.to_thread.run_sync(functools.partial(broadside, "key", *arguments))

            yield call
            nursery.cancel_scope.cancel()


async def asked(folder: DataFolder, key: str, path: str = "/v1/session") -> httpx.Response:
    """The API's answer to a holder of ``key``."""
    transport = httpx.AsyncHTTPTransport(uds=str(folder.root / "api.sock"))
    async with httpx.AsyncClient(transport=transport, base_url="http://node", timeout=30) as client:
        return await client.get(path, headers={"authorization": f"Bearer {key}"})


async def test_a_key_is_printed_once_and_listed_without_its_secret(run: Run, folder: DataFolder) -> None:
    """Issue 22.5."""
    limits = ("--channel", "ios", "--kind", "breaking", "--most", "500", "--days", "90")
    code, out, err = await run("add", "Ana", "--role", "editor", *limits)
    key = out.strip()
    assert (code, out) == (0, f"{key}\n"), "the key alone, for a script"
    assert "not shown again" in err
    assert key not in err
    who = (await asked(folder, key)).json()
    assert (who["name"], who["role"]) == ("Ana", "editor")
    assert who["id"] in err
    code, out, _ = await run("list")
    assert code == 0
    (row,) = (line for line in out.splitlines() if who["id"] in line)
    for each in ("Ana", "editor", "ios", "breaking", "500", "until 2"):
        assert each in row
    code, out, _ = await run("list", "--json")
    (listed,) = json.loads(out)["keys"]
    assert (listed["id"], listed["channels"], listed["kinds"], listed["most"]) == (
        who["id"],
        ["ios"],
        ["breaking"],
        500,
    )
    assert key not in out
    assert listed["used_at"] is not None


async def test_a_revoked_key_is_refused_and_listed_as_revoked(run: Run, folder: DataFolder) -> None:
    """Issue 22.5."""
    code, out, _ = await run("add", "backend", "--role", "app", "--json")
    made = json.loads(out)
    id, key = made["record"]["id"], made["key"]
    assert (await asked(folder, key)).status_code == 200
    code, out, _ = await run("revoke", id)
    assert (code, out) == (0, f"backend's key {id} is revoked\n")
    assert (await asked(folder, key)).status_code == 401
    assert "revoked" in (await run("list"))[1]
    code, out, err = await run("revoke", "nobody")
    assert (code, out) == (2, "")
    assert '"nobody"' in err
    assert "key list" in err


async def test_the_nodes_own_key_is_made_anew_and_the_command_line_goes_on(run: Run, folder: DataFolder) -> None:
    """Issue 22.5."""
    before = folder.key()
    code, out, _ = await run("revoke", "local", "--json")
    assert (code, json.loads(out)["id"]) == (0, "local:n1")
    after = folder.key()
    assert after != before
    assert after not in out
    assert folder.api_key.stat().st_mode & 0o777 == 0o600
    assert (await asked(folder, before)).status_code == 401
    assert (await asked(folder, after)).status_code == 200
    assert (await run("list"))[0] == 0


async def test_a_link_logs_a_browser_in_once(run: Run, folder: DataFolder) -> None:
    """Issue 22.5."""
    code, out, _ = await run("link")
    url, _, secret = out.strip().partition("#")
    assert (code, url) == (0, "http://node/login")
    assert folder.key() not in out
    transport = httpx.AsyncHTTPTransport(uds=str(folder.root / "api.sock"))
    async with httpx.AsyncClient(transport=transport, base_url="http://node", timeout=30) as browser:
        opened = await browser.post("/v1/session", json={"code": secret})
        assert (opened.status_code, opened.json()["role"]) == (201, "operator")
        assert (await browser.post("/v1/session", json={"code": secret})).status_code == 401
    code, out, _ = await run("link", "--json")
    assert (code, set(json.loads(out))) == (0, {"url", "expires_at"})


async def test_a_mistake_in_a_key_is_named_with_its_remedy(run: Run) -> None:
    """Issue 22.5."""
    for wrong, said in (
        (("add", "Ana", "--role", "boss"), "known: viewer"),
        (("add", "", "--role", "viewer"), "name"),
        (("add", "a\x1b[2J", "--role", "viewer"), "name"),
        (("add", "Ana", "--role", "viewer", "--days", "0"), "days"),
        (("add", "Ana", "--role", "editor", "--most", "0"), "most"),
        (("add", "Ana"), "role"),
    ):
        code, out, err = await run(*wrong)
        assert (code, out) == (2, ""), (wrong, err)
        assert said in err, (wrong, err)
        assert "\x1b[2J" not in err
    assert (await run("list", "--json"))[1] == '{"keys":[]}\n'


def test_without_a_node_a_command_says_so(folder: DataFolder, broadside: Said) -> None:
    """Issue 22.5."""
    for command in (("list",), ("add", "Ana", "--role", "viewer"), ("revoke", "local"), ("link",)):
        code, out, err = broadside("key", *command)
        assert (code, out) == (3, ""), command
        assert "no node is running" in err
