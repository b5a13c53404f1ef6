"""Web Push without a network: subscriptions, encryption, VAPID, payload, the table of answers, parts of a batch."""

from __future__ import annotations

import base64
import json
import os

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Death, Fault, Outcome
from campaigns.presentation import Presentation
from campaigns.recipient import Recipient
from transports.contract import Exceptional, Outcomes
from transports.decision import Then
from transports.errors import PayloadError, TokenError
from transports.webpush import encryption, outcomes, payload, tokens
from transports.webpush.by_service import ByService
from transports.webpush.credentials import LIFETIME, RENEW_AFTER, Vapid
from transports.webpush.push_services import matches


def un64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def key_of(number: str) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(int.from_bytes(un64(number)), ec.SECP256R1())


def b64(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


# RFC 8291, appendix A
VECTOR = {
    "auth": "BTBZMqHH6r4Tts7J_aSIgg",
    "salt": "DGv6ra1nlYgDCS1FRnbzlw",
    "ua_pub": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
    "as_priv": "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw",
    "body": "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6"
    "PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN",
}
SAMPLE = tokens.sample("ab" * 32)
SUBSCRIPTION = tokens.read(SAMPLE)
assert SUBSCRIPTION is not None


def test_the_rfcs_vector_comes_out_octet_for_octet() -> None:
    plain = b"When I grow up, I want to be a watermelon\x02"
    receiver, secret, salt = (un64(VECTOR[name]) for name in ("ua_pub", "auth", "salt"))
    assert encryption.seal(plain, receiver, secret, key_of(VECTOR["as_priv"]), salt) == un64(VECTOR["body"])


@given(st.binary(max_size=encryption.LONGEST))
def test_another_implementation_decrypts_every_push(plain: bytes) -> None:
    private, secret = ec.generate_private_key(ec.SECP256R1()), os.urandom(16)
    receiver = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    body = encryption.encrypted(encryption.padded(plain), receiver, secret)
    assert len(body) <= encryption.LIMIT
    assert (len(body) - encryption.OVERHEAD) % encryption.STEP == 0 or len(body) == encryption.LIMIT
    assert http_ece.decrypt(body, private_key=private, auth_secret=secret, version="aes128gcm") == plain


def test_each_push_has_its_own_key_and_salt() -> None:
    bodies = [encryption.encrypted(b"x\x02", SUBSCRIPTION.receiver, SUBSCRIPTION.secret) for _ in range(20)]
    assert len({body[:16] for body in bodies}) == len({body[21:86] for body in bodies}) == 20


def as_json(**changes: object) -> str:
    keys = {"p256dh": b64(SUBSCRIPTION.receiver), "auth": b64(SUBSCRIPTION.secret)}
    whole = {"endpoint": SAMPLE.partition("#")[0], "expirationTime": None, "keys": keys}
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    "given",
    [
        SAMPLE,
        f"  {SAMPLE}\n",
        as_json(),
        as_json().replace("https://", "https:\\/\\/"),
        SAMPLE[:-1] + chr(ord(SAMPLE[-1]) + 1),  # bits that nobody reads
        SAMPLE.replace("https://updates", "https://UPDATES").replace("mozilla.com/", "mozilla.com:443/"),
        as_json(keys={"p256dh": base64.b64encode(SUBSCRIPTION.receiver).decode(), "auth": b64(SUBSCRIPTION.secret)}),
    ],
)
def test_every_form_of_a_subscription_becomes_one_text(given: str) -> None:
    assert tokens.token("token", given) == SAMPLE
    assert tokens.tokens("token", [given]) == ([given] if given == SAMPLE else None)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ("f" * 64, "is not a browser's subscription"),
        (SAMPLE.partition("#")[0], "without keys"),
        ("{", "not valid JSON"),
        ("[]", "is not a browser's subscription"),
        (as_json(keys=None), "no text at keys.p256dh"),
        (as_json(endpoint=7), "no text at endpoint"),
        (as_json(endpoint="http://push.example.com/x"), "not https"),
        (as_json(endpoint="https://user:word@push.example.com/x"), "without a push service's host"),
        (as_json(endpoint="https://[::1]/x"), "without a push service's host"),
        (as_json(endpoint="https://push.example.com/x y"), "that no push service gives out"),
        (as_json(endpoint="https://push.example.com/" + "x" * 1_000), "has at most 1024"),
        (as_json(keys={"p256dh": "AAAA", "auth": "BTBZMqHH6r4Tts7J_aSIgg"}), "keys.p256dh of 3 octets; it has 65"),
        (as_json(keys={"p256dh": b64(SUBSCRIPTION.receiver), "auth": "!!"}), "keys.auth that is not base64url"),
        (as_json(keys={"p256dh": b64(b"\x04" + bytes(64)), "auth": b64(bytes(16))}), "no point of P-256"),
    ],
)
def test_what_is_no_subscription_is_refused_by_the_name_of_its_field(given: str, what: str) -> None:
    with pytest.raises(TokenError) as caught:
        tokens.token("token", given)
    assert what in caught.value.what
    assert caught.value.remedy
    assert tokens.tokens("token", [SAMPLE, given]) is None


