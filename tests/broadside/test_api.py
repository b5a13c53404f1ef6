"""The HTTP API over a real store: who may, what is answered, and what a mistake is told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.routing import Route

from broadside.api.subscriber import MAX_TOKEN
from broadside.api.token_rules import DeviceTokens
from broadside.api.v1.table import TABLE
from broadside.console.routes import Api
from broadside.newsroom.dry_run import DryRun
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from campaigns.identity import parse_campaign
from campaigns.message import Message
from storage.link import Link
from storage.store import Store
from storage.tubes import Tubes
from tests.broadside.api_parts import api_of
from transports.errors import PayloadError

KEY = "the-key"
PUBLIC = [route.path for route in TABLE if route.scope is None]


def picky(message: Message) -> None:
    if not (message.title.strip() or message.body.strip() or message.options):
        raise PayloadError("message.title: is empty, and so is message.body; write what people should read")
    if message.options.get("apns", {}).get("priority") == 10:
        raise PayloadError("message.options.apns.priority: 10 is not allowed for background; use 5")
    if len(message.body) > 1000:
        raise PayloadError("message: 5000 bytes for APNs, which takes 4096; shorten it")


class Checking:
    """A transport that is asked for its word on a message alone: the channel has no subscriber."""

    def check(self, message: Message) -> None:
        picky(message)


def opened(channel: str) -> Any:
    return Checking()


def newsroom_over(link: Link, open: Callable[[str], Any] = opened) -> Newsroom:
    return Newsroom(
        store=Store(link),
        tubes=Tubes(link, "test"),
        checks={"ios": picky, "android": lambda message: None},
        node="n1",
        states=list,
        segments=1,
        dry_run=DryRun(platforms={"ios": "apns", "android": "fcm"}, open=open),
        device_tokens=DeviceTokens({"ios": "apns", "android": "fcm"}),
    )


def api_over(link: Link) -> Api:
    ring = Ring(store=Store(link), node="n1")
    return api_of(newsroom_over(link), ring, link, KEY, lambda: {"node": "n"})


@pytest.fixture
def app(own_link: Link) -> Starlette:
    return api_over(own_link).app()


@pytest.fixture
async def api(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app)
    headers = {"authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as client:
        yield client


def subscriber(n: int, **more: Any) -> dict[str, Any]:
    return {"channel": "ios", "token": f"{n:064x}", **more}


def lines(rows: Iterable[dict[str, Any]]) -> bytes:
    """The body of ``POST /v1/subscribers/bulk``."""
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


async def put(api: httpx.AsyncClient, *rows: dict[str, Any], query: str = "") -> Any:
    """Register subscribers; returns the answer."""
    answer = await api.post(f"/v1/subscribers/bulk{query}", content=lines(rows))
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_however_many_probes_come_tasks_are_counted_once_a_second(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C8: every probe counted all tasks of all tubes by state, and a stranger may send probes."""
    counts, before = [], Tubes.statistics

    async def counted(tubes: Tubes) -> Any:
        counts.append(trio.current_time())
        return await before(tubes)

    monkeypatch.setattr(Tubes, "statistics", counted)
    began = trio.current_time()
    for _ in range(50):
        answer = await api.get("/readyz")
        assert (answer.status_code, answer.json()["ready"]) == (200, True)
    assert len(counts) <= 1 + (trio.current_time() - began)


async def test_only_health_is_told_without_the_key(api: httpx.AsyncClient, app: Starlette) -> None:
    for headers in (
        {"authorization": ""},
        {"authorization": "Bearer wrong"},
        {"authorization": "Bearer ключ".encode()},
    ):
        assert (await api.get("/healthz", headers=headers)).status_code == 200
        assert (await api.get("/readyz", headers=headers)).status_code == 200
        for route in app.routes:
            assert isinstance(route, Route)
            if route.path in PUBLIC:
                continue
            path = route.path_format.format(
                id="aaaaabcdefghi", name="n2", channel="ios", key_id="k", draft_id="d", story_id="s"
            )
            for method in route.methods or ():
                answer = await api.request(method, path, headers=headers)
                assert answer.status_code == 401, f"{method} {path}"
                assert method == "HEAD" or "broadside key add" in answer.json()["remedy"]


