from __future__ import annotations

import json
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from campaigns.message import Message
from campaigns.outcome import Death, Outcome
from transports.apns import credentials, outcomes, payload
from transports.contract import LONGEST_PAUSE, SharedText
from transports.decision import Then
from transports.errors import CredentialsError, PayloadError

STOPS = """400 BadCollapseId, 400 BadExpirationDate, 400 BadMessageId, 400 BadPriority, 400 BadTopic,
400 DuplicateHeaders, 400 InvalidPushType, 400 MissingTopic, 400 PayloadEmpty, 400 TopicDisallowed,
403 BadCertificate, 403 BadCertificateEnvironment, 403 MissingProviderToken,
403 BadEnvironmentKeyIdInToken, 404 BadPath, 405 MethodNotAllowed, 413 PayloadTooLarge, 400 FeatureNotEnabled,
400 MissingChannelId, 400 BadChannelId, 400 ChannelNotRegistered, 400 BadRequestParams, 400 BadRequestPayload,
400 MissingPushType, 400 CannotCreateChannelConfig, 403 TopicMismatch"""
TABLE = [
    *[(*line.split(), Outcome.POSTPONED, Then.NOTHING) for line in STOPS.split(",")],
    ("400", "MissingDeviceToken", Outcome.REJECTED, Then.NOTHING),
    ("400", "BadDeviceToken", Outcome.REJECTED, Then.NOTHING),
    ("400", "DeviceTokenNotForTopic", Outcome.REJECTED, Then.NOTHING),
    ("400", "IdleTimeout", Outcome.RETRY, Then.RECONNECT),
    ("403", "Forbidden", Outcome.REJECTED, Then.NOTHING),
    ("403", "ExpiredProviderToken", Outcome.POSTPONED, Then.RENEW_AND_RECONNECT),
    ("403", "InvalidProviderToken", Outcome.POSTPONED, Then.RENEW_IF_MISDATED),
    ("403", "UnrelatedKeyIdInToken", Outcome.RETRY, Then.RECONNECT),
    ("410", "Unregistered", Outcome.DEAD, Then.NOTHING),
    ("410", "ExpiredToken", Outcome.DEAD, Then.NOTHING),
    ("429", "TooManyRequests", Outcome.RETRY, Then.NOTHING),
    ("429", "TooManyProviderTokenUpdates", Outcome.RETRY, Then.KEEP_TOKEN),
    ("500", "InternalServerError", Outcome.RETRY, Then.NOTHING),
    ("503", "ServiceUnavailable", Outcome.RETRY, Then.NOTHING),
    ("503", "Shutdown", Outcome.RETRY, Then.RECONNECT),
]


@pytest.mark.parametrize(("status", "reason", "outcome", "then"), TABLE)
def test_every_documented_answer_has_its_meaning(status, reason, outcome, then):
    decision = outcomes.decide(int(status), reason, 123)
    assert (decision.outcome, decision.then, decision.reason) == (outcome, then, reason)
    assert (decision.stop is not None) == (outcome is Outcome.POSTPONED)
    assert decision.unregistered_at == (123 if status == "410" else None)
    assert (decision.after > 0) == (outcome is Outcome.RETRY)


@pytest.mark.parametrize(
    ("status", "reason", "timestamp", "death"),
    [
        (410, "Unregistered", 123, Death.CERTAIN),
        (410, "ExpiredToken", 123, Death.CERTAIN),
        (410, "Unregistered", None, Death.LIKELY),
        (410, "SomethingNew", None, Death.LIKELY),
        (410, "SomethingNew", 123, Death.CERTAIN),
        (400, "BadDeviceToken", None, Death.DOUBTFUL),
        (400, "DeviceTokenNotForTopic", None, Death.DOUBTFUL),
        (400, "MissingDeviceToken", None, None),
        (403, "Forbidden", None, None),
        (400, "SomethingNew", None, None),
        (429, "TooManyRequests", None, None),
    ],
)
def test_what_an_answer_says_of_the_phone_is_part_of_the_table(status, reason, timestamp, death):
    """A1, A2"""
    assert outcomes.decide(status, reason, timestamp).death is death


def test_the_table_is_complete():
    assert {reason for _, reason, *_ in TABLE} == outcomes.REASONS