@given(st.text(max_size=300) | st.from_regex(r"https://[a-z.]{1,20}/.{0,40}#.{0,120}", fullmatch=True))
def test_any_text_is_refused_or_comes_back_as_itself(text: str) -> None:
    try:
        whole = tokens.token("token", text)
    except TokenError:
        return
    assert tokens.token("token", whole) == whole


def test_a_vapid_token_is_kept_for_its_push_service_and_renewed_before_its_end() -> None:
    now = [1_000_000.0]
    key = ec.generate_private_key(ec.SECP256R1())
    vapid = Vapid(key, "mailto:push@example.com", lambda: now[0])
    first = vapid.header("push.example.com")
    assert vapid.header("push.example.com") is first
    assert vapid.header("other.example.com") != first
    text, public = first.decode().removeprefix("vapid t=").split(", k=")
    claims = jwt.decode(
        text, key.public_key(), ["ES256"], audience="https://push.example.com", options={"verify_exp": False}
    )
    assert claims == {"aud": "https://push.example.com", "exp": 1_000_000 + LIFETIME, "sub": "mailto:push@example.com"}
    assert un64(public) == key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert not vapid.renew("push.example.com", first), "a new one would say the same"
    now[0] += RENEW_AFTER - 1
    assert vapid.header("push.example.com") is first
    assert vapid.renew("push.example.com", first)
    now[0] += RENEW_AFTER
    second = vapid.header("push.example.com")
    now[0] -= 5 * RENEW_AFTER
    assert vapid.header("push.example.com") != second, "the clock was set back: exp would be more than a day away"


def rendered(message: Message, presentation: Presentation = Presentation.AWAKE) -> dict[str, object]:
    found: dict[str, object] = json.loads(
        payload.render(message, "https://news.example.com", "C", presentation).content
    )
    return found


def test_a_message_becomes_a_declarative_push() -> None:
    message = Message(title="Flood", body="Leave now", url="https://x.example.com/f", badge=3, data={"story": "7"})
    assert rendered(message) == {
        "web_push": 8030,
        "notification": {
            "title": "Flood",
            "body": "Leave now",
            "navigate": "https://x.example.com/f",
            "tag": "C",
            "app_badge": 3,
            "data": {"story": "7"},
        },
    }
    plain = rendered(Message(body="Only a body"))["notification"]
    assert plain == {"title": "Only a body", "navigate": "https://news.example.com", "tag": "C"}


