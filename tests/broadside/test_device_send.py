"""The test send: it reaches the devices that are named, marked as a test, and by construction nobody else."""

from __future__ import annotations

import functools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx
import msgspec
import pytest
import trio

from broadside.api.audience_request import AudienceRequest
from broadside.api.campaign_report import FireRequest
from broadside.api.device_send_records import MOST_DEVICES, DeviceSend
from broadside.api.token_rules import DeviceTokens
from broadside.errors import RecordError
from broadside.newsroom.dry_run import DryRun
from broadside.newsroom.guards.device_sender import DeviceSender, as_test
from broadside.newsroom.newsroom import Newsroom
from campaigns.message import Message, PlatformText, Text
from campaigns.text_choice import in_words, locales
from simulators.twin import serve_twin
from storage.link import Link
from storage.store import Store
from storage.tubes import Tubes
from tests.broadside.guard_parts import client_of
from transports import registry
from transports.contract import Transport, TransportSettings

PLATFORMS = {"ios": "apns", "android": "fcm"}
APPS = {"apns": "com.example.news", "fcm": "twin-project"}
NEWS = {"title": "Storm", "body": "Stay inside."}


@dataclass
class House:
    api: httpx.AsyncClient
    store: Store
    tubes: Tubes
    ledgers: dict[str, Path]
    ids: dict[str, list[int]]

    async def test(self, **body: Any) -> httpx.Response:
        return await self.api.post("/v1/campaigns/test", json={"message": NEWS, **body})

    def sent(self, channel: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ledgers[channel].read_text().splitlines()]


@pytest.fixture
async def house(own_link: Link, tmp_path: Path) -> AsyncIterator[House]:
    """Twins of both providers, a base with 50 phones on each channel, and an API."""
    settings: dict[str, TransportSettings] = {}
    ledgers = {name: tmp_path / f"{name}.ledger" for name in PLATFORMS}
    async with trio.open_nursery() as nursery:
        for name, platform in PLATFORMS.items():
            made: list[Any] = []
            up = trio.Event()

            def announce(ready: Any, made: list[Any] = made, up: trio.Event = up) -> None:
                made.append(ready)
                up.set()

            app = APPS[platform]
            nursery.start_soon(
                functools.partial(
                    serve_twin, platform, directory=tmp_path / platform, ledger=ledgers[name], announce=announce,
                    app=(app,),
                )
            )  # fmt: skip
            await up.wait()
            settings[name] = TransportSettings(
                channel=name,
                platform=platform,
                app=app,
                credentials=made[0].credentials,
                origin=made[0].origin,
                ca=Path(made[0].ca),
            )

        def open(name: str) -> Transport:
            return registry.load(PLATFORMS[name]).build(settings[name])

        store, tubes = Store(own_link), Tubes(own_link, "test")
        ids: dict[str, list[int]] = {}
        for name in PLATFORMS:
            rows = [(name, token(name, n), "token", 1, "", "", "", "", "", None, [], {}) for n in range(50)]
            await store.subscribers_put(rows)
        for row in await store.subscribers_page(0, 1000):
            ids.setdefault(row.channel, []).append(row.id)
        newsroom = Newsroom(
            store=store,
            tubes=tubes,
            checks=dict.fromkeys(PLATFORMS, lambda message: None),
            node="n1",
            states=list,
            segments=1,
            dry_run=DryRun(platforms=PLATFORMS, open=open),
            device_tokens=DeviceTokens(PLATFORMS),
        )
        async with client_of(own_link, newsroom) as api:
            yield House(api, store, tubes, ledgers, ids)
        nursery.cancel_scope.cancel()


def token(channel: str, n: int) -> str:
    return f"{n:064x}" if channel == "ios" else f"fcm{n:05d}:APA91b_{n:0140x}"


async def test_it_reaches_the_named_devices_marked_and_nobody_else(house: House) -> None:
    some = [*house.ids["ios"][:2], house.ids["android"][0]]
    answer = await house.test(subscribers=some, tokens=[token("android", 7)])
    report = answer.json()
    assert (answer.status_code, report["title"]) == (200, "[TEST] Storm"), report
    assert {each["subscriber"] for each in report["devices"]} == {*some, house.ids["android"][7]}
    assert {each["outcome"] for each in report["devices"]} == {"accepted"}
    assert {entry["token"] for entry in house.sent("ios")} == {token("ios", 0), token("ios", 1)}
    assert {entry["token"] for entry in house.sent("android")} == {token("android", 0), token("android", 7)}
    assert not any(entry.get("validated") for entry in house.sent("android")), "they are pushes, not a dry run"
    assert await house.store.campaign_list() == [], "it is no campaign"


async def test_a_token_that_nobody_has_registered_gets_it_if_its_channel_is_named(house: House) -> None:
    stranger = token("ios", 4711)
    refused = await house.test(tokens=[stranger])
    assert (refused.status_code, refused.json()["field"]) == (400, "tokens[0]")
    assert stranger not in refused.text
    answer = await house.test(tokens=[stranger.upper()], channel="ios")
    assert answer.json()["devices"] == [
        {"subscriber": None, "channel": "ios", "outcome": "accepted", "text": "Apple accepts it"}
    ]
    assert [entry["token"] for entry in house.sent("ios")] == [stranger]


