"""The API's document: it has every route and field, its examples are right, and no request gets another answer."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import httpx
import msgspec
import pytest
import trio
from starlette.applications import Starlette

from broadside.access.roles import ROLES
from broadside.api.v1.examples import ERRORS, EXAMPLES
from broadside.api.v1.openapi import document, statuses
from broadside.api.v1.reference import page
from broadside.api.v1.table import LOGOUT, TABLE
from broadside.console.console import Console
from broadside.newsroom.ring import Ring
from tests.broadside.api_parts import api_of
from tests.broadside.test_api import KEY, api, app
from tests.broadside.test_dry_run import House, house

__all__ = ["api", "app", "house"]

DOCS = Path(__file__).parents[2] / "docs"
SECONDS = int(os.environ.get("FUZZ_SECONDS", "5"))
"""For each role."""
SEED = os.environ.get("FUZZ_SEED", "22")
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "response_headers_conformance,unsupported_method,allow_header_conformance,ignored_auth"
)


def test_the_page_is_what_the_table_makes() -> None:
    """Issue 22.1: a list of paths beside the code was out of date."""
    assert (DOCS / "api.md").read_text() == page(), "run ./dev api-page"


def test_every_body_and_answer_has_an_example_that_is_one() -> None:
    """Issue 22.1."""
    for kind, example in EXAMPLES.items():
        assert msgspec.json.decode(msgspec.json.encode(example), type=kind) == example, kind
    for route in TABLE:
        assert {route.answer, *route.also.values()} <= EXAMPLES.keys(), route.path
        assert route.body is None or route.body in EXAMPLES, route.path
        assert statuses(route).keys() <= ERRORS.keys(), route.path


async def test_the_document_is_there_without_a_key_and_has_every_route(api: httpx.AsyncClient, app: Starlette) -> None:
    """Issue 22.1."""
    answer = await api.get("/v1/openapi.json", headers={"authorization": ""})
    assert answer.json() == document()
    assert {(path, method) for path, of in answer.json()["paths"].items() for method in of} == {
        (route.path, route.method.lower()) for route in TABLE
    }
    assert len({operation["operationId"] for of in document()["paths"].values() for operation in of.values()}) == len(
        TABLE
    )


@pytest.mark.timeout(SECONDS + 300)
@pytest.mark.parametrize("who", ["the node", "a session", *ROLES])
async def test_no_request_gets_an_answer_that_the_document_does_not_have(
    house: House, tmp_path: Path, who: str
) -> None:
    """D4, issue 22: requests of every kind and role at a real port over a real store; `./dev fuzz` sends more."""
    bound: list[str] = []
    local = tmp_path / "api.sock"
    ring = Ring(store=house.store, node="n1")
    room = api_of(house.newsroom, ring, house.store._link, KEY, lambda: {"node": "n1"})
    console = Console(room.app(), "127.0.0.1", 0, local, bound=bound.append, closing=lambda: None)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(_run, console))
        async with httpx.AsyncClient(base_url=bound[0], timeout=30) as client:
            role, shown, key = await _shown(client, who)
            command = [
                str(Path(sys.executable).parent / "schemathesis"), "run", f"{bound[0]}/v1/openapi.json",
                *(part for name, value in shown.items() for part in ("-H", f"{name}: {value}")),
                "--seed", SEED, "--max-time", str(SECONDS), "--phases", "examples,coverage,fuzzing",
                "--checks", CHECKS if "Authorization" in shown else CHECKS.replace(",ignored_auth", ""),
                "--exclude-operation-id", LOGOUT.name,  # after it a session is a stranger
                "--request-timeout", "30", "--suppress-health-check", "all", "--warnings", "off",
            ]  # fmt: skip
            hooks = {
                **os.environ,
                "SCHEMATHESIS_HOOKS": str(Path(__file__).with_name("lines_serializer.py")),
                "OWN_KEY": key,
            }
            done = await trio.run_process(
                command, check=False, cwd=tmp_path, capture_stdout=True, stderr=subprocess.STDOUT, env=hooks
            )
            still = await client.get("/v1/session", headers=shown)
        console.stop()
    said = done.stdout.decode()
    assert done.returncode == 0, said[-20_000:]
    assert still.json()["role"] == role, "all requests came from this role to the end"
    if "FUZZ_SECONDS" in os.environ:
        print(said[-2_000:])


async def _shown(client: httpx.AsyncClient, who: str) -> tuple[str, dict[str, str], str]:
    """A caller's role, the headers by which the node knows it (as `ignored_auth` spells them), and its key's id."""
    own = {"Authorization": f"Bearer {KEY}"}
    if who == "the node":
        return "operator", own, "local"
    if who == "a session":
        opened = await client.post("/v1/session", json={"key": KEY})
        cookie = opened.headers["set-cookie"].partition(";")[0]
        client.cookies.clear()
        return "operator", {"cookie": cookie, "x-csrf-token": opened.json()["csrf"]}, "local"
    made = await client.post("/v1/keys", json={"name": who, "role": who}, headers=own)
    return who, {"Authorization": f"Bearer {made.json()['key']}"}, made.json()["record"]["id"]


async def _run(console: Console, task_status: trio.TaskStatus[None]) -> None:
    await console.run(task_status.started)