def test_options_win_and_a_push_asleep_is_silent() -> None:
    options = {"urgency": "very-low", "topic": "t", "notification": {"icon": "https://x/i.png", "tag": None}}
    push = payload.render(Message(title="T", options={"webpush": options}), "https://s", "C")
    assert (push.urgency, push.topic) == ("very-low", "t")
    assert json.loads(push.content)["notification"] == {
        "title": "T",
        "navigate": "https://s",
        "icon": "https://x/i.png",
    }
    asleep = payload.render(Message(title="T", urgency="high"), "https://s", "C", Presentation.ASLEEP)
    assert (asleep.urgency, json.loads(asleep.content)["notification"]["silent"]) == ("low", True)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        (Message(), "message.title: is empty"),
        (Message(title="T", body="x" * 4_000), "too many; shorten it"),
        (Message(title="T", options={"webpush": {"ttl": 5}}), "message.options.webpush: object contains unknown field"),
        (Message(title="T", options={"webpush": {"topic": "a b"}}), "message.options.webpush.topic"),
        (Message(title="T", options={"webpush": {"notification": {"title": None}}}), "webpush.notification.title"),
    ],
)
def test_what_a_browser_cannot_take_is_refused_before_fire(message: Message, what: str) -> None:
    with pytest.raises(PayloadError, match=what.replace(".", r"\.")):
        rendered(message)


def test_the_largest_push_is_as_large_as_every_push_service_takes() -> None:
    spare = encryption.LONGEST - len(payload.render(Message(title="T", body="x"), "https://s", "C").content)
    content = payload.render(Message(title="T", body="x" * (spare + 1)), "https://s", "C").content
    body = encryption.encrypted(encryption.padded(content), SUBSCRIPTION.receiver, SUBSCRIPTION.secret)
    assert len(body) == 4_096


APPLE, MOZILLA, GOOGLE = "web.push.apple.com", "updates.push.services.mozilla.com", "fcm.googleapis.com"
MISMATCH = (
    b"the VAPID credentials in the authorization header do not correspond to the credentials used to create the ..."
)


@pytest.mark.parametrize(
    ("service", "status", "body", "wanted"),
    [
        (GOOGLE, 410, b"push subscription has unsubscribed or expired.\n", (Outcome.DEAD, Death.CERTAIN)),
        (MOZILLA, 404, b'{"code":404,"errno":102}', (Outcome.DEAD, Death.CERTAIN)),
        (APPLE, 410, b'{"reason":"Unregistered"}', (Outcome.DEAD, Death.CERTAIN)),
        (MOZILLA, 301, b"", (Outcome.DEAD, Death.LIKELY)),
        (GOOGLE, 403, MISMATCH, (Outcome.REJECTED, Death.DOUBTFUL)),
        (APPLE, 403, b'{"reason":"VapidPkHashMismatch"}', (Outcome.REJECTED, Death.DOUBTFUL)),
        (MOZILLA, 401, b'{"errno":109,"message":"VAPID public key mismatch"}', (Outcome.REJECTED, Death.DOUBTFUL)),
        (MOZILLA, 400, b'{"code":400,"errno":110}', (Outcome.REJECTED, Death.DOUBTFUL)),
        (APPLE, 403, b'{"reason":"BadJwtToken"}', (Outcome.POSTPONED, None)),
        (APPLE, 400, b'{"reason":"BadTtl"}', (Outcome.REJECTED, None)),
        ("x.notify.windows.com", 406, b"", (Outcome.RETRY, None)),
        (GOOGLE, 429, b"", (Outcome.RETRY, None)),
        (GOOGLE, 413, b"", (Outcome.REJECTED, None)),
        (GOOGLE, 503, b"<html>", (Outcome.RETRY, None)),
        (GOOGLE, 307, b"", (Outcome.REJECTED, None)),
        (GOOGLE, 200 + 799, b"\xff\xfe", (Outcome.RETRY, None)),
    ],
)
def test_each_answer_has_its_meaning(service: str, status: int, body: bytes, wanted: tuple[Outcome, Death]) -> None:
    decision = outcomes.decide(service, status, outcomes.parse(body))
    assert (decision.outcome, decision.death) == wanted
    assert bool(decision.stop) == (decision.then is Then.RENEW) == (wanted[0] is Outcome.POSTPONED)
    assert decision.reason


