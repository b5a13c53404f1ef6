"""A dry run over a real store, against strict twins: what is said, and that nothing is sent, stored or left open."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from broadside.api.campaign_report import FireRequest, Verdict
from broadside.api.subscriber import Subscriber
from broadside.api.token_rules import DeviceTokens
from broadside.errors import RecordError
from broadside.newsroom import dry_run
from broadside.newsroom.dry_run import DryRun
from broadside.newsroom.newsroom import Newsroom
from campaigns.message import Message
from simulators.twin import serve_twin
from storage.link import Link
from storage.store import Store
from storage.tubes import Tubes
from transports import registry
from transports.contract import Transport, TransportSettings

PLATFORMS = {"android": "fcm", "ios": "apns"}
APPS = {"fcm": "twin-project", "apns": "com.example.news"}
NEWS = Message(title="Flood", body="Leave the valley")


@dataclasses.dataclass
class House:
    """A newsroom whose channels go to twins; ``settings`` may be bent before a question."""

    newsroom: Newsroom
    store: Store
    settings: dict[str, TransportSettings]
    ledgers: dict[str, Path]
    opened: list[Transport] = dataclasses.field(default_factory=list)

    async def subscribers(self, *channels: str, count: int = 7) -> None:
        token = {"android": "fcm{:05d}:APA91b_{:0140x}", "ios": "{1:064x}"}
        await self.newsroom.subscribers.put(
            [Subscriber(channel=name, token=token[name].format(n, n)) for name in channels for n in range(count)]
        )

    async def ask(self, message: Message = NEWS, **more: Any) -> dict[str, Verdict]:
        return (await self.newsroom.rehearse(FireRequest(message=message, dry_run=True, **more))).channels


@pytest.fixture
async def house(own_link: Link, tmp_path: Path) -> AsyncIterator[House]:
    settings: dict[str, TransportSettings] = {}
    ledgers = {name: tmp_path / f"{platform}.ledger" for name, platform in PLATFORMS.items()}
    async with trio.open_nursery() as nursery:
        for name, platform in PLATFORMS.items():
            made: list[Any] = []
            up = trio.Event()

            def announce(ready: Any, made: list[Any] = made, up: trio.Event = up) -> None:
                made.append(ready)
                up.set()

            app = APPS[platform]
            twin = functools.partial(
                serve_twin, platform, directory=tmp_path / platform, ledger=ledgers[name], announce=announce, app=(app,)
            )
            nursery.start_soon(twin)
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
            house.opened.append(registry.load(PLATFORMS[name]).build(settings[name]))
            return house.opened[-1]

        checks: dict[str, Callable[[Message], None]] = dict.fromkeys(PLATFORMS, lambda message: None)
        newsroom = Newsroom(
            store=Store(own_link),
            tubes=Tubes(own_link, "test"),
            checks=checks,
            node="n1",
            states=list,
            segments=1,
            dry_run=DryRun(platforms=PLATFORMS, open=open),
            device_tokens=DeviceTokens(PLATFORMS),
        )
        house = House(newsroom, Store(own_link), settings, ledgers)
        yield house
        nursery.cancel_scope.cancel()


async def test_google_is_asked_apple_is_not_and_nothing_is_sent_or_stored(house: House) -> None:
    await house.subscribers("android", "ios")
    verdicts = await house.ask()
    assert verdicts == {
        "android": Verdict("accepted", "Google accepts it (5 of 5)", 5, 5),
        "ios": Verdict("checked", "checked here only; Apple has no dry run"),
    }
    assert (await house.newsroom.campaigns(10)).items == []
    assert await house.newsroom.subscribers.count() == {"android": 7, "ios": 7}
    judged = [json.loads(line) for line in house.ledgers["android"].read_text().splitlines()]
    assert [entry["validated"] for entry in judged] == [True] * 5, "judged, not delivered"
    assert house.ledgers["ios"].read_text() == ""
    assert [transport.pool.connections for transport in house.opened] == [0, 0], "closed again"  # type: ignore[attr-defined]


async def test_a_channel_without_subscribers_is_checked_only(house: House) -> None:
    await house.subscribers("ios")
    verdicts = await house.ask(channels=["android"])
    assert verdicts == {"android": Verdict("checked", "checked here only; the channel has no subscriber to try it on")}


async def test_a_message_that_one_platform_cannot_carry_is_told_for_that_channel(house: House) -> None:
    await house.subscribers("android", "ios")
    red = {"fcm": {"android": {"notification": {"color": "red"}}}}
    verdicts = await house.ask(Message(title="t", body="b", options=red))
    assert verdicts["android"].verdict == "invalid"
    assert 'message.options.fcm.android.notification.color: "red" is not #rrggbb' in verdicts["android"].text
    assert verdicts["ios"].verdict == "checked"


async def test_dead_phones_are_told_and_kept(house: House) -> None:
    await house.subscribers("android", count=2)
    row = ["android", "!not-a-token", "token", 1000, "", "", "", "", "", None, [], {}]
    await house.store.subscribers_put([row])  # past the door that recognises tokens
    verdict = (await house.ask(channels=["android"]))["android"]
    assert (verdict.verdict, verdict.asked, verdict.accepted) == ("accepted", 3, 2)
    assert verdict.text == "Google accepts it (2 of 3; 1 × INVALID_ARGUMENT)"
    assert await house.newsroom.subscribers.count() == {"android": 3}


async def test_the_providers_own_objection_is_the_answer(house: House) -> None:
    await house.subscribers("android")
    house.settings["android"] = _but(house.settings["android"], app="another-project")
    verdict = (await house.ask(channels=["android"]))["android"]
    assert verdict.verdict == "refused"
    assert "may not send for this project" in verdict.text


async def test_a_provider_out_of_reach_is_told_in_time(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dry_run, "BEGIN_WITHIN", 0.3)
    await house.subscribers("android")
    origin = house.settings["android"].origin
    house.settings["android"] = _but(house.settings["android"], origin="https://localhost:1")
    with trio.fail_after(5):
        verdict = (await house.ask(channels=["android"]))["android"]
    assert verdict.verdict == "unanswered"
    assert "localhost:1" in verdict.text
    # … and one that takes connections and never speaks
    monkeypatch.setattr(dry_run, "LONGEST", 0.5)
    monkeypatch.setattr(dry_run, "BEGIN_WITHIN", 60.0)
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener[0].socket.getsockname()[1]
    house.settings["android"] = _but(house.settings["android"], origin=f"https://127.0.0.1:{port}")
    with trio.fail_after(5):
        verdict = (await house.ask(channels=["android"]))["android"]
    assert verdict == Verdict("unanswered", "Google did not answer within 0.5 s", 5)
    await listener[0].aclose()
    house.settings["android"] = _but(house.settings["android"], origin=origin)
    assert (await house.ask(channels=["android"]))["android"].verdict == "accepted", "the next one is welcome"


async def test_a_key_that_is_gone_is_one_channels_trouble(house: House) -> None:
    await house.subscribers("android", "ios")
    house.settings["android"] = _but(house.settings["android"], credentials={"service_account": "/gone.json"})
    verdicts = await house.ask()
    assert verdicts["android"].verdict == "refused"
    assert '"/gone.json" not found' in verdicts["android"].text
    assert verdicts["ios"].verdict == "checked"


async def test_two_at_once_are_one_too_many_and_unknown_channels_are_named(house: House) -> None:
    await house.subscribers("android")
    async with trio.open_nursery() as nursery:
        results: list[Any] = []

        async def ask() -> None:
            try:
                results.append(await house.ask(channels=["android"]))
            except RecordError as error:
                results.append(str(error))

        nursery.start_soon(ask)
        nursery.start_soon(ask)
    assert sorted(isinstance(result, str) for result in results) == [False, True]
    assert "dry_run: another one is under way (try again in a moment)" in results
    with pytest.raises(RecordError, match="unknown channel"):
        await house.ask(channels=["nope"])


def _but(settings: TransportSettings, **changes: Any) -> TransportSettings:
    return dataclasses.replace(settings, **changes)
