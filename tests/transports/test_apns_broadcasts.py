"""Apple's broadcast channels, against the twin: every answer's action, the body's limit, one order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from campaigns.message import Message
from simulators import twin_credentials as keys
from simulators.faults.script import Script
from simulators.ledger import Ledger, read_ledger
from simulators.serving.service import TwinReady, serve_twin
from transports.apns.broadcast_channels import LARGEST_BODY, ApnsBroadcasts
from transports.apns.platform import PLATFORM
from transports.broadcasts import Broadcasting, BroadcastLater, BroadcastRefused, CardState
from transports.contract import TransportSettings
from transports.errors import ConnectionLost, CredentialsError, PayloadError

APP = "org.example.news"


@dataclass(frozen=True)
class Twin:
    """Apple, as the twin plays it."""

    ready: TwinReady
    ledger: Ledger


StartTwin = Callable[..., AbstractAsyncContextManager[Twin]]


@pytest.fixture
def start_twin(tmp_path: Path) -> StartTwin:
    @asynccontextmanager
    async def start(*, ledger: Path | None = None, app: tuple[str, ...] = (), **script: Any) -> AsyncIterator[Twin]:
        heard: list[TwinReady] = []
        opened = Ledger(ledger)

        async def serve(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
            def announce(ready: TwinReady) -> None:
                heard.append(ready)
                task_status.started()

            faults = msgspec.convert(script, Script)
            await serve_twin(
                "apns", directory=tmp_path / "twin", script=faults, ledger=opened, app=app, announce=announce,
                stopping=trio.Event(),
            )  # fmt: skip

        async with trio.open_nursery() as nursery:
            await nursery.start(serve)
            yield Twin(heard[0], opened)
            nursery.cancel_scope.cancel()
        opened.close()

    return start


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> keys.Credentials:
    return keys.ensure_credentials(tmp_path_factory.mktemp("keys"))


def broadcasts(twin: Twin, **others: Any) -> ApnsBroadcasts:
    settings = TransportSettings(
        channel="ios",
        platform="apns",
        app=APP,
        credentials=dict(twin.ready.credentials),
        origin=f"https://localhost:{twin.ready.port}",
        ca=Path(twin.ready.ca),
        **others,
    )
    transport = PLATFORM.build(settings)
    assert isinstance(transport, Broadcasting)
    found = transport.broadcasts()
    assert isinstance(found, ApnsBroadcasts)
    return found


def card(at: int, **changes: Any) -> CardState:
    return CardState(**({"event": "update", "timestamp": at, "state": {"score": "1:0"}} | changes))


async def test_a_channel_is_made_broadcast_to_and_deleted(start_twin: StartTwin, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    async with start_twin(ledger=ledger, app=(APP,), bodies=True) as twin:
        apple = broadcasts(twin)
        kept, loose = await apple.create(stored=True), await apple.create(stored=False)
        assert await apple.channels() == [kept, loose]
        body = apple.body(card(1_800_000_000, alert=Message(title="Goal", body="1:0")))
        await apple.send(kept, body, urgent=True, kept_until=1_800_003_600)
        await apple.send(loose, body, urgent=False, kept_until=0)
        await apple.delete(loose)
        await apple.delete(loose)  # a repeat after a lost answer does no harm
        assert await apple.channels() == [kept]
    first, second = read_ledger(ledger)
    assert (first.kind, first.token, first.app, first.expires) == ("channel", kept, APP, 1_800_003_600_000)
    assert (second.token, second.expires, second.timestamp) == (loose, 0, 1_800_000_000)
    assert twin.ledger.broadcasts == 2
    assert twin.ledger.accepted == 0, "a broadcast is no push to a phone"
    assert msgspec.json.decode(first.body or "") == {
        "aps": {
            "timestamp": 1_800_000_000, "event": "update", "content-state": {"score": "1:0"},
            "alert": {"title": "Goal", "body": "1:0"},
        }
    }  # fmt: skip


async def test_the_twin_says_when_an_older_card_overtakes_a_newer_one(start_twin: StartTwin) -> None:
    async with start_twin() as twin:
        apple = broadcasts(twin)
        id = await apple.create(stored=True)
        for at in (20, 30, 30, 25):
            await apple.send(id, apple.body(card(at)), urgent=True, kept_until=0)
    assert (twin.ledger.broadcasts, twin.ledger.overtaken) == (4, 1)
    assert "broadcasts 4 (1 overtaken)" in twin.ledger.summary()


async def test_a_channel_without_storage_takes_no_other_expiration_than_zero(start_twin: StartTwin) -> None:
    async with start_twin() as twin:
        apple = broadcasts(twin)
        id = await apple.create(stored=False)
        with pytest.raises(BroadcastRefused, match="BadExpirationDate"):
            await apple.send(id, apple.body(card(20)), urgent=True, kept_until=1_800_000_000)


def test_a_body_may_have_5120_octets_and_no_more() -> None:
    def at(size: int) -> bytes:
        return ApnsBroadcasts.body(object.__new__(ApnsBroadcasts), card(20, state={"text": "x" * size}))

    room = LARGEST_BODY - len(at(0))
    assert len(at(room)) == LARGEST_BODY == 5120
    with pytest.raises(PayloadError, match=r"5121 bytes for APNs, which takes 5120 as liveactivity: 1 too many"):
        at(room + 1)


REFUSED = {
    "FeatureNotEnabled": (400, "switch on Broadcast Capability"),
    "MissingChannelId": (400, "check the broadcast channel's set-up"),
    "BadChannelId": (400, "end the story and open another"),
    "ChannelNotRegistered": (400, "end the story and open another"),
    "BadRequestParams": (400, "set-up"),
    "BadRequestPayload": (400, "set-up"),
    "MissingPushType": (400, "set-up"),
    "CannotCreateChannelConfig": (400, "it keeps 10,000"),
    "TopicMismatch": (403, "check the channel's app"),
    "BadExpirationDate": (400, "fault of the campaign or of Broadside"),
    "PayloadTooLarge": (413, "shorten the card"),
    "InvalidProviderToken": (403, "check key, key_id, team_id"),
    "BadEnvironmentKeyIdInToken": (403, "production or sandbox"),
    "Forbidden": (403, "Forbidden"),
}


@pytest.mark.parametrize("reason", REFUSED)
async def test_what_apple_refuses_is_said_with_the_remedy(start_twin: StartTwin, reason: str) -> None:
    status, remedy = REFUSED[reason]
    async with start_twin(rules=[{"answer": "refuse", "reason": reason, "status": status}]) as twin:
        with pytest.raises(BroadcastRefused, match=remedy) as refused:
            await broadcasts(twin).create(stored=True)
    assert refused.value.gone == (reason in ("BadChannelId", "ChannelNotRegistered"))


@pytest.mark.parametrize(
    ("rule", "after"),
    [
        ({"answer": "429"}, 60.0),
        ({"answer": "503"}, 60.0),
        ({"answer": "refuse", "reason": "Shutdown", "status": 503}, 1.0),
        ({"answer": "refuse", "reason": "TooManyProviderTokenUpdates", "status": 429}, 60.0),
        ({"answer": "refuse", "reason": "IdleTimeout", "status": 400}, 1.0),
    ],
)
async def test_what_passes_is_tried_again_later(start_twin: StartTwin, rule: dict[str, object], after: float) -> None:
    async with start_twin(rules=[rule | {"times": 1}]) as twin:
        apple = broadcasts(twin)
        with pytest.raises(BroadcastLater) as later:
            await apple.create(stored=True)
        assert later.value.after == after
        assert await apple.create(stored=True)


async def test_a_token_that_apple_calls_expired_is_renewed_once(start_twin: StartTwin) -> None:
    expired: dict[str, object] = {"answer": "refuse", "reason": "ExpiredProviderToken", "status": 403}
    async with start_twin(rules=[expired | {"times": 1}]) as twin:
        assert await broadcasts(twin).create(stored=True)
    async with start_twin(rules=[expired]) as twin:
        with pytest.raises(BroadcastRefused, match="check this machine's clock"):
            await broadcasts(twin).create(stored=True)


async def test_a_lost_answer_leaves_open_whether_there_is_a_channel(
    start_twin: StartTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transports.apns.broadcast_channels.WITHIN", 1.0)
    async with start_twin(rules=[{"answer": "mute", "prefix": "make", "delivered": True, "times": 1}]) as twin:
        apple = broadcasts(twin)
        with pytest.raises(ConnectionLost, match="did not answer within 1 s"):
            await apple.create(stored=True)
        assert len(await apple.channels()) == 1


async def test_an_app_has_so_many_channels_and_no_more(start_twin: StartTwin) -> None:
    async with start_twin(broadcast_channels=2) as twin:
        apple = broadcasts(twin)
        await apple.create(stored=True)
        await apple.create(stored=True)
        with pytest.raises(BroadcastRefused, match="CannotCreateChannelConfig"):
            await apple.create(stored=True)


async def test_a_list_that_is_none_is_no_list(start_twin: StartTwin) -> None:
    raw = {"answer": "raw", "status": 200, "body": '{"channels": [7]}', "prefix": "list"}
    async with start_twin(rules=[raw]) as twin:
        with pytest.raises(ConnectionLost, match="without a list"):
            await broadcasts(twin).channels()


async def test_a_certificate_has_no_broadcasts(start_twin: StartTwin) -> None:
    async with start_twin(client_certificates="accept", app=(APP,)) as twin:
        (certificate,) = twin.ready.certificates.values()
        settings = TransportSettings(
            channel="ios",
            platform="apns",
            app=APP,
            credentials={"certificate": certificate},
            origin=f"https://localhost:{twin.ready.port}",
            ca=Path(twin.ready.ca),
        )
        transport = PLATFORM.build(settings)
        assert isinstance(transport, Broadcasting)
        with pytest.raises(CredentialsError, match="only with a signing key; give the channel key, key_id and team_id"):
            transport.broadcasts()


@pytest.mark.parametrize(
    ("environment", "sends", "manages"),
    [
        ("production", "https://api.push.apple.com:443", "https://api-manage-broadcast.push.apple.com:2196"),
        (
            "sandbox",
            "https://api.sandbox.push.apple.com:443",
            "https://api-manage-broadcast.sandbox.push.apple.com:2195",
        ),
    ],
)
def test_each_environment_has_its_hosts_and_a_channel_may_name_others(
    folder: keys.Credentials, environment: str, sends: str, manages: str
) -> None:
    credentials = {"key": str(folder.apns_key), "key_id": keys.KEY_ID, "team_id": keys.TEAM_ID}
    settings = TransportSettings("ios", "apns", APP, {**credentials, "environment": environment})

    def hosts(wanted: TransportSettings) -> tuple[str, str]:
        transport = PLATFORM.build(wanted)
        assert isinstance(transport, Broadcasting)
        found = transport.broadcasts()
        assert isinstance(found, ApnsBroadcasts)
        return found._sends.split("/4/")[0], found._all.split("/1/")[0]

    assert hosts(settings) == (sends, manages)
    own = replace(settings, broadcast_origin="https://b.example", manage_origin="https://m.example:9")
    assert hosts(own) == ("https://b.example", "https://m.example:9")
