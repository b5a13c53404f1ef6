"""The pages over the API, without a browser: tests/browser has the rest."""

from __future__ import annotations

import gzip
import itertools
import re
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

import broadside.pages
from broadside.access.roles import ROLES
from broadside.api.v1.table import TABLE
from broadside.console.host_names import HostNames
from broadside.newsroom import correction_desk
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from broadside.pages.pages import PAGES, Pages
from campaigns.clock import wall_clock
from campaigns.identity import parse_campaign
from storage.link import Link
from storage.store import Store
from tests.actors.test_provider_faults import apns, fcm
from tests.broadside.api_parts import api_of
from tests.broadside.test_access import FIRE, OWN, logged_in, made
from tests.broadside.test_api import KEY, newsroom_over, subscriber
from tests.storage.test_pause_and_forget import Ring as Hands
from transports.contract import Transport
from transports.http2.connection import Origin

HTML = {"accept": "text/html,*/*"}
FOLDER = Path(broadside.pages.__file__).parent


def newsroom(link: Link) -> Newsroom:
    """A newsroom whose previews are those of the real platforms."""
    pool = SimpleNamespace(origin=Origin("localhost", 1))
    built: dict[str, Transport] = {"ios": apns(pool, wall_clock), "android": fcm(pool, wall_clock)}
    return newsroom_over(link, open=built.__getitem__)


@pytest.fixture
async def node(own_link: Link) -> AsyncIterator[httpx.AsyncClient]:
    api = api_of(newsroom(own_link), Ring(store=Store(own_link), node="n1"), own_link, KEY).app()
    transport = httpx.ASGITransport(app=Pages(api, HostNames(["node"])))
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield client


async def reader(node: httpx.AsyncClient, role: str) -> tuple[dict[str, str], dict[str, str]]:
    """Header fields of a browser that has logged in: to read, and to change something."""
    _, key = await made(node, role)
    cookie, session = await logged_in(node, key=key["authorization"].split()[1])
    return {**HTML, **cookie}, {**HTML, **cookie, "x-csrf-token": session["csrf"], "hx-request": "true"}


async def fired(node: httpx.AsyncClient, **message: object) -> str:
    await node.post("/v1/subscribers", json=subscriber(1), headers=OWN)
    answer = await node.post("/v1/campaigns", json={"message": {**FIRE["message"], **message}}, headers=OWN)
    return str(answer.json()["id"])


def path_of(path: str, id: str) -> str:
    return re.sub(r"\{[a-z_]+\}", id, path)


async def test_a_stranger_is_led_to_the_log_in_and_back(node: httpx.AsyncClient) -> None:
    """Issue 23: no page shows or does anything without a session."""
    for page in PAGES:
        path = path_of(page.path, "aaaaaaaaaaaaa")
        whole = await node.request(page.method, path, headers=HTML)
        assert (whole.status_code, whole.content) == (303, b""), path
        assert whole.headers["location"].startswith("/login")
        part = await node.request(page.method, path, headers={**HTML, "hx-request": "true"})
        assert (part.status_code, part.content) == (204, b"")
        assert part.headers["hx-redirect"].startswith("/login?ended=1")
    ended = await node.get("/campaigns", headers={**HTML, "cookie": "broadside-8765=gone"})
    assert ended.headers["location"] == "/login?ended=1&next=%2Fcampaigns"
    assert "has ended" in (await node.get(ended.headers["location"], headers=HTML)).text
    assert "has ended" not in (await node.get("/login", headers=HTML)).text


