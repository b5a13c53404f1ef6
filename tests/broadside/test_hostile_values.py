"""Values that are code elsewhere (paths, HTML, control characters) are plain values to the API."""

from __future__ import annotations

import httpx
import pytest

from broadside.api.v1.table import TABLE
from tests.broadside.test_api import api, app, put, subscriber

__all__ = ["api", "app"]

NAMES = [
    "..",
    "%2e%2e",
    "..%2f..%2f..%2fetc%2fpasswd",
    "%2fetc%2fpasswd",
    "..%5c..%5c",
    "a%00b",
    "%1b%5b2J",
    "%e2%80%ae",
    "%ff",
    "a" * 3000,
    "<script>alert(1)<%2fscript>",
    "'%20or%201=1",
]


@pytest.mark.parametrize("name", NAMES)
async def test_a_name_in_a_path_leads_nowhere_else(api: httpx.AsyncClient, name: str) -> None:
    """Issue 22: the ids of campaigns name files of the archive, the names of channels tubes."""
    routes = [route for route in TABLE if route.names]
    for route in routes:
        path = route.path.format(**dict.fromkeys(route.names, name))
        answer = await api.request(route.method, path)
        assert answer.status_code in (400, 404), (route.method, path, answer.text)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["remedy"]
        assert "root:" not in answer.text
        assert not set(answer.content).intersection({0, 0x1B, 0x7F}), "an answer can be shown on a terminal"
    assert len(routes) >= 12


async def test_a_text_with_html_is_a_text(api: httpx.AsyncClient) -> None:
    """Issue 22: it goes out as it was written, and no answer with it is taken for a page."""
    await put(api, subscriber(1))
    html = "<script>alert(1)</script> & 2 < 3"
    made = await api.post("/v1/campaigns", json={"message": {"title": html, "body": html}})
    assert made.status_code == 201, made.text
    for path in ("/v1/campaigns", f"/v1/campaigns/{made.json()['id']}", "/v1/audit"):
        answer = await api.get(path)
        assert answer.headers["content-type"] == "application/json"
        assert html in answer.text
    refused = [
        await api.post("/v1/campaigns", json={"message": {"title": "t", "body": "b"}, "kind": html}),
        await api.post("/v1/campaigns", json={"message": {"title": "t", "body": "b"}, "channels": [html]}),
        await api.post("/v1/subscribers", json={"channel": "ios", "token": html}),
        await api.post("/v1/subscribers", json={"channel": "ios", "token": "\x1b[2J"}),
        await api.post("/v1/keys", json={"name": "a", "role": html}),
        await api.get("/v1/campaigns", params={"cursor": html}),
        await api.get("/v1/campaigns", params={html: "1"}),
    ]
    for answer in refused:
        assert answer.status_code == 400, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert 0x1B not in answer.content
