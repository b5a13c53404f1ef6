"""The compose page and the calendar, over the API, without a browser: tests/browser has the rest."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import urlencode

import httpx
import msgspec
import pytest

from broadside.api.campaign_report import FireRequest
from broadside.api.preview_report import ChannelPreview, PreviewReport, TextPreview
from broadside.pages.compose_form import fields_of, request_of
from broadside.pages.push_drawing import devices
from storage.link import Link
from storage.store import Store
from tests.broadside.test_access import OWN
from tests.broadside.test_api import subscriber
from tests.broadside.test_pages import node, reader

__all__ = ["node"]  # a fixture

ID = "k7r2m5qpx4n3a"
FULL: dict[str, Any] = {
    "message": {
        "title": "Storm", "body": "Stay\ninside, {first_name|friend}", "url": "https://example.com/7",
        "image": "https://example.com/7.jpg", "texts": {"pt-BR": {"title": "Tempestade"}, "de": {}},
        "sound": "bell.caf", "badge": 3, "thread": "storm", "urgency": "high", "data": {"id": "7"},
        "options": {"push": {"ttl": 3}},
    },
    "kind": "breaking", "quiet": "silent", "expires": "2h", "on_objection": "adapt",
    "when": "local 2026-12-01T08:00 skip",
    "audience": {
        "channels": ["ios"], "locales": ["pt", "de"], "countries": ["BR"], "zones": ["America/Sao_Paulo"],
        "app_version": ">=4.2,<5", "screen": ["home"], "tags": {"any": ["sport", "team=Reds"], "none": ["quiet"]},
        "share": 0.05, "share_salt": "s", "rest": True, "subscribers": [7, "token-1"],
    },
}  # fmt: skip


def form(**fields: str | list[str]) -> bytes:
    return urlencode({"draft": ID, "version": "0", "when": "now", "kind": "news", **fields}, doseq=True).encode()


def posted(fields: dict[str, Any]) -> dict[str, list[str]]:
    """What a browser posts of a form with these fields."""
    plain = {name: value for name, value in fields.items() if name != "texts"}
    found = {
        name: list(value) if isinstance(value, list) else ["1" if value is True else value]
        for name, value in plain.items()
        if value
    }
    for name, text in fields["texts"].items():
        found.setdefault("locale", []).append(name)
        found |= {f"{name}:{part}": [value] for part, value in text.items() if value}
    return found


async def post(node: httpx.AsyncClient, path: str, headers: dict[str, str], body: bytes) -> httpx.Response:
    return await node.post(path, content=body, headers=headers)


@pytest.mark.parametrize("when", [None, "best", "local 2026-12-01T08:00", "2026-12-01T08:00:00+01:00"])
def test_a_request_becomes_a_form_and_the_form_the_same_request(when: str | None) -> None:
    """I23.1: a draft comes back as it was written, with all that a program has put into it."""
    request = FULL | {"when": when} if when else {name: FULL[name] for name in FULL if name != "when"}
    assert msgspec.convert(request, FireRequest)
    assert request_of(posted(fields_of(request, "Europe/Vienna")), "Europe/Vienna") == request
    assert request_of(posted(fields_of({}, None)), None) == {"message": {}}


def test_what_is_half_written_is_passed_on_for_the_api_to_name() -> None:
    asked = request_of({"when": ["at"], "at": ["2026-13-"], "share": ["1e"], "badge": ["x"], "kept": ["[1"]}, None)
    assert asked == {"message": {}, "when": "2026-13-"}


async def test_what_is_written_is_kept_counted_and_drawn(node: httpx.AsyncClient) -> None:
    """I23.1: drafts keep themselves; the audience is counted; phones are drawn from the exact requests."""
    reads, changes = await reader(node, "editor")
    await node.post("/v1/subscribers", json=subscriber(1), headers=OWN)
    empty = await post(node, "/compose/keep", changes, form())
    assert "Drafts keep themselves" in empty.text
    kept = await post(node, "/compose/keep", changes, form(title="Storm <b>", body="x" * 130))
    assert kept.status_code == 200
    assert "Saved" in kept.text
    assert re.search(r"<strong>1 phone</strong>", kept.text)
    assert "Send to 1 phone<" in kept.text
    assert "130 characters" in kept.text
    assert "too long for most phones" in kept.text
    assert kept.text.count('class="push-title">Storm &lt;b&gt;') >= 2, "awake on an iPhone and on an Android phone"
    assert 'name="version" value="1"' in kept.text
    page = await node.get(f"/?draft={ID}", headers=reads)
    assert 'name="title" value="Storm &lt;b&gt;"' in page.text
    assert f'href="/?draft={ID}"' in page.text


async def test_two_editors_at_once_lose_nothing_and_are_told_of_each_other(node: httpx.AsyncClient) -> None:
    """I23.1: two editors at once."""
    _, ana = await reader(node, "editor")
    _, bo = await reader(node, "approver")
    for editor, title, version in ((ana, "a", "0"), (bo, "b", "1")):
        kept = await post(node, "/compose/keep", editor, form(title=title, version=version))
        assert "Saved" in kept.text, kept.text
    refused = await post(node, "/compose/keep", ana, form(title="c", version="1"))
    assert "Not saved" in refused.text
    assert "Approver changed this draft at" in unescape(refused.text)
    over = await post(node, "/compose/keep", ana, form(title="c", version="1", over="1"))
    assert 'name="version" value="3"' in over.text


async def test_fire_leads_to_the_campaign_and_again_to_the_same_one(node: httpx.AsyncClient) -> None:
    """I23.1: a double click, a retry and a second tab fire once."""
    reads, changes = await reader(node, "editor")
    await node.post("/v1/subscribers", json=subscriber(1), headers=OWN)
    first = await post(node, "/compose/fire", changes, form(title="Storm"))
    assert first.status_code == 204, first.text
    again = await post(node, "/compose/fire", changes, form(title="Storm"))
    assert again.headers["hx-redirect"] == first.headers["hx-redirect"]
    assert re.fullmatch("/campaigns/[a-z2-7]{13}", first.headers["hx-redirect"])
    other = await post(node, "/compose/fire", changes, form(title="Another", version="1"))
    assert other.status_code == 409
    assert "fired already" in other.text
    assert f'href="{first.headers["hx-redirect"]}"' in other.text
    assert len((await node.get("/v1/campaigns", headers=OWN)).json()["items"]) == 1
    assert "This draft was sent" in (await node.get(f"/?draft={ID}", headers=reads)).text


async def test_a_refusal_says_what_to_do_and_one_that_needs_a_yes_asks_for_it(node: httpx.AsyncClient) -> None:
    _, changes = await reader(node, "editor")
    await node.post("/v1/subscribers", json=subscriber(1), headers=OWN)
    refused = await post(node, "/compose/fire", changes, form(title="Storm", url="nonsense"))
    assert refused.status_code == 400
    assert "is not a link" in unescape(refused.text)
    assert 'name="yes"' not in refused.text
    late = form(title="Storm", version="1", when="local", at="2020-01-01T08:00")
    assert (await post(node, "/compose/fire", changes, late)).status_code == 400


async def test_a_viewer_has_no_compose_page(node: httpx.AsyncClient) -> None:
    reads, changes = await reader(node, "viewer")
    assert (await node.get("/", headers=reads)).headers["location"] == "/campaigns"
    for path in ("/compose/keep", "/compose/fire", "/compose/discard"):
        assert (await post(node, path, changes, form(title="Storm"))).status_code == 403, path


async def test_one_more_language_gets_its_fields_once(node: httpx.AsyncClient) -> None:
    _, changes = await reader(node, "editor")
    added = await post(node, "/compose/language", changes, form(new_locale="pt_br"))
    assert 'name="pt-BR:title"' in added.text
    for wrong, said in (("pt-BR", "already"), ("!!", "no language tag")):
        refused = await post(node, "/compose/language", changes, form(new_locale=wrong, locale=["pt-BR"]))
        assert 'name="locale"' not in refused.text
        assert said in refused.text


async def test_the_calendar_shows_what_is_to_come_and_cancels_it(node: httpx.AsyncClient, own_link: Link) -> None:
    """I23.1: what is scheduled, by time."""
    reads, changes = await reader(node, "editor")
    assert "Nothing is to come" in (await node.get("/calendar", headers=reads)).text
    await node.post("/v1/subscribers", json=subscriber(1), headers=OWN)
    later = {"message": {"title": "Morning <news>"}, "when": _tomorrow()}
    made = await node.post("/v1/campaigns", json=later, headers=OWN)
    assert made.status_code == 201, made.text
    id = made.json()["id"]
    shown = await node.get("/calendar", headers=reads)
    assert f'href="/campaigns/{id}"' in shown.text
    assert "Morning &lt;news&gt;" in shown.text
    cancelled = await post(node, f"/calendar/{id}/cancel", changes, b"")
    assert "Nothing is to come" in cancelled.text
    campaign = await Store(own_link).campaign_list()
    assert [each.state for each in campaign] == ["cancelled"]


def _tomorrow() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")


def test_a_device_shows_what_its_providers_json_says() -> None:
    body = msgspec.json.encode({"m": {"alert": {"title": "T", "body": "B"}}, "image": "https://x/y", "title": ""})
    texts = [
        TextPreview(locale=name, presentation="awake", body=body.decode().replace("T", title), bytes=9, limit=99)
        for name, title in (("", "T"), ("pt", "P"))
    ]
    preview = PreviewReport({"a": ChannelPreview(platform="push", device="iPhone", texts=texts)})
    for locale, title in (("", "T"), ("pt", "P"), ("de", "T")):
        (device,) = devices(preview, locale)
        (push,) = device.drawings
        assert (push.title, push.body, push.image, push.asleep) == (title, "B", "https://x/y", False)