async def test_subscribers_go_in_are_counted_and_come_out_as_they_were(api: httpx.AsyncClient) -> None:
    rows = [subscriber(n, locale="de", tz="Europe/Berlin", tags=["a"], fields={"name": "Ada"}) for n in range(30)]
    assert await put(api, *rows) == {"inserted": 30, "updated": 0}
    assert await put(api, *rows[:5]) == {"inserted": 0, "updated": 5}
    assert (await api.get("/v1/subscribers/count")).json() == {"total": 30, "channels": {"ios": 30}}
    page = (await api.get("/v1/subscribers", params={"cursor": 10, "limit": 7})).json()
    assert [row["id"] for row in page["items"]] == list(range(11, 18))
    assert page["items"][0]["fields"] == {"name": "Ada"}
    rest = (await api.get("/v1/subscribers", params={"cursor": page["next"], "limit": 100})).json()
    assert [row["id"] for row in rest["items"]] == list(range(18, 31))
    assert (await api.get("/v1/subscribers", params={"cursor": rest["next"]})).json() == {"items": [], "next": None}


@pytest.mark.parametrize(
    ("row", "field"),
    [
        (subscriber(2, token="x" * (MAX_TOKEN + 1)), "token"),
        (subscriber(1, kind="email"), "kind"),
        ({"channel": "ios"}, "token"),
        (subscriber(1, nonsense=1), "nonsense"),
        (subscriber(1, channel="iso"), "channel"),
        ("not an object", "line"),
    ],
)
async def test_a_bad_record_is_named_and_only_the_others_are_written(
    api: httpx.AsyncClient, row: Any, field: str
) -> None:
    answer = await api.post("/v1/subscribers", content=json.dumps(row))
    error = answer.json()
    assert (answer.status_code, error["field"]) == (400, field)
    assert error["remedy"]
    assert (await api.get("/v1/subscribers/count")).json()["total"] == 0
    answered = await put(api, subscriber(8), row, subscriber(9))
    (fault,) = answered.pop("faults")
    assert answered == {"inserted": 2, "updated": 0, "refused": 1}
    assert (fault["line"], fault["field"], fault["remedy"]) == (2, field, error["remedy"])
    assert (await api.get("/v1/subscribers/count")).json()["total"] == 2


async def test_an_attribute_that_cannot_be_read_does_not_cost_the_phone(api: httpx.AsyncClient) -> None:
    """A7: it is dropped, and the answer says so."""
    dropped = {"tz": {"count": 1, "examples": ['"Europe/Berlim"']}}
    answer = await api.post("/v1/subscribers", content=json.dumps(subscriber(1, tz="Europe/Berlim")))
    assert answer.json() == {"inserted": 1, "updated": 0, "dropped": dropped}
    assert await put(api, subscriber(1, tz="Europe/Berlim")) == {"inserted": 0, "updated": 1, "dropped": dropped}