@given(st.integers(300, 599), st.text(max_size=20), st.integers(1, 100), st.none() | st.floats(0, 86_400))
def test_an_unknown_answer_is_judged_by_its_class_and_never_pauses_the_channel(status, word, attempt, after):
    reason = f"New{word}"
    decision = outcomes.decide(status, reason, None, attempt, after)
    assert decision.stop is None
    if status >= 500 or status < 400 or status in (408, 421, 425, 429):
        assert decision.outcome is Outcome.RETRY
        assert decision.after >= min(after or 0, LONGEST_PAUSE), "a longer wish slows the channel, bounded as well"
        assert decision.slow == (after or 0)
    else:
        assert decision.outcome is (Outcome.DEAD if status == 410 else Outcome.REJECTED)


def test_a_known_word_under_a_foreign_status_is_not_trusted():
    assert outcomes.decide(500, "BadDeviceToken").outcome is Outcome.RETRY
    assert outcomes.decide(503, "InvalidProviderToken").stop is None


@given(
    st.binary(max_size=300) | st.recursive(st.none() | st.text(), lambda x: st.lists(x)).map(json.dumps).map(str.encode)
)
def test_a_garbage_body_still_gives_a_reason(body):
    reason, timestamp = outcomes.parse(body, 0)
    assert len(reason) <= 100
    assert timestamp is None


def test_the_timestamp_of_a_dead_token_is_read():
    body = b'{"reason":"Unregistered","timestamp":1700000000000,"x":1}'
    assert outcomes.parse(body, 1_700_000_000_000) == (
        "Unregistered",
        1_700_000_000_000,
    )


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


said = text.filter(str.strip)


@given(said, said, st.none() | text, st.dictionaries(text.filter(lambda k: k not in ("aps", "url")), text, max_size=4))
def test_a_payload_says_what_the_message_says(title, body, url, data):
    rendered = json.loads(payload.render(Message(title=title, body=body, url=url, data=data)).body)
    assert rendered.pop("aps") == {"alert": {"title": title, "body": body}, "sound": "default"}
    assert rendered == ({"url": url} if url is not None else {}) | data


@pytest.mark.parametrize(
    "message",
    [
        Message(title="t", body="ä" * 2_040),
        Message(title="t", body="b", data={"aps": "x"}),
        Message(title="t", body="b", url="u", data={"url": "x"}),
    ],
)
def test_a_payload_that_apple_would_refuse_is_refused_here(message):
    with pytest.raises(PayloadError, match=r"shorten|rename"):
        payload.render(message)


async def test_a_message_too_large_is_rejected_before_anything_is_sent(peer, make_apns, make_batch, running):
    async with running(make_apns(peer)) as transport:
        outcome = await transport.send(make_batch(3, message=Message(title="t", body="x" * 5_000)))
    assert [e.outcome for e in outcome.exceptions] == [Outcome.REJECTED] * 3
    assert "4096" in outcome.exceptions[0].reason
    assert peer.seen == []


async def test_a_token_that_is_no_hexadecimal_never_reaches_the_path(peer, make_apns, make_batch, running):
    tokens = ["ab cd", "../../x", "", "zz", "abc", "AB", "ab\r\n"]
    async with running(make_apns(peer)) as transport:
        outcome = await transport.send(make_batch(tokens=tokens))
    assert outcome.delivered == 1
    assert [seen.token for seen in peer.seen] == ["ab"]


class Clock:
    """Seconds UTC as somebody has set them, and the seconds that passed."""

    set_to = 1_700_000_000.0
    passed = 1000.0

    def __call__(self):
        return self.set_to + self.passed - 1000

    def elapsed(self):
        return self.passed


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def token(apns_credentials, clock):
    token = credentials.load(apns_credentials)
    token._clock, token._elapsed = clock, clock.elapsed
    return token


def test_a_provider_token_is_what_apple_asks_for(token, apns_credentials):
    text = token.header().removeprefix(b"bearer ").decode()
    key = load_pem_private_key(Path(apns_credentials["key"]).read_bytes(), None).public_key()
    assert jwt.get_unverified_header(text)["kid"] == "ABCDE12345"
    claims = jwt.decode(text, key, algorithms=["ES256"], options={"verify_iat": False})
    assert claims == {"iss": "TEAM123456", "iat": 1_700_000_000}


def test_a_provider_token_is_renewed_between_30_and_50_minutes(token, clock):
    first = token.header()
    for minute in range(30):
        clock.passed = 1000 + minute * 60
        assert token.header() == first
    clock.passed = 1000 + 50 * 60
    assert token.header() != first


def test_a_shared_token_is_used_until_the_next_one_is_handed_in(token, clock):
    token.set_token(SharedText("a.b.c", int(clock()), clock.passed))
    clock.passed += 49 * 60
    assert token.header() == b"bearer a.b.c"
    clock.passed += 2 * 60
    assert token.header() != b"bearer a.b.c"


