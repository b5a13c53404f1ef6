"""The API's routes about refused tokens: what a mistake is told."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette

from tests.broadside.test_api import api, app

__all__ = ["api", "app"]


@pytest.mark.parametrize("act", ["confirm", "keep"])
async def test_an_answer_to_no_question_is_refused(api: httpx.AsyncClient, act: str) -> None:
    answer = await api.post(f"/v1/dead/{act}", json={"channel": "ios"})
    assert answer.status_code == 404
    assert answer.json()["detail"] == "no question is open about ios"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"channel": "ios", "campain": "x"}, 400),
        ({"channel": "ios", "campaign": "not-an-id"}, 400),
        ({"channel": 3}, 400),
        ([], 400),
    ],
)
async def test_a_body_with_a_mistake_is_refused(api: httpx.AsyncClient, body: object, status: int) -> None:
    """B9"""
    for act in ("confirm", "keep", "restore"):
        answer = await api.post(f"/v1/dead/{act}", json=body)
        assert answer.status_code == status, act
        assert answer.json()["detail"]


async def test_restore_wants_to_know_what(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/dead/restore", json={})
    assert answer.status_code == 400
    assert "neither a channel nor a campaign" in answer.json()["detail"]


async def test_nothing_is_told_without_the_key(api: httpx.AsyncClient, app: Starlette) -> None:
    for method, path in (("GET", ""), ("POST", "/confirm"), ("POST", "/keep"), ("POST", "/restore")):
        answer = await api.request(method, f"/v1/dead{path}", headers={"authorization": ""}, json={"channel": "ios"})
        assert answer.status_code == 401
    assert (await api.get("/v1/dead")).json() == {"items": [], "next": None}
