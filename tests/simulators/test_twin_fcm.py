"""The FCM twin's answers, and its token endpoint: each documented refusal, and each thing it must not refuse."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jwt
import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import rsa

from simulators import twin_credentials as keys
from simulators.faults.director import Director
from simulators.faults.script import Script
from simulators.fcm.fcm_twin import FcmTwin
from simulators.fcm.token_endpoint import GRANT, TokenEndpoint
from simulators.http2.received_request import ReceivedRequest
from simulators.ledger import Entry, Ledger, read_ledger
from tests.simulators.conftest import StartTwin, assertion

PATH = "/v1/projects/twin-project/messages:send"
FORM = {b":method": b"POST", b"content-type": b"application/x-www-form-urlencoded"}
NOTE = "message.android.notification"
V2, REMOTE = "message.android_v2", "remote_notification.notification"
TARGET = {"token": "device:token-1"}
HELLO = {"notification": {"title": "Hot"}}


@pytest.fixture(scope="module")
def endpoint(folder: keys.Credentials) -> tuple[TokenEndpoint, dict[str, str]]:
    account = keys.publish_service_account(folder, "twin-project", "https://localhost:1/token")
    return TokenEndpoint(account, 3599), json.loads(folder.service_account.read_bytes())


@pytest.fixture(scope="module")
def ask(endpoint: tuple[TokenEndpoint, dict[str, str]]) -> Callable[..., tuple[int, dict[str, Any]]]:
    tokens, account = endpoint
    granted, _ = tokens.answer(FORM, form(assertion=assertion(account)), time.time())
    bearer = "Bearer " + json.loads(granted.body)["access_token"]
    fcm = FcmTwin(tokens, Director(Script(), time.monotonic), Ledger(), ("twin-project",))

    def ask(
        body: object,
        path: str = PATH,
        authorization: str | None = bearer,
        method: str = "POST",
        kind: str = "application/json",
    ) -> tuple[int, dict[str, Any]]:
        before = fcm.ledger.accepted
        fields = [(b":method", method.encode()), (b":path", path.encode()), (b"content-type", kind.encode())]
        if authorization is not None:
            fields.append((b"authorization", authorization.encode()))
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        answer = fcm.session().answer(ReceivedRequest(1, fields, raw))
        status = int(answer.fields[0][1])
        told = json.loads(answer.body)
        dry = isinstance(body, dict) and (body.get("validate_only") or body.get("validateOnly"))
        assert fcm.ledger.accepted - before == (status == 200 and not dry)
        return status, told

    return ask


AskLedger = Callable[[dict[str, Any]], Entry]


@pytest.fixture
def ask_ledger(endpoint: tuple[TokenEndpoint, dict[str, str]], tmp_path: Path) -> AskLedger:
    """What the ledger of a twin that keeps bodies says of a message."""
    tokens, account = endpoint
    granted, _ = tokens.answer(FORM, form(assertion=assertion(account)), time.time())
    bearer = b"Bearer " + json.loads(granted.body)["access_token"].encode()
    ledger = Ledger(tmp_path / "ledger")
    fcm = FcmTwin(tokens, Director(Script(bodies=True), time.monotonic), ledger, ("twin-project",))

    def ask(message: dict[str, Any]) -> Entry:
        fields = [(b":method", b"POST"), (b":path", PATH.encode()), (b"authorization", bearer)]
        answer = fcm.session().answer(ReceivedRequest(1, fields, msgspec.json.encode({"message": message})))
        assert int(answer.fields[0][1]) == 200
        ledger.flush()
        (entry,) = read_ledger(tmp_path / "ledger")
        return entry

    return ask


def form(**fields: str) -> bytes:
    return str(httpx.QueryParams({"grant_type": GRANT} | fields)).encode()


Ask = Callable[..., tuple[int, dict[str, Any]]]
EVERYTHING: dict[str, Any] = {
    **HELLO,
    "token": "t",
    "data": {"url": "https://example.org"},
    "android": {
        "collapse_key": "C",
        "priority": "HIGH",
        "ttl": "3600s",
        "restricted_package_name": "org.example",
        "direct_boot_ok": True,
        "data": {"a": "b"},
        "fcm_options": {"analytics_label": "label-1"},
        "notification": {
            "tag": "C",
            "color": "#aaBB00",
            "channel_id": "news",
            "notification_priority": "PRIORITY_HIGH",
            "visibility": "PUBLIC",
            "notification_count": 3,
            "body_loc_args": ["a"],
            "vibrate_timings": ["0.5s"],
            "light_settings": {
                "color": {"red": 1, "alpha": 0.5},
                "light_on_duration": "1s",
                "light_off_duration": "1s",
            },
        },
    },
    "apns": {"headers": {"apns-priority": "10"}, "payload": {"aps": {}}},
    "webpush": {"headers": {"TTL": "1"}, "notification": {"any": [1]}, "fcm_options": {"link": "https://x"}},
    "fcm_options": {"analytics_label": "x"},
}


@pytest.mark.parametrize(
    "message",
    [
        TARGET | HELLO,
        {"fid": "cabcdefghijklmnopqrstu", **HELLO},
        {"topic": "news", **HELLO},
        {"condition": "'a' in topics", **HELLO},
        EVERYTHING,
        TARGET | {"android": {"collapseKey": "C", "directBootOk": True, "ttl": "0.5s"}, "fcmOptions": {}},
        TARGET | {"data": {"k": "x" * 4000}},
        TARGET | {"android": None},
        TARGET | {"android": {"notification": {"notification_count": "3", "visibility": 1, "proxy": "DENY"}}},
        TARGET | {"android": {"notification": {"event_time": "2026-11-23T12:00:00.5Z"}}},
        {"condition": "'a' in topics && ('b' in topics || !('c' in topics))", **HELLO},
        TARGET | {"apns": {"payload": {"aps": {"alert": "x"}}, "live_activity_token": "t"}},
        TARGET | HELLO | {"android_v2": {"ttl": "60s", "remote_notification": {"notification": {"tag": "C", "id": 7}}}},
        TARGET | {"androidV2": {"collapseKey": "C", "remoteNotification": {"notification": {"title": "x"}}}},
        TARGET | {"android_v2": {"data": {"a": "b"}, "background_sync": {}}},
    ],
)
def test_what_fcm_allows_is_accepted(ask: Ask, message: dict[str, Any]) -> None:
    status, told = ask({"message": message})
    assert status == 200
    assert told["name"].startswith("projects/twin-project/messages/0:")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({}, "message"),
        (HELLO, "message"),
        (TARGET | {"topic": "news"}, "message"),
        (TARGET | {"notificatoin": {}}, "message"),
        (TARGET | {"android": {"colapse_key": "x"}}, "message.android"),
        (TARGET | {"android": {"collapse_key": "x", "collapseKey": "y"}}, "message.android.collapse_key"),
        (TARGET | {"data": {"k": 1}}, "message.data[0].value"),
        (TARGET | {"data": {"from": "x"}}, "message.data"),
        (TARGET | {"data": {"gcm": "x"}}, "message.data"),
        (TARGET | {"data": {"google.x": "x"}}, "message.data"),
        (TARGET | {"data": {"k": "x" * 4096}}, "message"),
        ({"topic": "news", "data": {"k": "x" * 2048}}, "message"),
        ({"topic": "bad topic!"}, "message.topic"),
        (TARGET | {"android": {"ttl": "3600"}}, "message.android.ttl"),
        (TARGET | {"android": {"ttl": 3600}}, "message.android.ttl"),
        (TARGET | {"android": {"ttl": "2419201s"}}, "message.android.ttl"),
        (TARGET | {"android": {"priority": "urgent"}}, "message.android.priority"),
        (TARGET | {"android": {"direct_boot_ok": "yes"}}, "message.android.direct_boot_ok"),
        (TARGET | {"android": {"notification": {"color": "red"}}}, "message.android.notification.color"),
        (TARGET | {"notification": {"title": 1}}, "message.notification.title"),
        (TARGET | {"notification": "x"}, "message.notification"),
        (TARGET | {"fcm_options": {"analytics_label": "é"}}, "message.fcm_options.analytics_label"),
        (TARGET | {"apns": {"headers": {"apns-priority": 10}}}, "message.apns.headers[0].value"),
        ({"token": 5}, "message.token"),
        (TARGET | {"data": {"a": "b", "k": 1}}, "message.data[1].value"),
        (TARGET | {"android": {"ttl": "-1s"}}, "message.android.ttl"),
        (TARGET | {"android": {"data": {"google.x": "x"}}}, "message.android.data"),
        (TARGET | {"android": {"notification": {"notification_count": -1}}}, f"{NOTE}.notification_count"),
        (TARGET | {"android": {"notification": {"notification_count": 2**31}}}, f"{NOTE}.notification_count"),
        (TARGET | {"android": {"notification": {"event_time": "noon"}}}, f"{NOTE}.event_time"),
        (TARGET | {"android": {"notification": {"vibrate_timings": ["1"]}}}, f"{NOTE}.vibrate_timings"),
        (TARGET | {"android": {"notification": {"visibility": "HIDDEN"}}}, f"{NOTE}.visibility"),
        (TARGET | {"android": {"notification": {"visibility": 9}}}, f"{NOTE}.visibility"),
        (TARGET | {"android": {"notification": {"sticky": 1}}}, f"{NOTE}.sticky"),
        (
            TARGET | {"android": {"notification": {"light_settings": {"color": {"red": 2}}}}},
            f"{NOTE}.light_settings.color.red",
        ),
        (TARGET | {"android": {"notification": {"proxy": "MAYBE"}}}, f"{NOTE}.proxy"),
        (TARGET | {"android": {"notification": {"titel": "x"}}}, NOTE),
        (
            TARGET | {"android": {"fcm_options": {"analytics_label": "x" * 51}}},
            "message.android.fcm_options.analytics_label",
        ),
        (TARGET | {"webpush": {"fcm_options": {"link": "http://x"}}}, "message.webpush.fcm_options.link"),
        (TARGET | {"webpush": {"data": {"k": 1}}}, "message.webpush.data[0].value"),
        (TARGET | {"webpush": {"notification": "x"}}, "message.webpush.notification"),
        (TARGET | {"webpush": {"ttl": 1}}, "message.webpush"),
        (TARGET | {"apns": {"payload": {"aps": "x"}}}, "message.apns.payload.aps"),
        (TARGET | {"apns": {"payload": {"aps": {}, "x": "y" * 4096}}}, "message.apns.payload"),
        (TARGET | {"apns": {"fcm_options": {"link": "x"}}}, "message.apns.fcm_options"),
        (TARGET | {"apns": {"live_activity_token": 1}}, "message.apns.live_activity_token"),
        (TARGET | {"android_v2": {}}, "message.android_v2"),
        (TARGET | {"android_v2": {"remote_notification": {}}}, "message.android_v2.remote_notification"),
        (TARGET | {"android_v2": {"remote_notification": {"notification": {"tag": "x"}}, "background_sync": {}}}, V2),
        (TARGET | {"android_v2": {"priority": "HIGH", "background_sync": {}}}, V2),
        (TARGET | {"android": {"ttl": "1s"}, "android_v2": {"background_sync": {}}}, V2),
        (TARGET | {"android_v2": {"remote_notification": {"notification": {"titel": "x"}}}}, f"{V2}.{REMOTE}"),
        (TARGET | {"android_v2": {"remote_notification": {"notification": {"title": "x" * 4096}}}}, "message"),
        ({"condition": "sports"}, "message.condition"),
        ({"condition": "'a' in topics &&"}, "message.condition"),
        ({"condition": " || ".join(["'a' in topics"] * 6)}, "message.condition"),
    ],
)
def test_a_bad_message_is_refused_by_the_name_of_its_field(ask: Ask, message: dict[str, Any], field: str) -> None:
    status, told = ask({"message": message})
    error = told["error"]
    assert (status, error["code"], error["status"]) == (400, 400, "INVALID_ARGUMENT")
    (violation,) = next(detail for detail in error["details"] if "fieldViolations" in detail)["fieldViolations"]
    assert violation["field"] == field


def test_a_malformed_token_is_an_fcm_error_without_a_field(ask: Ask) -> None:
    status, told = ask({"message": {"token": "no token!"}})
    (detail,) = told["error"]["details"]
    assert status == 400
    assert detail == {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b'{"message":{"token":"t"},"extra":1}', b'{"message":[]}'])
def test_a_body_that_is_no_request_is_refused(ask: Ask, body: bytes) -> None:
    assert ask(body)[0] == 400


def test_a_dry_run_is_judged_and_not_delivered(ask: Ask) -> None:
    assert ask({"validate_only": True, "message": TARGET})[0] == 200
    assert ask({"validateOnly": True, "message": TARGET})[0] == 200
    assert ask({"validate_only": True, "message": HELLO})[0] == 400
    assert ask({"validate_only": "yes", "message": TARGET})[0] == 400


def test_who_does_not_fit_the_types_hears_no_fcm_error(ask: Ask) -> None:
    for message, speaks in ((TARGET | {"data": {"k": 1}}, False), (TARGET | {"data": {"from": "x"}}, True)):
        _, told = ask({"message": message})
        kinds = [detail["@type"].rpartition(".")[2] for detail in told["error"]["details"]]
        assert kinds == ["FcmError", "BadRequest"][not speaks :]


@pytest.mark.parametrize(
    ("changes", "status", "name"),
    [
        ({"path": "/v1/projects/other/messages:send"}, 403, "PERMISSION_DENIED"),
        ({"path": "/v1/projects/twin-project/messages"}, 404, "NOT_FOUND"),
        ({"method": "GET"}, 404, "NOT_FOUND"),
        ({"authorization": None}, 401, "UNAUTHENTICATED"),
        ({"authorization": "Bearer stale"}, 401, "UNAUTHENTICATED"),
        ({"authorization": "Basic x"}, 401, "UNAUTHENTICATED"),
        ({"kind": "text/plain"}, 400, "INVALID_ARGUMENT"),
    ],
)
def test_a_request_at_the_wrong_place_or_from_a_stranger_is_refused(
    ask: Ask, changes: dict[str, Any], status: int, name: str
) -> None:
    got, told = ask({"message": TARGET}, **changes)
    assert (got, told["error"]["status"]) == (status, name)
    assert not any("FcmError" in detail["@type"] for detail in told["error"].get("details", [])) or status == 400


def test_the_remembered_shape_never_hides_another_message(ask: Ask) -> None:
    for target in ("a1", "b2"):
        assert ask({"message": {"token": target, **HELLO}})[0] == 200
    assert ask({"message": {"token": "title", **HELLO}})[0] == 200
    assert ask({"message": {"token": "a1", "title": "Hot"}})[0] == 400
    assert ask({"message": {"token": "b b", **HELLO}})[0] == 400


NOW = int(time.time())


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"iss": "somebody@else"}, "invalid_grant"),
        ({"aud": "https://oauth2.googleapis.com/token"}, "invalid_grant"),
        ({"scope": "https://example.org/scope"}, "invalid_scope"),
        ({"scope": ""}, "invalid_scope"),
        ({"exp": NOW - 400, "iat": NOW - 4000}, "invalid_grant"),
        ({"exp": NOW + 7300}, "invalid_grant"),
        ({"iat": NOW + 6000, "exp": NOW + 9000}, "invalid_grant"),
        ({"iat": "now"}, "invalid_grant"),
    ],
)
def test_an_assertion_is_judged_by_its_claims(
    endpoint: tuple[TokenEndpoint, dict[str, str]], claims: dict[str, object], error: str
) -> None:
    tokens, account = endpoint
    answer, refused = tokens.answer(FORM, form(assertion=assertion(account, **claims)), time.time())
    assert answer.fields[0][1] == b"400"
    assert json.loads(answer.body)["error"] == error
    assert refused == f"token: {error}"


@pytest.mark.parametrize(
    ("fields", "body", "error"),
    [
        ({b":method": b"GET"}, b"", "invalid_request"),
        ({b"content-type": b"application/json"}, b"{}", "invalid_request"),
        ({}, b"\xff", "invalid_request"),
        ({}, b"grant_type=password&assertion=x", "unsupported_grant_type"),
        ({}, form(), "invalid_request"),
        ({}, form(assertion="rubbish"), "invalid_grant"),
    ],
)
def test_a_token_request_must_be_a_jwt_bearer_form(
    endpoint: tuple[TokenEndpoint, dict[str, str]], fields: dict[bytes, bytes], body: bytes, error: str
) -> None:
    answer, _ = endpoint[0].answer(FORM | fields, body, time.time())
    assert json.loads(answer.body)["error"] == error


def test_an_assertion_of_another_key_or_algorithm_is_refused(endpoint: tuple[TokenEndpoint, dict[str, str]]) -> None:
    tokens, account = endpoint
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    claims = jwt.decode(assertion(account), options={"verify_signature": False})
    for signed in (jwt.encode(claims, other, "RS256"), jwt.encode(claims, "s" * 32, "HS256")):
        answer, _ = tokens.answer(FORM, form(assertion=signed), time.time())
        assert json.loads(answer.body)["error"] == "invalid_grant"


def test_an_access_token_ends_when_it_was_said_to(endpoint: tuple[TokenEndpoint, dict[str, str]]) -> None:
    tokens, account = endpoint
    now = time.time()
    granted = json.loads(tokens.answer(FORM, form(assertion=assertion(account)), now)[0].body)
    issued = granted["access_token"].encode()
    assert granted["expires_in"] == 3599
    assert tokens.issued.is_good(issued, now + 3598)
    assert not tokens.issued.is_good(issued, now + 3600)


async def test_httpx_gets_a_token_and_h2_pushes_with_it(start_twin: StartTwin, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    async with start_twin("fcm", ledger=ledger) as twin:
        account = json.loads(await trio.Path(twin.ready.credentials["service_account"]).read_bytes())
        assert account["token_uri"] == f"{twin.ready.origin}/token"
        asked = {"grant_type": GRANT, "assertion": assertion(account)}
        async with httpx.AsyncClient(verify=twin.context("http/1.1")) as http:
            first = await http.post(account["token_uri"], data=asked)
            again = await http.post(account["token_uri"], data={"grant_type": GRANT})
        assert (first.status_code, first.http_version, again.status_code) == (200, "HTTP/1.1", 400)
        bearer = {"authorization": "Bearer " + first.json()["access_token"], "content-type": "application/json"}
        async with twin.connect() as client:
            assert client.limits == [100]
            body = msgspec.json.encode({"message": {"token": "t1", **HELLO, "android": {"collapse_key": "C"}}})
            answer = await client.ask(PATH, bearer, body)
            assert answer.status == 200
            over_h2 = await client.ask("/token", {"content-type": "application/x-www-form-urlencoded"}, form(**asked))
            assert over_h2.status == 200
        (entry,) = read_ledger(ledger)
        assert (entry.token, entry.collapse, entry.app) == ("t1", "C", "twin-project")
        assert entry.id == json.loads(answer.body)["name"]
        assert twin.ledger.refused == {"token: invalid_request": 1}


@pytest.mark.parametrize(
    ("sent", "collapse"),
    [
        ({"android": {"notification": {"tag": "C"}, "collapse_key": "weather"}}, "C"),
        ({"apns": {"headers": {"Apns-Collapse-Id": "C"}}, "android": {"collapse_key": "weather"}}, "C"),
        ({"webpush": {"headers": {"Topic": "C"}}}, "C"),
        ({"android": {"collapseKey": "C"}}, "C"),
        ({"android": {"notification": None, "ttl": "5s"}}, None),
    ],
)
async def test_the_ledger_names_what_a_repeat_would_replace(
    sent: dict[str, Any], collapse: str | None, start_twin: StartTwin, tmp_path: Path
) -> None:
    """B8: the campaign is read from the tag, or from what stands for it where there is none."""
    ledger = tmp_path / "ledger.jsonl"
    async with start_twin("fcm", ledger=ledger) as twin, twin.connect() as client:
        account = json.loads(await trio.Path(twin.ready.credentials["service_account"]).read_bytes())
        asked = form(grant_type=GRANT, assertion=assertion(account))
        granted = await client.ask("/token", {"content-type": "application/x-www-form-urlencoded"}, asked)
        bearer = {
            "authorization": "Bearer " + json.loads(granted.body)["access_token"],
            "content-type": "application/json",
        }
        answer = await client.ask(PATH, bearer, msgspec.json.encode({"message": {"token": "t1", **HELLO, **sent}}))
        assert answer.status == 200
    (entry,) = read_ledger(ledger)
    assert entry.collapse == collapse


QUIET = {
    "android": {"priority": "NORMAL", "ttl": "60s", "notification": {"channel_id": "quiet"}},
    "apns": {"payload": {"aps": {"interruption-level": "passive"}}},
}


@pytest.mark.parametrize(
    ("path", "value", "asleep"),
    [
        ((), None, True),
        (("android", "priority"), "HIGH", False),
        (("android", "notification", "channel_id"), None, False),
        (("android", "notification", "sound"), "gong", False),
        (("android", "notification", "default_sound"), True, False),
        (("apns", "payload", "aps", "sound"), "default", False),
        (("apns", "payload", "aps", "interruption-level"), "active", False),
    ],
)
def test_the_ledger_says_of_a_push_that_woke_nobody_that_it_was_asleep(
    path: tuple[str, ...], value: object, asleep: bool, ask_ledger: AskLedger
) -> None:
    sent: dict[str, Any] = json.loads(json.dumps({**TARGET, **HELLO, **QUIET}))
    part = sent
    for step in path[:-1]:
        part = part[step]
    if path:
        part[path[-1]] = value
    entry = ask_ledger(sent)
    assert entry.asleep is asleep
    assert entry.expires is not None
    assert abs(entry.expires - entry.time - 60_000) <= 1
    assert json.loads(entry.body or "")["message"] == sent, "the script asks for the bodies"


@pytest.mark.parametrize(("android", "expires"), [({"ttl": "0s"}, 0), ({}, None), ({"ttl": None}, None)])
def test_a_push_that_is_not_kept_expires_at_0(
    android: dict[str, Any], expires: int | None, ask_ledger: AskLedger
) -> None:
    assert ask_ledger(TARGET | HELLO | {"android": android}).expires == expires