def test_a_token_is_replaced_once_however_many_pushes_it_was_refused_for(token, clock):
    refused = token.header()
    clock.passed += 30 * 60
    token.renew(refused)
    second = token.header()
    token.renew(refused)
    assert token.header() == second != refused


def test_a_token_that_changed_too_soon_goes_back_to_the_one_before(token, clock):
    first = token.header()
    clock.passed += 60
    token.set_token(SharedText("a.b.c", int(clock()), clock.passed))
    assert token.header() != first
    token.keep_previous()
    assert token.header() == first


def test_a_refused_token_is_none_to_go_back_to(token, clock):
    first = token.header()
    clock.passed += 60
    token.renew(first)
    second = token.header()
    token.keep_previous()
    assert token.header() == second != first


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_good_token_lives_on_when_the_clock_is_set_wrong(hours, token, clock):
    good = token.header()
    clock.set_to += hours * 3600
    assert token.header() == good
    assert token.current() == (good.removeprefix(b"bearer ").decode(), 1_700_000_000, 1000.0, 0.0)


def test_a_token_refused_as_invalid_is_replaced_only_if_the_clock_was_set_since(token, clock):
    clock.set_to += 3600
    misdated = token.header()
    assert not token.renew_if_misdated(misdated), "the clock is still wrong, or it is the key"
    clock.set_to -= 3600
    clock.passed += 5
    assert token.renew_if_misdated(misdated)
    assert token.current()[1:3] == (1_700_000_005, 1005.0)
    assert token.renew_if_misdated(misdated), "by another push of the same batch"
    assert not token.renew_if_misdated(token.header())


async def test_a_token_made_under_a_wrong_clock_is_replaced_at_the_first_try_after_it_is_right(
    peer, make_apns, make_batch, running, reason, clock
):
    transport = make_apns(peer)
    transport.shared._clock, transport.shared._elapsed = clock, clock.elapsed
    clock.set_to += 3600
    misdated = transport.shared.header()
    peer.answer = lambda seen: (
        reason(403, "InvalidProviderToken") if seen.headers["authorization"].encode() == misdated else (200, {}, b"")
    )
    async with running(transport):
        paused = await transport.send(make_batch(20))
        assert "and the clock" in paused.stop
        clock.set_to -= 3600
        outcome = await transport.send(make_batch(20))
    assert (outcome.delivered, outcome.exceptions, outcome.stop) == (20, [], None)


async def test_an_expired_token_is_replaced_and_the_pushes_sent_once_more(
    peer, make_apns, make_batch, running, reason, clock
):
    transport = make_apns(peer)
    transport.shared._clock, transport.shared._elapsed = clock, clock.elapsed
    stale = transport.shared.header()
    clock.passed += 60
    peer.answer = lambda seen: (
        reason(403, "ExpiredProviderToken") if seen.headers["authorization"].encode() == stale else (200, {}, b"")
    )
    async with running(transport):
        outcome = await transport.send(make_batch(20))
    assert (outcome.delivered, outcome.exceptions) == (20, [])
    assert peer.accepted == 2


async def test_a_fresh_token_called_expired_pauses_the_channel(peer, make_apns, make_batch, running, reason):
    peer.answer = lambda seen: reason(403, "ExpiredProviderToken")
    async with running(make_apns(peer)) as transport:
        outcome = await transport.send(make_batch(20))
    assert "clock" in outcome.stop
    assert [e.outcome for e in outcome.exceptions] == [Outcome.POSTPONED] * 20


async def test_repeated_forbidden_pauses_the_channel(peer, make_apns, make_batch, running, reason):
    peer.answer = lambda seen: reason(403, "Forbidden")
    async with running(make_apns(peer)) as transport:
        assert (await transport.send(make_batch(1))).stop is None
        assert "Forbidden" in (await transport.send(make_batch(5))).stop


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"key": ""}, "credentials.key: missing"),
        ({"key": "/nowhere.p8"}, '"/nowhere.p8" not found'),
        ({"key": __file__}, "not a PEM private key"),
        ({"key_id": "short"}, 'credentials.key_id: "short"'),
        ({"team_id": "TEAM 12345"}, "credentials.team_id"),
        ({"topic": "x"}, "credentials.topic: unknown"),
    ],
)
def test_bad_credentials_are_named_in_one_line(apns_credentials, change, words):
    with pytest.raises(CredentialsError) as caught:
        credentials.load({**apns_credentials, **change})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_secret_is_in_a_repr(token):
    token.header()
    assert repr(token) == "ProviderToken(key_id='ABCDE12345', team_id='TEAM123456')"