async def test_a_strict_request_is_refused_rather_than_an_attribute_dropped(api: httpx.AsyncClient) -> None:
    """A7: as the import's --strict."""
    row = json.dumps(subscriber(2, tz="Europe/Berlim"))
    answer = await api.post("/v1/subscribers?strict=true", content=row)
    error = answer.json()
    assert (answer.status_code, error["field"], error["value"]) == (400, "tz", '"Europe/Berlim"')
    assert (await api.get("/v1/subscribers/count")).json()["total"] == 0
    assert (await api.post("/v1/subscribers?strict=yes", content=row)).json()["field"] == "strict"
    assert (await api.post("/v1/subscribers?strict=false", content=row)).json()["inserted"] == 1
    answered = await put(api, subscriber(1, tz="GMT+3"), subscriber(3, tz="Europe/Berlim"), query="?strict=true")
    assert (answered["inserted"], answered["refused"], answered["faults"][0]["line"]) == (1, 1, 2)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"message": {"title": "", "body": "  "}}, "message.title"),
        ({"message": {"title": "t", "body": "b"}, "channels": ["nope"]}, "channels"),
        ({"message": {"title": "t", "body": "b"}, "channels": []}, "channels"),
        ({"message": {"title": "t", "body": "b" * 2000}}, "message"),
        ({"message": {"title": "t", "body": "b", "options": {"apn": {}}}}, "message.options.apn"),
        (
            {"message": {"title": "", "body": "", "options": {"apns": {"priority": 10}}}},
            "message.options.apns.priority",
        ),
        ({"message": {}}, "message.title"),
        ({"message": {"title": "t", "body": "b"}, "ttl_seconds": 0}, "ttl_seconds"),
        ({"message": {"title": "t", "body": "b"}, "chanels": ["ios"]}, "chanels"),
    ],
)
async def test_a_campaign_that_cannot_be_is_refused_before_anything_is_fired(
    api: httpx.AsyncClient, request_: dict[str, Any], field: str
) -> None:
    answer = await api.post("/v1/campaigns", content=json.dumps(request_))
    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert (await api.get("/v1/campaigns")).json() == {"items": [], "next": None}


async def test_a_platforms_objection_is_told_with_field_and_remedy(api: httpx.AsyncClient) -> None:
    body = {"message": {"title": "", "body": "", "options": {"apns": {"priority": 10}}}}
    error = (await api.post("/v1/campaigns", content=json.dumps(body))).json()
    assert error["detail"] == "message.options.apns.priority: 10 is not allowed for background (use 5)"
    assert error["remedy"] == "use 5"


async def test_one_platforms_objection_need_not_stop_the_others(api: httpx.AsyncClient) -> None:
    """D8: a message that Apple could not carry was fired to nobody; the editor had no choice."""
    rows = [subscriber(1), {"channel": "android", "token": "c" * 64 + ":APA91b"}]
    assert await put(api, *rows) == {"inserted": 2, "updated": 0}
    long: dict[str, Any] = {"message": {"title": "t", "body": "b" * 2000}}
    refused = (await api.post("/v1/campaigns", content=json.dumps(long))).json()
    assert refused["field"] == "message"
    fired = (await api.post("/v1/campaigns", content=json.dumps({**long, "on_objection": "skip"}))).json()
    shown = (await api.get(f"/v1/campaigns/{fired['id']}")).json()
    for report in (fired, shown):
        assert list(report["channels"]) == ["android"]
        assert report["notes"] == [f"ios is left out, its platform objects: {refused['detail']}"]
    alone = {**long, "on_objection": "skip", "channels": ["ios"]}
    answer = await api.post("/v1/campaigns", content=json.dumps(alone))
    assert (answer.status_code, answer.json()["detail"]) == (400, refused["detail"]), "nobody is left"