def test_a_pause_that_a_push_service_asks_for_is_kept() -> None:
    decision = outcomes.decide("x.notify.windows.com", 406, outcomes.parse(b""), 1, 120.0)
    assert (decision.after, decision.slow, decision.fault) == (120.0, 120.0, Fault.MOMENT)
    assert outcomes.decide(GOOGLE, 429, outcomes.parse(b""), 3).after == 120.0, "30 s, doubled twice"


def test_a_push_service_that_asks_for_a_few_seconds_is_asked_again_after_them() -> None:
    after = [outcomes.decide("x.notify.windows.com", 406, outcomes.parse(b""), n, 4.0).after for n in (1, 2, 3, 4, 5)]
    assert after == [4.0, 4.0, 4.0, 8.0, 16.0], "as asked; refused again and again it is asked less often"


@given(st.binary(max_size=300), st.integers(100, 999))
def test_any_answer_has_a_meaning(body: bytes, status: int) -> None:
    assert outcomes.decide(GOOGLE, status, outcomes.parse(body)).reason


@pytest.mark.parametrize(
    ("authority", "allowed", "fits"),
    [
        ("fcm.googleapis.com", "fcm.googleapis.com", True),
        ("wns2-a.notify.windows.com", "*.notify.windows.com", True),
        ("notify.windows.com", "*.notify.windows.com", False),
        ("evilnotify.windows.com", "*.notify.windows.com", False),
        ("fcm.googleapis.com.evil.example", "fcm.googleapis.com", False),
        ("fcm.googleapis.com:8443", "fcm.googleapis.com", False),
        ("push.example.com:8443", "push.example.com:8443", True),
        ("wns2-a.notify.windows.com:8443", "*.notify.windows.com", False),
    ],
)
def test_a_host_is_allowed_only_by_its_name(authority: str, allowed: str, fits: bool) -> None:
    assert matches(authority, allowed) is fits


def batch_of(count: int, heard: list[set[int]]) -> Batch:
    recipients = [Recipient(n, f"t{n}", "token", 0, "") for n in range(count)]
    return Batch(1, Message(title="T"), 1, 2**62, recipients, stragglers=lambda left: heard.append(set(left)))


def test_a_service_that_refuses_our_key_does_not_stop_the_others() -> None:
    parts = ByService(batch_of(4, []), {"a": [0, 2], "b": [1]}, [Exceptional(3, Outcome.REJECTED, "no")])
    parts.done("a", Outcomes(2))
    parts.done("b", Outcomes(0, [Exceptional(0, Outcome.POSTPONED, "BadJwtToken")], stop="b refuses us", put_off=1))
    whole = parts.outcomes()
    assert (whole.delivered, whole.stop, whole.put_off) == (2, None, 0)
    assert [(each.index, each.outcome) for each in whole.exceptions] == [(3, Outcome.REJECTED), (1, Outcome.RETRY)]
    alone = ByService(batch_of(1, []), {"b": [0]}, [])
    alone.done("b", Outcomes(0, [Exceptional(0, Outcome.POSTPONED, "BadJwtToken")], stop="b refuses us"))
    assert alone.outcomes().stop == "b refuses us"
    assert alone.outcomes().exceptions[0].outcome is Outcome.POSTPONED


def test_stragglers_are_reported_once_every_part_has_said_who_is_late() -> None:
    heard: list[set[int]] = []
    parts = ByService(batch_of(6, heard), {"a": [0, 2, 4], "b": [1, 3]}, [Exceptional(5, Outcome.REJECTED, "no")])
    parts.batch("a", 1.0).stragglers({1})
    assert heard == [], "of b nothing is known"
    parts.batch("b", 1.0).stragglers({0})
    assert heard[-1] == {5, 2, 1}
    parts.done("b", Outcomes(1, [Exceptional(1, Outcome.DEAD, "410")]))
    assert heard[-1] == {5, 2, 3}