@pytest.mark.parametrize(
    "body",
    [
        {"audience": {}},
        {"channels": ["ios"]},
        {"audience": {"tags": {"any": ["sport"]}}, "subscribers": [1]},
        {"share": 1.0, "subscribers": [1]},
        {},
        {"subscribers": [], "tokens": []},
        {"subscribers": list(range(1, 22))},
        {"subscribers": list(range(1, 12)), "tokens": [f"{n:064x}" for n in range(10)]},
        {"tokens": [""]},
        {"subscribers": [999_999]},
    ],
)
async def test_whatever_else_is_said_nobody_gets_anything(house: House, body: dict[str, Any]) -> None:
    answer = await house.test(**body)
    assert answer.status_code == 400
    assert answer.json()["remedy"]
    assert (house.sent("ios"), house.sent("android")) == ([], [])


def test_its_record_has_no_audience_and_its_room_no_way_to_one() -> None:
    """A broadcaster sent a developer's test to millions, twice."""
    fields = {field.name: field.type for field in msgspec.structs.fields(DeviceSend)}
    assert fields.keys() == {"message", "subscribers", "tokens", "channel"}
    assert not (fields.keys() - {"message"}) & {field.name for field in msgspec.structs.fields(FireRequest)}
    assert AudienceRequest not in {kind for each in fields.values() for kind in (each, *get_args(each))}
    sender = vars(DeviceSender(None, None, DeviceTokens({}), lambda: 0))  # type: ignore[arg-type]
    assert sender.keys() == {"_store", "_dry_run", "_device_tokens", "_clock", "_sending"}, "no tubes, no firing"


async def test_the_audit_says_who_tried_what_on_whom_and_no_token(house: House) -> None:
    report = (await house.test(subscribers=[house.ids["ios"][0]], tokens=[token("ios", 1)])).json()
    (entry,) = (await house.api.get("/v1/audit")).json()["entries"]
    assert (entry["action"], entry["about"]) == ("POST /v1/campaigns/test", report["id"])
    assert entry["detail"] == {"message.title": "Storm", "subscribers": [house.ids["ios"][0]]}
    assert token("ios", 1) not in json.dumps(entry)


async def test_a_repeat_under_the_same_key_sends_nothing_again(house: House) -> None:
    headers = {"idempotency-key": "one"}
    body = {"message": NEWS, "subscribers": house.ids["ios"][:1]}
    first, again = [await house.api.post("/v1/campaigns/test", json=body, headers=headers) for _ in range(2)]
    assert first.json() == again.json()
    assert len(house.sent("ios")) == 1


async def test_what_a_provider_refuses_is_told_for_its_device(house: House) -> None:
    await house.store.subscribers_put([("android", "!dead", "token", 1, "", "", "", "", "", None, [], {})])
    (row,) = [row for row in await house.store.subscribers_page(0, 1000) if row.token == "!dead"]
    report = (await house.test(subscribers=[row.id, house.ids["android"][0]])).json()
    assert [each["outcome"] for each in report["devices"]] == ["accepted", "refused"]
    assert "INVALID_ARGUMENT" in report["devices"][1]["text"]


async def test_a_message_that_a_platform_cannot_carry_is_refused(house: House) -> None:
    answer = await house.test(message={"title": "x" * 5000}, subscribers=house.ids["ios"][:1])
    assert (answer.status_code, answer.json()["field"]) == (400, "message")
    assert house.sent("ios") == []


def test_every_text_of_every_platform_is_marked() -> None:
    message = Message(
        body="only a body",
        texts={"de": Text(title="Sturm", body="b"), "pt": Text(body="corpo")},
        platforms={
            "fcm": PlatformText(
                title="Storm!", texts={"pt": Text(body="o"), "fr": Text(body="corps"), "de": Text(title="S")}
            ),
            "apns": PlatformText(body="another"),
        },
    )
    marked = as_test(message)
    for platform in ("fcm", "apns", "webpush"):
        for locale in locales(marked, platform):
            assert in_words(marked, platform, locale).title.startswith("[TEST]"), (platform, locale)
            assert in_words(marked, platform, locale).body == in_words(message, platform, locale).body
    assert in_words(marked, "fcm", "de").title == "[TEST] S"


def test_a_title_among_a_platforms_own_options_is_marked_or_refused() -> None:
    options: dict[str, dict[str, Any]] = {"fcm": {"android": {"notification": {"title": "Storm", "color": "#ff0000"}}}}
    marked = as_test(Message(title="t", options=options)).options
    assert marked == {"fcm": {"android": {"notification": {"title": "[TEST] Storm", "color": "#ff0000"}}}}
    for alert in ({"title_loc_key": "storm"}, {"title-loc-key": "storm"}, {"title": {"loc-key": "storm"}}):
        with pytest.raises(RecordError, match="cannot be marked"):
            as_test(Message(title="t", options={"apns": {"aps": {"alert": alert}}}))
    assert MOST_DEVICES == 20