async def test_a_message_is_adapted_to_a_platform_if_the_editor_says_so(api: httpx.AsyncClient, own_link: Link) -> None:
    """D8: on_objection knew only refuse and skip."""
    wanted = {"message": {"title": "t", "body": "b" * 2000}, "on_objection": "adapt"}
    said = "the body is cut to 999 of 2,000 characters (message: 5000 bytes for APNs, which takes 4096; shorten it)"
    rehearsed = (await api.post("/v1/campaigns", content=json.dumps({**wanted, "dry_run": True}))).json()["channels"]
    assert {name: verdict["adapted"] for name, verdict in rehearsed.items()} == {"ios": [said], "android": []}
    assert rehearsed["ios"]["verdict"] == "checked"
    rows = [subscriber(1), {"channel": "android", "token": "c" * 64 + ":APA91b"}]
    assert await put(api, *rows) == {"inserted": 2, "updated": 0}
    fired = (await api.post("/v1/campaigns", content=json.dumps(wanted))).json()
    shown = (await api.get(f"/v1/campaigns/{fired['id']}")).json()
    for report in (fired, shown):
        assert report["channels"].keys() == {"ios", "android"}
        assert report["notes"] == [f"adapted for ios: {said}"]
        assert report["message"] == wanted["message"]
    campaign = await Store(own_link).campaign_get(parse_campaign(fired["id"]))
    assert campaign is not None
    assert campaign.message_to("ios").body == "b" * 999 + "…"
    assert campaign.message_to("android").body == "b" * 2000
    hopeless = {**wanted, "message": {"options": {"apns": {"priority": 10}}}}
    assert (await api.post("/v1/campaigns", content=json.dumps(hopeless))).status_code == 400


async def test_a_push_that_shows_nothing_needs_no_text(api: httpx.AsyncClient) -> None:
    message = {"options": {"apns": {"push_type": "background"}}}
    answer = await api.post("/v1/campaigns", content=json.dumps({"message": message}))
    assert answer.status_code == 201
    assert (await api.get(f"/v1/campaigns/{answer.json()['id']}")).json()["message"] == message


async def test_a_dry_run_is_answered_and_fires_nothing(api: httpx.AsyncClient) -> None:
    wanted = {"message": {"title": "t", "body": "b"}, "dry_run": True}
    answer = await api.post("/v1/campaigns", content=json.dumps(wanted))
    assert answer.status_code == 200
    assert {name: verdict["verdict"] for name, verdict in answer.json()["channels"].items()} == {
        "ios": "checked",
        "android": "checked",
    }
    wanted["message"] = {"title": "t", "body": "b" * 2000}
    answer = await api.post("/v1/campaigns", content=json.dumps(wanted))
    assert answer.json()["channels"]["ios"]["verdict"] == "invalid"
    answer = await api.post("/v1/campaigns", content=json.dumps({**wanted, "channels": ["nope"]}))
    assert (answer.status_code, answer.json()["field"]) == (400, "channels")
    assert (await api.get("/v1/campaigns")).json() == {"items": [], "next": None}


async def test_a_campaign_is_fired_once_listed_and_shown(api: httpx.AsyncClient) -> None:
    await put(api, *[subscriber(n) for n in range(3)])
    answer = await api.post("/v1/campaigns", content=json.dumps({"message": {"title": "t", "body": "b"}}))
    assert answer.status_code == 201
    report = answer.json()
    assert (report["state"], report["channels"]["ios"]["audience"]) == ("firing", 3)
    assert (await api.get(f"/v1/campaigns/{report['id']}")).json()["id"] == report["id"]
    assert (await api.get("/v1/campaigns")).json()["items"][0]["id"] == report["id"]
    assert (await api.get("/v1/campaigns/aaaaaaaaaaaaa")).status_code == 404
    assert (await api.get("/v1/campaigns/short")).status_code == 400


async def test_progress_ends_with_the_campaign(api: httpx.AsyncClient) -> None:
    fired = (await api.post("/v1/campaigns", content=json.dumps({"message": {"title": "t", "body": "b"}}))).json()
    with trio.fail_after(5):
        answer = await api.get(f"/v1/campaigns/{fired['id']}/progress")
    assert answer.headers["content-type"] == "application/x-ndjson"
    assert [json.loads(line)["state"] for line in answer.text.splitlines()] == ["done"], "the base is empty"


