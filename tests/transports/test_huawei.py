"""Huawei: its answers, its messages in both forms, and the whole way to its twin, a thousand tokens a request."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import jwt
import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import rsa

from campaigns.message import Message, Text
from campaigns.outcome import Death, Fault, Outcome
from campaigns.presentation import Presentation
from campaigns.recipient import PersonalRecipient
from simulators import reasons
from simulators.ledger import read_ledger
from simulators.serving.service import serve_twin
from transports.contract import TransportSettings
from transports.decision import Then
from transports.errors import CredentialsError, PayloadError, TokenError
from transports.huawei import outcomes, payload, tokens
from transports.huawei.credentials import AccountToken
from transports.huawei.transport import build
from transports.json_texts.body import kept_for

SIMPLE = Message(title="Flood", body="Leave")


def said(message, form=payload.OLD, how=Presentation.AWAKE):
    body = payload.render(message, 7, how, form)
    filled = kept_for(60, 1_296_000)(body.tail)
    assert body.size >= len(form.body((), filled)) - 2
    return msgspec.json.decode(form.body([b"T", b"U"], filled))


def test_the_first_form_has_the_fields_of_the_page() -> None:
    message = Message(title="Flood", body="Leave", url="https://n.example/7", image="https://n.example/7.png", badge=2)
    assert said(message) == {
        "message": {
            "token": ["T", "U"],
            "data": '{"url":"https://n.example/7"}',
            "notification": {"title": "Flood", "body": "Leave", "image": "https://n.example/7.png"},
            "android": {
                "ttl": "60s",
                "notification": {
                    "tag": "aaaaaaaaaaaah",
                    "click_action": {"type": 2, "url": "https://n.example/7"},
                    "badge": {"set_num": 2},
                },
            },
        }
    }


def test_the_third_form_has_the_fields_of_the_page() -> None:
    message = Message(title="Flood", body="Leave", url="https://n.example/7", badge=2)
    assert said(message, payload.HARMONY) == {
        "target": {"token": ["T", "U"]},
        "payload": {
            "notification": {
                "category": "MARKETING",
                "title": "Flood",
                "body": "Leave",
                "clickAction": {"actionType": 0, "data": {"url": "https://n.example/7"}},
                "notifyId": 7,
                "badge": {"setNum": 2},
            }
        },
        "pushOptions": {"ttl": 60},
    }


def test_each_form_takes_its_own_options() -> None:
    options = {
        "android": {"category": "NEWS", "urgency": "HIGH", "notification": {"importance": "LOW"}},
        "notification": {"category": "SUBSCRIPTION", "clickAction": {"actionType": 1, "action": "open"}},
        "push_options": {"testMessage": True},
    }
    message = Message(title="Flood", body="Leave", options={"huawei": options})
    old = said(message)["message"]["android"]
    assert (old["category"], old["urgency"], old["notification"]["importance"]) == ("NEWS", "HIGH", "LOW")
    new = said(message, payload.HARMONY)
    assert new["payload"]["notification"]["category"] == "SUBSCRIPTION"
    assert new["payload"]["notification"]["clickAction"] == {"actionType": 1, "action": "open"}
    assert new["pushOptions"] == {"ttl": 60, "testMessage": True}


@pytest.mark.parametrize("form", [payload.OLD, payload.HARMONY])
@pytest.mark.parametrize(
    ("message", "what"),
    [
        (Message(title="T"), "message.body: is empty"),
        (Message(body="B"), "message.title: is empty"),
        (Message(title="T", body="x" * 4_090), "too many"),
        (Message(title="T", body="B", options={"huawei": {"android": {"collapse_key": 101}}}), "from -1 to 100"),
        (Message(title="T", body="B", options={"huawei": {"android": {"ttl": "1296001s"}}}), "1296000s"),
        (Message(title="T", body="B", options={"huawei": {"pushOptions": {"ttl": 1_296_001}}}), "1296000"),
        (Message(title="T", body="B", options={"huawei": {"token": ["x"]}}), "unknown field"),
        (Message(title="T", body="B", data={"thread": "x"}, thread="y"), "taken on Huawei"),
    ],
)
def test_what_huawei_cannot_carry_is_said_before_fire(message: Message, what: str, form: payload.Form) -> None:
    with pytest.raises(PayloadError, match=what):
        said(message, form)


def test_asleep_nothing_rings() -> None:
    message = Message(title="T", body="B", sound="bell.mp3", options={"huawei": {"notification": {"category": "IM"}}})
    old = said(message, payload.OLD, Presentation.ASLEEP)["message"]["android"]["notification"]
    assert (old["importance"], old["default_sound"], "sound" in old) == ("LOW", False, False)
    new = said(message, payload.HARMONY, Presentation.ASLEEP)["payload"]["notification"]
    assert (new["category"], "sound" in new) == ("MARKETING", False)


def answer(code: str, said: object = "", status: int = 200) -> outcomes.GroupVerdict:
    text = said if isinstance(said, str) else json.dumps(said)
    body = json.dumps({"code": code, "msg": text, "requestId": "1"}).encode()
    return outcomes.verdict(status, outcomes.parse(body))


def test_every_code_has_a_meaning_and_only_the_codes_of_the_token_speak_of_phones() -> None:
    for code, status in reasons.HUAWEI.items():
        found = answer(code, status=status)
        if code in ("80000000", "80100000"):
            assert found == outcomes.GroupVerdict()
        else:
            assert found.whole is not None
            of_phones = found.whole.death is not None
            assert of_phones is (code == "80300007")
            assert found.whole.outcome is not Outcome.DEAD


@pytest.mark.parametrize(
    ("code", "then", "stops"),
    [
        ("80100001", Then.NOTHING, True),
        ("80300008", Then.NOTHING, True),
        ("80300002", Then.NOTHING, True),
        ("80200001", Then.RENEW, True),
        ("80200003", Then.RENEW, True),
        ("80200005", Then.RENEW, True),
        ("80300007", Then.NOTHING, False),
        ("81000001", Then.NOTHING, False),
    ],
)
def test_each_code_does_what_its_table_says(code: str, then: Then, stops: bool) -> None:
    decision = answer(code).whole
    assert decision is not None
    assert (decision.then, decision.stop is not None) == (then, stops)


def test_flow_control_slows_the_whole_channel() -> None:
    decision = outcomes.verdict(503, outcomes.parse(b"")).whole
    assert decision is not None
    assert (decision.outcome, decision.fault, decision.slow) == (Outcome.RETRY, Fault.CHANNEL, 5)


def test_a_partial_answer_names_those_who_got_nothing_and_why() -> None:
    old = answer("80100000", {"success": 1, "failure": 1, "illegal_tokens": ["a"]})
    assert {token: (each.outcome, each.death) for token, each in old.refused.items()} == {
        "a": (Outcome.DEAD, Death.LIKELY)
    }
    causes = {cause: [cause] for cause in reasons.HUAWEI_CAUSES}
    new = answer("80100000", {"illegalTokens": causes}).refused
    assert set(new) == set(reasons.HUAWEI_CAUSES)
    assert {token for token, each in new.items() if each.death is not None} == {"tokenFormatError"}
    assert new["noRight"].stop is None
    assert new["appinfoError"].stop


@pytest.mark.parametrize(
    "said", ["", "{", "null", "[]", {"illegal_tokens": 7}, {"illegalTokens": {"x": 7}}, {"illegalTokens": [None, 1]}]
)
def test_a_partial_answer_that_cannot_be_read_kills_nobody(said: object) -> None:
    assert answer("80100000", said) == outcomes.GroupVerdict()


def test_an_answer_without_a_known_code_is_no_success() -> None:
    for body in (b"", b"{}", b"[]", b'{"code":"7"}', b'{"code":null}', b"<html>"):
        found = outcomes.verdict(200, outcomes.parse(body)).whole
        assert found is not None
        assert (found.outcome, bool(found.repeated)) == (Outcome.REJECTED, True)


def test_a_jwt_is_renewed_by_its_age_and_after_a_refusal() -> None:
    at = [1_000_000.0]
    key = rsa.generate_private_key(65537, 2048)
    token = AccountToken(key, "K", "A", clock=lambda: at[0], elapsed=lambda: at[0])
    first = token.value
    claims = jwt.decode(
        first.removeprefix(b"Bearer "),
        key.public_key(),
        algorithms=["PS256"],
        audience="https://oauth-login.cloud.huawei.com/oauth2/v3/token",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert (claims["iss"], claims["exp"] - claims["iat"]) == ("A", 3600)
    assert jwt.get_unverified_header(first.removeprefix(b"Bearer "))["kid"] == "K"
    assert not token.renew(first)  # it is new: another one would be refused too
    at[0] += 2_000
    assert token.value == first
    assert token.renew(b"an older one")
    assert token.renew(first)
    second = token.value
    assert second != first
    at[0] += 50 * 60
    assert token.value != second
    assert "A" in repr(token)


@pytest.mark.parametrize("text", ["null", "short", "has a blank", "f:APA91b" + "x" * 100])
def test_a_text_that_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(TokenError):
        tokens.TOKENS.token("token", text)


@pytest.fixture
def against(tmp_path, fast, running):
    @asynccontextmanager
    async def start(script=None, client=False, app="100", credentials=None, **timing):
        path = tmp_path / "script.json"
        path.write_text(json.dumps(script or {}))
        made = []
        up = trio.Event()

        def announce(ready):
            made.append(ready)
            up.set()

        async def serve():
            await serve_twin(
                "huawei",
                directory=tmp_path / "twin",
                ledger=tmp_path / "ledger",
                script=path,
                announce=announce,
                app=("100",),
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await up.wait()
            (ready,) = made
            own = ready.keys[0] if client else ready.credentials
            settings = TransportSettings(
                "c", "huawei", app, own | (credentials or {}), origin=ready.origin, ca=Path(ready.ca)
            )
            settled = fast | {"timing": replace(fast["timing"], **timing)}
            async with running(build(settings, **settled)) as transport:
                yield transport
            nursery.cancel_scope.cancel()

    return start


def entries(tmp_path):
    return list(read_ledger(tmp_path / "ledger"))


@pytest.mark.parametrize("client", [True, False])
async def test_a_batch_is_one_request_for_all_its_phones(client, against, make_batch, tmp_path):
    async with against(client=client) as transport:
        found = await transport.send(make_batch(500))
    assert (found.delivered, found.exceptions, found.stop) == (500, [], None)
    pushed = entries(tmp_path)
    assert Counter(entry.token for entry in pushed) == Counter(f"{index:064x}" for index in range(500))
    assert len({entry.id for entry in pushed}) == 1


async def test_no_request_has_more_than_a_thousand_tokens(against, make_batch, tmp_path):
    async with against() as transport:
        found = await transport.send(make_batch(2_300))
    assert found.delivered == 2_300
    assert sorted(Counter(entry.id for entry in entries(tmp_path)).values()) == [300, 1_000, 1_000]


async def test_each_text_is_a_request_of_its_own(against, make_batch, tmp_path):
    message = Message(title="Hi {name|you}", body="B", texts={"de": Text(title="Hallo {name|du}", body="B")})
    batch = make_batch(6, message=message)
    names = ["Ann", "Ann", "Bob", "", "Ann", "Ann"]
    locales = ["en", "en", "en", "en", "de", "de"]
    people = [
        PersonalRecipient(each.id, each.token, each.kind, each.registered_at, locale, (name,))
        for each, name, locale in zip(batch.recipients, names, locales, strict=True)
    ]
    async with against({"bodies": True}) as transport:
        found = await transport.send(replace(batch, recipients=people))
    assert found.delivered == 6
    titles = Counter(json.loads(entry.body)["payload"]["notification"]["title"] for entry in entries(tmp_path))
    assert titles == {"Hi Ann": 2, "Hi Bob": 1, "Hi you": 1, "Hallo Ann": 2}
    assert len({entry.id for entry in entries(tmp_path)}) == 4


@pytest.mark.parametrize("client", [True, False])
async def test_of_a_request_only_the_named_phones_fail(client, against, make_batch, tmp_path):
    texts = [letter * 64 for letter in "0a1b2"]
    rules = [{"answer": "dead", "prefix": "a"}, {"answer": "refuse", "reason": "noRight", "prefix": "b"}]
    async with against({"rules": rules}, client=client) as transport:
        found = await transport.send(make_batch(tokens=texts))
    assert found.delivered == 3
    expected = (
        {1: (Outcome.DEAD, Death.LIKELY), 3: (Outcome.DEAD, Death.LIKELY)}
        if client
        else {1: (Outcome.REJECTED, Death.DOUBTFUL), 3: (Outcome.REJECTED, None)}
    )
    assert {each.index: (each.outcome, each.death) for each in found.exceptions} == expected
    assert found.stop is None
    assert {entry.token for entry in entries(tmp_path)} == {letter * 64 for letter in "012"}


@pytest.mark.parametrize("client", [True, False])
async def test_where_all_are_refused_nobody_is_proven_dead(client, against, make_batch):
    rules = [{"answer": "dead"}]
    async with against({"rules": rules}, client=client) as transport:
        found = await transport.send(make_batch(30))
    assert found.delivered == 0
    assert Counter((each.outcome, each.death) for each in found.exceptions) == {(Outcome.REJECTED, Death.DOUBTFUL): 30}


async def test_an_access_token_is_fetched_once_and_again_when_refused(against, make_batch, tmp_path):
    rules = [{"answer": "refuse", "reason": "80200003", "times": 1, "prefix": "0"}]
    async with against({"rules": rules}, client=True) as transport:
        first = transport.authorization
        found = await transport.send(make_batch(5))
        assert found.delivered == 5
        assert transport.authorization not in (b"", first)


async def test_a_wrong_secret_pauses_the_channel_with_the_remedy(against, make_batch, tmp_path):
    (tmp_path / "secret").write_text("not-the-secret")
    async with against(client=True, credentials={"client_secret": str(tmp_path / "secret")}) as transport:
        found = await transport.send(make_batch(3))
        assert "client_secret" in transport.outage.sentence
    assert "check client_id and client_secret" in found.stop
    assert {each.outcome for each in found.exceptions} == {Outcome.POSTPONED}
    assert "not-the-secret" not in found.stop


async def test_a_wrong_project_pauses_the_channel(against, make_batch):
    async with against(app="999") as transport:
        found = await transport.send(make_batch(3))
    assert "80300002" in found.stop
    assert {each.outcome for each in found.exceptions} == {Outcome.POSTPONED}


@pytest.mark.parametrize(
    ("rule", "outcome"),
    [
        ({"answer": "503"}, Outcome.RETRY),
        ({"answer": "500"}, Outcome.RETRY),
        ({"answer": "refuse", "status": 502}, Outcome.RETRY),
        ({"answer": "mute"}, Outcome.UNKNOWN),
        ({"answer": "reset"}, Outcome.UNKNOWN),
        ({"answer": "raw", "body": "<html>"}, Outcome.REJECTED),
    ],
)
async def test_an_answer_about_the_whole_request_is_everybodys(rule, outcome, against, make_batch):
    async with against({"rules": [rule]}, deadline=0.5) as transport:
        found = await transport.send(make_batch(20))
    assert found.delivered == 0
    assert sorted(each.index for each in found.exceptions) == list(range(20))
    assert {each.outcome for each in found.exceptions} == {outcome}


@pytest.mark.parametrize("client", [True, False])
async def test_whatever_huawei_answers_each_phone_has_one_outcome(client, against, make_batch):
    async with against({"seed": 3, "rules": [{"answer": "anything"}]}, client=client) as transport:
        for number in range(60):
            found = await transport.send(make_batch(tokens=[f"{number:032x}{index:032x}" for index in range(4)]))
            indexes = [each.index for each in found.exceptions]
            assert len(indexes) == len(set(indexes))
            assert found.delivered + len(indexes) == 4


async def test_a_dry_run_is_judged_by_the_first_form_alone(against, make_batch, tmp_path):
    batch = replace(make_batch(3), validate_only=True)
    async with against(client=True) as transport:
        assert (await transport.send(batch)).delivered == 3
    assert all(entry.validated for entry in entries(tmp_path))
    async with against() as transport:
        found = await transport.send(batch)
    assert {each.outcome for each in found.exceptions} == {Outcome.DROPPED}


@pytest.mark.parametrize("client", [True, False])
async def test_a_preview_is_what_is_sent(client, against, make_batch, tmp_path):
    async with against({"bodies": True}, client=client) as transport:
        (preview,) = transport.preview(SIMPLE, 7, int(time.time() * 1_000) + 2_000_000_000)
        await transport.send(make_batch(tokens=["0" * 64], message=SIMPLE))
    (entry,) = entries(tmp_path)
    assert entry.body == preview.body.decode()
    assert preview.fields == ({} if client else {"push-type": "0"})


def test_credentials_are_checked_before_anything_is_sent(tmp_path):
    def make(app="100", **credentials):
        return build(TransportSettings("c", "huawei", app, credentials))

    file = tmp_path / "f"
    file.write_text("{}")
    with pytest.raises(CredentialsError, match="has no private_key"):
        make(service_account=str(file))
    file.write_text("two words")
    with pytest.raises(CredentialsError, match="holds no client secret") as refused:
        make(client_id="1", client_secret=str(file))
    assert "two words" not in str(refused.value)
    file.write_text("a-good-secret")
    with pytest.raises(CredentialsError, match='api: "v3" is not v1 or v2'):
        make(client_id="1", client_secret=str(file), api="v3")
    with pytest.raises(CredentialsError, match='app: "a/b"'):
        make("a/b", client_id="1", client_secret=str(file))
    made = make(client_id="1", client_secret=str(file), api="v2")
    assert made.template().path == b"/v2/100/messages:send"
    assert "a-good-secret" not in repr(made.token)
