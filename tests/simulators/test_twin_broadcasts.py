"""The APNs twin's broadcast channels: each documented refusal, and what it must take."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from simulators import twin_credentials as keys
from simulators.apns.apns_twin import ApnsSession, ApnsTwin
from simulators.faults.script import Rule, Script
from simulators.http2.received_request import ReceivedRequest
from tests.simulators.conftest import StartTwin
from tests.simulators.test_twin_apns import make

APPS = ("org.example.news", "org.example.sport")
NEW = b'{"message-storage-policy":1,"push-type":"LiveActivity"}'
CARD = b'{"aps":{"event":"update","timestamp":1800000000,"content-state":{"score":"1:0"}}}'
ALL, CHANNELS, SEND = "/1/apps/{}/all-channels", "/1/apps/{}/channels", "/4/broadcasts/apps/{}"
UNKNOWN = "AAAAAAAAAAAAAAAAAAAAAA=="


class Talk:
    """One connection."""

    def __init__(self, twin: ApnsTwin, token: str) -> None:
        self.twin, self.token = twin, token
        self.session: ApnsSession = twin.session()

    def ask(
        self, method: str, path: str, body: bytes = b"", app: str = APPS[0], **changes: str | None
    ) -> tuple[int, dict[str, str], dict[str, object]]:
        fields: dict[str, str | None] = {":method": method, ":scheme": "https", ":path": path.format(app)}
        fields |= {"authorization": f"bearer {self.token}"}
        fields |= {name.replace("_", "-"): value for name, value in changes.items()}
        listed = [(name.encode(), value.encode()) for name, value in fields.items() if value is not None]
        answer = self.session.answer(ReceivedRequest(1, listed, body))
        headers = {name.decode(): value.decode() for name, value in answer.fields}
        return int(headers[":status"]), headers, msgspec.json.decode(answer.body) if answer.body else {}

    def made(self, policy: int = 1, app: str = APPS[0]) -> str:
        body = msgspec.json.encode({"message-storage-policy": policy, "push-type": "LiveActivity"})
        status, headers, _ = self.ask("POST", CHANNELS, body, app)
        assert status == 201
        return headers["apns-channel-id"]

    def send(self, id: str | None, body: bytes = CARD, **changes: str | None) -> tuple[int, dict[str, object]]:
        usual: dict[str, str | None] = {
            "apns_channel_id": id, "apns_push_type": "liveactivity", "apns_priority": "5", "apns_expiration": "0",
        }  # fmt: skip
        status, _, said = self.ask("POST", SEND, body, **usual | changes)
        return status, said


@pytest.fixture
def talk(folder: keys.Credentials, provider_token: Callable[..., str]) -> Talk:
    return Talk(make(folder, APPS), provider_token())


def test_a_channel_is_made_read_listed_and_deleted(talk: Talk) -> None:
    first, other = talk.made(0), talk.made(1, APPS[1])
    assert talk.ask("GET", CHANNELS, apns_channel_id=first)[2] == {
        "message-storage-policy": 0, "push-type": "LiveActivity",
    }  # fmt: skip
    assert talk.ask("GET", ALL)[2] == {"channels": [first]}
    assert talk.ask("GET", ALL, app=APPS[1])[2] == {"channels": [other]}
    assert talk.ask("DELETE", CHANNELS, apns_channel_id=first)[0] == 204
    assert talk.ask("GET", ALL)[2] == {"channels": []}
    assert talk.session.streams == 1000, "a valid token opens the connection"


def test_a_broadcast_is_no_push_and_its_id_is_echoed(talk: Talk) -> None:
    id = talk.made()
    status, headers, _ = talk.ask(
        "POST", SEND, CARD, apns_channel_id=id, apns_push_type="liveactivity", apns_expiration="1800003600",
        apns_request_id="00000000-1111-2222-3333-444444444444",
    )  # fmt: skip
    assert (status, headers["apns-request-id"]) == (200, "00000000-1111-2222-3333-444444444444")
    assert (talk.twin.ledger.broadcasts, talk.twin.ledger.accepted) == (1, 0)


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"id": None}, 400, "MissingChannelId"),
        ({"id": "short"}, 400, "BadChannelId"),
        ({"id": UNKNOWN}, 400, "ChannelNotRegistered"),
        ({"id": "theirs"}, 403, "TopicMismatch"),
        ({"apns_push_type": None}, 400, "MissingPushType"),
        ({"apns_push_type": "alert"}, 400, "InvalidPushType"),
        ({"apns_priority": "1"}, 400, "BadPriority"),
        ({"apns_expiration": None}, 400, "BadExpirationDate"),
        ({"apns_expiration": "soon"}, 400, "BadExpirationDate"),
        ({"id": "loose", "apns_expiration": "1800000000"}, 400, "BadExpirationDate"),
        ({"apns_topic": "org.example.news"}, 400, "BadRequestParams"),
        ({"apns_collapse_id": "x"}, 400, "BadRequestParams"),
        ({"body": b""}, 400, "PayloadEmpty"),
        ({"body": CARD.ljust(5121)}, 413, "PayloadTooLarge"),
        ({"body": b"{"}, 400, "BadRequestPayload"),
        ({"body": b"[]"}, 400, "BadRequestPayload"),
        ({"body": CARD.replace(b"update", b"start")}, 400, "BadRequestPayload"),
        ({"body": CARD.replace(b"1800000000", b'"now"')}, 400, "BadRequestPayload"),
        ({"authorization": None}, 403, "MissingProviderToken"),
        ({"authorization": "bearer x"}, 403, "InvalidProviderToken"),
    ],
)
def test_each_wrong_broadcast_has_its_reason(talk: Talk, changes: dict[str, object], status: int, reason: str) -> None:
    ids = {"theirs": talk.made(1, APPS[1]), "loose": talk.made(0)}
    given = dict(changes)
    id, body = given.pop("id", talk.made()), given.pop("body", CARD)
    assert talk.send(ids.get(str(id), id), body, **given) == (status, {"reason": reason})  # type: ignore[arg-type]
    assert talk.twin.ledger.broadcasts == 0


def test_a_body_of_5120_octets_is_taken(talk: Talk) -> None:
    assert talk.send(talk.made(), CARD.ljust(5120)) == (200, {})


@pytest.mark.parametrize(
    ("method", "path", "body", "app", "status", "reason"),
    [
        ("POST", CHANNELS, b"", APPS[0], 400, "BadRequestPayload"),
        ("POST", CHANNELS, NEW.replace(b"1", b"2"), APPS[0], 400, "BadRequestPayload"),
        ("POST", CHANNELS, NEW.replace(b"1", b"true"), APPS[0], 400, "BadRequestPayload"),
        ("POST", CHANNELS, NEW.replace(b"LiveActivity", b"alert"), APPS[0], 400, "BadRequestPayload"),
        ("POST", CHANNELS, NEW, "org.example.other", 400, "FeatureNotEnabled"),
        ("PUT", CHANNELS, NEW, APPS[0], 405, "MethodNotAllowed"),
        ("POST", ALL, b"", APPS[0], 405, "MethodNotAllowed"),
        ("GET", SEND, b"", APPS[0], 405, "MethodNotAllowed"),
        ("GET", "/1/apps/{}/some-channels", b"", APPS[0], 404, "BadPath"),
        ("POST", "/4/broadcasts/{}", CARD, APPS[0], 404, "BadPath"),
        ("GET", CHANNELS, b"", APPS[0], 400, "MissingChannelId"),
        ("DELETE", CHANNELS, b"", APPS[0], 400, "MissingChannelId"),
    ],
)
def test_each_wrong_request_about_channels_has_its_reason(
    talk: Talk, method: str, path: str, body: bytes, app: str, status: int, reason: str
) -> None:
    found, _, said = talk.ask(method, path, body, app)
    assert (found, said) == (status, {"reason": reason})


async def test_a_connection_with_a_certificate_makes_no_channel(start_twin: StartTwin) -> None:
    async with start_twin("apns", client_certificates="accept", app=APPS) as twin:
        context = twin.context("h2")
        context.load_cert_chain(next(iter(twin.ready.certificates.values())))
        twin.context = lambda *protocols: context  # type: ignore[method-assign]
        async with twin.connect() as client:
            answer = await client.ask(CHANNELS.format(APPS[0]), {}, NEW)
    assert (answer.status, msgspec.json.decode(answer.body)) == (403, {"reason": "MissingProviderToken"})


def test_a_rule_for_channels_concerns_no_phone_and_one_for_phones_no_channel(
    folder: keys.Credentials, provider_token: Callable[..., str]
) -> None:
    rules = (Rule(kind="channel", answer="503", times=1), Rule(kind="token", answer="429"))
    talk = Talk(make(folder, APPS, Script(rules=rules)), provider_token())
    assert talk.ask("POST", CHANNELS, NEW)[0] == 503
    id = talk.made()
    assert talk.send(id)[0] == 503, "the first one to this channel"
    assert talk.send(id)[0] == 200
    usual = {"apns_topic": APPS[0], "apns_push_type": "alert", "apns_id": None}
    assert talk.ask("POST", f"/3/device/{'ab' * 32}", b'{"aps":{"alert":"x"}}', **usual)[0] == 429