async def test_progress_of_a_campaign_that_stands_still_is_no_silent_connection(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proxies cut what is silent, and so did the test of the API's document, on a slow machine."""
    monkeypatch.setattr("broadside.console.campaign_routes.PING_EVERY", 0.05)
    await put(api, subscriber(1))
    fired = (await api.post("/v1/campaigns", content=json.dumps({"message": {"title": "t", "body": "b"}}))).json()
    path = f"/v1/campaigns/{fired['id']}"
    with trio.fail_after(10):
        first = await api.get(f"{path}/progress", params={"limit": 1})
        async with trio.open_nursery() as nursery:

            async def change() -> None:
                await trio.sleep(0.4)
                await api.post(f"{path}/pause")

            nursery.start_soon(change)
            both = (await api.get(f"{path}/progress", params={"limit": 2})).text.split("\n")
    assert [json.loads(line)["state"] for line in first.text.splitlines()] == ["firing"]
    assert json.loads(both[0])["state"] == "firing"
    assert json.loads(both[-2])["state"] in ("pausing", "paused")
    assert len(both) > 5, "it lives"
    assert set(both[1:-2]) == {""}


async def test_a_path_of_its_own_allows_what_itself_takes(api: httpx.AsyncClient) -> None:
    """/v1/campaigns/test said that it takes GET, as it does for a campaign of that id."""
    for path, allowed in (("/v1/campaigns/test", "POST"), (f"/v1/campaigns/{'a' * 13}", "GET, HEAD")):
        answer = await api.request("OPTIONS", path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


async def test_a_page_larger_than_allowed_is_refused(api: httpx.AsyncClient) -> None:
    for query in ({"limit": "5001"}, {"limit": "-1"}, {"cursor": "x"}):
        assert (await api.get("/v1/subscribers", params=query)).status_code == 400


async def test_two_spellings_of_a_token_are_one_subscriber(api: httpx.AsyncClient) -> None:
    """A4: Apple takes AB and ab for one phone, which would show the news twice."""
    token = f"{0xAB:064x}"
    for written in (token, token.upper(), f"<{token}>", f" {token[:8]} {token[8:]}"):
        await api.post("/v1/subscribers", content=json.dumps({"channel": "ios", "token": written}))
    page = (await api.get("/v1/subscribers")).json()["items"]
    assert [row["token"] for row in page] == [token]
    answer = await api.delete("/v1/subscribers", params={"channel": "ios", "token": token.upper()})
    assert answer.json() == {"removed": True}
    assert (await api.get("/v1/subscribers/count")).json()["total"] == 0


async def test_what_is_no_token_of_its_platform_is_refused(api: httpx.AsyncClient) -> None:
    """A5: the same rule for everybody, the node's own import or not."""
    row = {"channel": "android", "token": subscriber(2)["token"]}
    answer = await api.post("/v1/subscribers", content=json.dumps(row))
    error = answer.json()
    assert (answer.status_code, error["field"]) == (400, "token")
    assert error["remedy"] == "this looks like a token of apns: is the channel right?"
    assert row["token"] not in answer.text
    assert (await api.get("/v1/subscribers/count")).json()["total"] == 0


async def test_a_nodes_channels_and_their_platforms_are_told(api: httpx.AsyncClient) -> None:
    answer = await api.get("/v1/channels")
    file = {"app": "app", "by_api": False}
    channels = {"android": {"platform": "fcm", **file}, "ios": {"platform": "apns", **file}}
    assert answer.json() == {"channels": channels, "served": None}


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (
            {"message": {"title": "t", "body": "b", "urll": "https://x"}},
            'message.urll: unknown field (did you mean "url"? known: title, body, url, image, texts, ',
        ),
        ({"message": {"title": "t", "body": "b", "topic": "weather"}}, "message.topic: unknown field (known: title, "),
        (
            {"message": {"title": "t", "body": "b", "picture": None}},
            "message.picture: unknown field (known: title, body",
        ),
        (
            {"message": {"title": "t", "body": "b", "texts": {"pt": {"titel": "x"}}}},
            'message.texts.pt.titel: unknown field (did you mean "title"? known: title, body, url, image)',
        ),
        (
            {"message": {"title": "t", "body": "b", "platforms": {"apns": {"texts": {"pt": {"titel": "x"}}}}}},
            'message.platforms.apns.texts.pt.titel: unknown field (did you mean "title"? known: title, body, url',
        ),
        (
            {"message": {"title": "t", "body": "b"}, "chanels": ["ios"]},
            'chanels: unknown field (did you mean "channels"? known: message, channels, kind, ttl_seconds',
        ),
        (
            {"message": {"title": "t", "body": "b", "options": {"apn": {}}}},
            'message.options.apn: unknown platform (did you mean "apns"? known: apns, fcm, huawei, rustore, webpush',
        ),
    ],
)
async def test_a_field_that_nobody_knows_is_named_with_the_nearest_that_there_is(
    api: httpx.AsyncClient, request_: dict[str, Any], error: str
) -> None:
    """B9."""
    for more in ({}, {"dry_run": True}):
        answer = await api.post("/v1/campaigns", content=json.dumps({**request_, **more}))
        assert answer.status_code == 400
        assert answer.json()["detail"].startswith(error)
        assert error.startswith(answer.json()["field"] + ":")
    assert (await api.get("/v1/campaigns")).json() == {"items": [], "next": None}