async def test_every_page_answers_every_role_with_html_and_never_a_fault(
    node: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 23: what a role may not is said in words."""
    monkeypatch.setattr(correction_desk, "STANDS_WITHIN", 0.1)  # no worker is here that could stop
    id = await fired(node)
    roles = {role: (await reader(node, role))[1] for role in ROLES}
    for page, change in itertools.product(PAGES, roles.values()):
        answer = await node.request(page.method, path_of(page.path, id), headers=change)
        assert answer.status_code < 500, (page.path, answer.text)
        assert answer.status_code in (204, 303) or answer.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"


async def test_a_page_changes_nothing_without_its_sessions_token(node: httpx.AsyncClient) -> None:
    """Issue 23: a page of another site cannot stop a campaign."""
    id = await fired(node)
    read, change = await reader(node, "editor")
    bare = await node.post(f"/campaigns/{id}/pause", headers=read)
    assert bare.status_code == 403
    assert (await node.get(f"/v1/campaigns/{id}", headers=OWN)).json()["state"] == "firing"
    elsewhere = await node.post(f"/campaigns/{id}/pause", headers={**change, "origin": "https://evil.example"})
    assert elsewhere.status_code == 403
    done = await node.post(f"/campaigns/{id}/pause", headers={**change, "origin": "http://node"})
    assert done.status_code == 200, done.text
    assert 'data-state="paus' in done.text
    audit = (await node.get("/v1/audit", headers=OWN)).json()["entries"]
    assert [(each["action"], each["about"]) for each in audit if "pause" in each["action"]] == [
        ("POST /v1/campaigns/{id}/pause", id)
    ]


async def test_a_viewer_sees_a_campaign_and_no_button(node: httpx.AsyncClient) -> None:
    """Issue 23."""
    id = await fired(node)
    viewer, change = await reader(node, "viewer")
    editor, _ = await reader(node, "editor")
    assert "Stop" not in (await node.get(f"/campaigns/{id}", headers=viewer)).text
    assert "Stop" in (await node.get(f"/campaigns/{id}", headers=editor)).text
    refused = await node.post(f"/campaigns/{id}/pause", headers=change)
    assert refused.status_code == 403
    assert "may not do this" in refused.text


@pytest.mark.parametrize("awake", [False, True])
async def test_a_correction_has_a_field_for_each_language(node: httpx.AsyncClient, own_link: Link, awake: bool) -> None:
    """25.5: what was wrong in one language is corrected there, the others stay as they are, and it is loud if asked."""
    hands = Hands(own_link)
    await hands.join()
    texts = {"de": {"title": "Falsch", "body": "Text"}, "pt": {"title": "Errado"}, "fr": {"title": "Faux"}}
    id = await fired(node, title="Wrong", body="Text", texts=texts)
    read, change = await reader(node, "editor")
    page = (await node.get(f"/campaigns/{id}", headers=read)).text
    fields = {"title", "body", *(f"{locale}:{name}" for locale in texts for name in ("title", "body"))}
    assert fields <= set(re.findall(r'name="([^"]+)"', page))
    assert (await node.post(f"/v1/campaigns/{id}/pause", headers=OWN)).status_code == 200
    await hands.beat()
    await hands.beat()
    form = {"locale": ["de", "pt", "fr"], "title": "Right", "body": "Text", "de:title": "Richtig", "de:body": "Text"}
    form |= {"awake": "on"} if awake else {}
    answer = await node.post(f"/campaigns/{id}/correct", data=form | {"pt:title": "Certo"}, headers=change)
    assert answer.status_code == 200, answer.text
    report = (await node.get(f"/v1/campaigns/{id}", headers=OWN)).json()
    second = await Store(own_link).campaign_get(parse_campaign(report["corrected_by"]))
    assert second is not None
    assert ("asleep" in second.policy) is not awake
    message = report["message"]
    assert (message["title"], message["texts"]) == (
        "Right", {"de": {"title": "Richtig", "body": "Text"}, "pt": {"title": "Certo"}}
    ), "French has no words of its own any more"  # fmt: skip


async def test_a_text_with_html_is_a_text_on_every_page(node: httpx.AsyncClient) -> None:
    """Issue 23: titles come from people, reasons from providers."""
    evil = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    id = await fired(node, title=evil, body=evil)
    read, _ = await reader(node, "operator")
    for path in ("/campaigns", f"/campaigns/{id}", f"/campaigns/{id}/requests"):
        text = (await node.get(path, headers=read)).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
    assert evil in unescape((await node.get("/campaigns", headers=read)).text)


async def test_the_log_in_leads_to_our_own_pages_only(node: httpx.AsyncClient) -> None:
    """Issue 23."""
    foreign = ["//evil.example", "/\\evil.example", "https://evil.example", "javascript:alert(1)", "/\t/evil.example"]
    for next, leads_to in [("/campaigns?cursor=x", "/campaigns?cursor=x"), *((each, "/") for each in foreign)]:
        text = (await node.get("/login", params={"next": next}, headers=HTML)).text
        found = re.search(r'data-next="([^"]*)"', text)
        assert found is not None
        assert unescape(found[1]) == leads_to


async def test_a_page_under_another_name_is_refused(node: httpx.AsyncClient) -> None:
    """Issue 23: DNS rebinding reaches no page either."""
    for path in ("/login", "/campaigns", "/nothing"):
        assert (await node.get(path, headers={**HTML, "host": "evil.example"})).status_code == 421


async def test_what_is_no_page_is_the_apis_to_answer(node: httpx.AsyncClient) -> None:
    """Issue 23: programs get problems, people get a page."""
    assert (await node.get("/healthz", headers=HTML)).json() == {"ok": True}
    assert (await node.get("/v1/nothing", headers=HTML)).headers["content-type"] == "application/problem+json"
    assert (await node.get("/nothing")).headers["content-type"] == "application/problem+json"
    for path in ("/nothing", "/{", "/campaigns/", "/a/b/c"):
        person = await node.get(path, headers=HTML)
        assert (person.status_code, "there is no page" in person.text.lower()) == (404, True), path
    assert {route.path for route in TABLE}.isdisjoint(page.path for page in PAGES)


async def test_our_files_are_small_compressed_and_cached_for_ever(node: httpx.AsyncClient) -> None:
    """Issue 23: own modules under 10 KB; a page with all it needs under 100 KB."""
    text = (await node.get("/login", headers=HTML)).text
    version = re.search(r"/static/([0-9a-f]{12})/", text)
    assert version is not None
    files = [each for each in (FOLDER / "static").rglob("*") if each.suffix in (".js", ".css", ".svg")]
    sizes = {}
    for each in files:
        name = str(each.relative_to(FOLDER / "static"))
        async with node.stream("GET", f"/static/{version[1]}/{name}") as answer:
            sizes[name] = len(b"".join([part async for part in answer.aiter_raw()]))
        assert answer.headers["content-encoding"] == "gzip"
        assert "immutable" in answer.headers["cache-control"]
        assert gzip.compress(each.read_bytes(), 9, mtime=0)[:2] == b"\x1f\x8b"
    own = sum(size for name, size in sizes.items() if name.endswith(".js") and not name.startswith("vendor/"))
    assert own <= 10_000, sizes
    assert sum(sizes.values()) <= 85_000, sizes  # the rest of the hundred is the page's own HTML
    old = await node.get("/static/000000000000/page.js")
    assert (old.status_code, old.headers["cache-control"]) == (200, "no-store")
    assert (await node.get(f"/static/{version[1]}/../pages.py")).status_code == 404
    assert (await node.get(f"/static/{version[1]}/%2e%2e/pages.py")).status_code == 404


def test_no_template_has_a_script_a_style_or_a_handler_of_its_own() -> None:
    """Issue 23: the policy forbids them, and a browser would only log it."""
    for each in (FOLDER / "templates").rglob("*.html"):
        text = each.read_text()
        assert not re.search(r"\sstyle=|<style|\son[a-z]+=|hx-on|hx-vals='?\"?js:|javascript:", text), each.name
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), each.name
        assert "| safe" not in text, each.name