async def test_a_records_unknown_field_is_named_with_the_nearest_that_there_is(api: httpx.AsyncClient) -> None:
    """B9."""
    answer = await api.post("/v1/subscribers", content=json.dumps(subscriber(2, tokn="x")))
    assert answer.json()["detail"].startswith('tokn: unknown field (did you mean "token"? known: id,')


async def test_a_parameter_that_nobody_knows_is_an_error_on_every_route(api: httpx.AsyncClient, app: Starlette) -> None:
    """B9."""
    for route in app.routes:
        assert isinstance(route, Route)
        if route.path in PUBLIC:
            continue  # whoever probes may add what keeps caches away
        path = route.path_format.format(
            id="aaaaabcdefghi", name="n2", channel="ios", key_id="k", draft_id="d", story_id="s"
        )
        for method in (route.methods or set()) - {"HEAD"}:
            answer = await api.request(method, path, params={"limitt": "1"})
            assert (answer.status_code, answer.json()["field"]) == (400, "limitt"), f"{method} {path}"
    answer = await api.get("/v1/subscribers", params={"cursr": "1"})
    assert answer.json()["detail"] == 'cursr: unknown parameter (did you mean "cursor"? known: limit, cursor)'
    answer = await api.get("/v1/subscribers?limit=1&limit=2")
    assert answer.json()["detail"] == "limit: is given 2 times (give it once)"
    answer = await api.post("/v1/peers/n2/forget", params={"force": "yes"})
    assert answer.json()["detail"].startswith('force: "yes" is not true or false')


async def test_a_body_where_none_is_read_is_an_error_that_names_its_field(api: httpx.AsyncClient) -> None:
    """B9."""
    for path in ("/v1/peers/n2/forget", "/v1/campaigns/aaaaabcdefghi/cancel", "/v1/tubes/ios/kick"):
        answer = await api.post(path, content=b'{"force": true}')
        assert (answer.status_code, answer.json()["field"]) == (400, "force"), path
        assert (await api.post(path, content=b"not json")).json()["field"] == "body"
        assert (await api.post(path, content=b"{}")).status_code in (200, 404, 409), path


async def test_a_stored_message_of_another_version_can_still_be_read(api: httpx.AsyncClient, own_link: Link) -> None:
    """B9: the border is strict, the store is not."""

    class Newer(Message, frozen=True, kw_only=True):
        video: str = ""

    newer = Newer(title="t", body="b", video="https://x")
    policy = {"page_size": 100, "ttl_ms": 1000}
    await Store(own_link).campaign_create(77, newer, None, policy, 1_800_000_000_000)
    (campaign,) = (await api.get("/v1/campaigns")).json()["items"]
    campaign = (await api.get(f"/v1/campaigns/{campaign['id']}")).json()
    assert campaign["message"] == {"title": "t", "body": "b"}
