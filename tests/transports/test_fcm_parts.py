from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.message import Message
from campaigns.outcome import Death, Fault, Outcome
from campaigns.recipient import Recipient
from transports.contract import LONGEST_PAUSE
from transports.decision import LONGEST_WAIT, Then
from transports.errors import CredentialsError, PayloadError
from transports.fcm import credentials, outcomes, payload
from transports.fcm.outcomes import Refusal
from transports.json_texts.body import addressed, kept_for


@pytest.mark.parametrize(
    ("status", "refusal", "outcome", "stops", "then"),
    [
        (400, Refusal(error_code="INVALID_ARGUMENT"), Outcome.REJECTED, False, Then.NOTHING),
        (400, Refusal(error_code="INVALID_ARGUMENT", fields=("message.data",)), Outcome.POSTPONED, True, Then.NOTHING),
        (400, Refusal(error_code="INVALID_ARGUMENT", fields=("message.token",)), Outcome.REJECTED, False, Then.NOTHING),
        (400, Refusal(fields=("message.android.ttl",)), Outcome.POSTPONED, True, Then.NOTHING),
        (400, Refusal(), Outcome.REJECTED, False, Then.NOTHING),
        (401, Refusal(error_code="THIRD_PARTY_AUTH_ERROR"), Outcome.POSTPONED, True, Then.NOTHING),
        (401, Refusal(error_code="APNS_AUTH_ERROR"), Outcome.POSTPONED, True, Then.NOTHING),
        (401, Refusal(status="UNAUTHENTICATED"), Outcome.POSTPONED, True, Then.RENEW),
        (403, Refusal(error_code="SENDER_ID_MISMATCH"), Outcome.REJECTED, False, Then.NOTHING),
        (403, Refusal(status="PERMISSION_DENIED"), Outcome.POSTPONED, True, Then.NOTHING),
        (404, Refusal(error_code="UNREGISTERED"), Outcome.DEAD, False, Then.NOTHING),
        (404, Refusal(status="NOT_FOUND"), Outcome.POSTPONED, True, Then.NOTHING),
        (429, Refusal(error_code="QUOTA_EXCEEDED"), Outcome.RETRY, False, Then.NOTHING),
        (429, Refusal(), Outcome.RETRY, False, Then.NOTHING),
        (500, Refusal(error_code="INTERNAL"), Outcome.RETRY, False, Then.NOTHING),
        (503, Refusal(error_code="UNAVAILABLE"), Outcome.RETRY, False, Then.NOTHING),
        (502, Refusal(error_code="UNSPECIFIED_ERROR"), Outcome.RETRY, False, Then.NOTHING),
        (400, Refusal(error_code="UNSPECIFIED_ERROR"), Outcome.REJECTED, False, Then.NOTHING),
        (404, Refusal(error_code="UNSPECIFIED_ERROR"), Outcome.REJECTED, False, Then.NOTHING),
        (418, Refusal(error_code="UNSPECIFIED_ERROR"), Outcome.REJECTED, False, Then.NOTHING),
        (302, Refusal(), Outcome.RETRY, False, Then.NOTHING),
    ],
)
def test_every_documented_answer_has_its_meaning(status, refusal, outcome, stops, then):
    decision = outcomes.decide(status, refusal)
    assert (decision.outcome, decision.stop is not None, decision.then) == (outcome, stops, then)


@pytest.mark.parametrize(
    ("status", "code", "death"),
    [
        (404, "UNREGISTERED", Death.LIKELY),
        (403, "SENDER_ID_MISMATCH", Death.DOUBTFUL),
        (400, "INVALID_ARGUMENT", None),
        (404, "", None),
        (429, "QUOTA_EXCEEDED", None),
    ],
)
def test_what_an_answer_says_of_the_phone_is_part_of_the_table(status, code, death):
    """A1"""
    assert outcomes.decide(status, Refusal(error_code=code)).death is death


@given(
    st.sampled_from([429, 500, 502, 503]),
    st.integers(1, 100),
    st.none() | st.floats(0, 86_400),
    st.sampled_from(["", "QUOTA_EXCEEDED", "INTERNAL", "UNAVAILABLE"]),
)
def test_a_retry_waits_ten_seconds_at_least_and_as_long_as_google_asks_but_for_days(status, attempt, after, code):
    """C2: one 429 with a Retry-After of a day stopped a channel for a day."""
    decision = outcomes.decide(status, Refusal(error_code=code), attempt, after)
    assert max(10.0, min(after or 0, LONGEST_PAUSE)) <= decision.after <= LONGEST_WAIT
    if status == 429:
        assert decision.after >= 60.0


def test_a_devices_own_quota_slows_nobody_else():
    assert outcomes.decide(429, Refusal(message="Device message rate exceeded")).slow == 0
    assert outcomes.decide(429, Refusal(error_code="QUOTA_EXCEEDED"), retry_after=90).slow == 90
    assert outcomes.decide(429, Refusal(error_code="QUOTA_EXCEEDED", quota="device:abc rate exceeded")).slow == 0
    # the sentence speaks of devices too, the detail names the project
    said = "Sending limit exceeded: message rate, device message rate, or topic message rate."
    assert outcomes.decide(429, Refusal(message=said, error_code="QUOTA_EXCEEDED", quota="project:1")).slow == 60


@pytest.mark.parametrize(
    ("refusal", "fault"),
    [
        (Refusal(message="Device message rate exceeded"), Fault.PHONE),
        (Refusal(error_code="QUOTA_EXCEEDED", quota="device:abc rate exceeded"), Fault.PHONE),
        (Refusal(error_code="QUOTA_EXCEEDED", quota="project:1"), Fault.CHANNEL),
        (Refusal(error_code="QUOTA_EXCEEDED"), Fault.CHANNEL),
        (Refusal(message="message rate, device message rate, or topic message rate"), Fault.CHANNEL),
    ],
)
def test_only_a_quota_that_names_the_device_alone_counts_against_the_phone(refusal, fault):
    """B2: where Google names all three quotas, nobody knows which one it was."""
    assert outcomes.decide(429, refusal).fault is fault


def test_apples_own_word_is_in_the_sentence():
    decision = outcomes.decide(401, Refusal(error_code="THIRD_PARTY_AUTH_ERROR", apple="InvalidProviderToken"))
    assert decision.stop is not None
    assert "THIRD_PARTY_AUTH_ERROR, Apple says InvalidProviderToken" in decision.stop


def test_details_are_found_wherever_they_stand():
    body = {
        "error": {
            "status": "INVALID_ARGUMENT",
            "message": "m",
            "details": [
                {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "message.token"}]},
                {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"},
            ],
        }
    }
    refusal = outcomes.parse(json.dumps(body).encode())
    assert refusal == Refusal("INVALID_ARGUMENT", "m", "INVALID_ARGUMENT", ("message.token",))
    details = body["error"]["details"]
    details[0] = {
        "@type": "type.googleapis.com/google.rpc.QuotaFailure",
        "violations": [{"subject": "project:1", "description": "per minute"}],
    }
    details[1] = {"@type": "type.googleapis.com/google.firebase.fcm.v1.ApnsError", "reason": "BadDeviceToken"}
    assert outcomes.parse(json.dumps(body).encode()) == Refusal(
        "INVALID_ARGUMENT", "m", quota="project:1 per minute", apple="BadDeviceToken"
    )


DETAILS = [outcomes._FCM_ERROR, outcomes._BAD_REQUEST, outcomes._QUOTA_FAILURE, outcomes._APNS_ERROR]
json_values = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "details", "fieldViolations", "violations", "errorCode", "status"]), inner
        )
        | st.fixed_dictionaries(
            {"@type": st.sampled_from(["x.FcmError", *DETAILS]), "violations": inner, "fieldViolations": inner}
        )
    ),
    max_leaves=12,
)


@given(st.integers(300, 599), st.binary(max_size=100) | json_values.map(json.dumps).map(str.encode))
def test_garbage_is_judged_by_its_class(status, body):
    assert outcomes.decide(status, outcomes.parse(body)).outcome in Outcome


token_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=50) | st.text('",\\[]', max_size=20)
targets = st.tuples(token_text, st.sampled_from(["token", "fid", "apns"]))


@given(st.lists(targets, max_size=8), st.booleans())
def test_a_spliced_body_is_the_json_it_should_be(targets, validate_only):
    message = Message(title='"t"', body="b", url="https://e.com", data={"k": "v"})
    recipients = [Recipient(1, token, kind, 0, "") for token, kind in targets]
    tails = [kept_for(60, 2_419_200)(payload.render(message, "aaaaaaaaaaaah").tail)] * len(targets)
    contents = addressed(recipients, tails, payload.JUDGING_HEADS if validate_only else payload.HEADS)
    assert len(contents) == len(targets)
    for (token, kind), content in zip(targets, contents, strict=True):
        if kind == "apns":
            assert content is None
            continue
        decoded = json.loads(content)
        assert decoded["message"][kind] == token
        assert ({"token", "fid"} & set(decoded["message"])) == {kind}
        assert decoded.get("validate_only", False) is validate_only
        assert decoded["message"]["android"]["ttl"] == "60s"
        assert decoded["message"]["webpush"]["headers"]["Topic"] == "aaaaaaaaaaaah"


@pytest.mark.parametrize(
    "message",
    [
        Message(title="t", body="x" * 4_096),
        Message(title="t", body="b", data={"from": "x"}),
        Message(title="t", body="b", data={"google.x": "x"}),
        Message(title="t", body="b", data={"gcm": "x"}),
        Message(title="t", body="b", url="u", data={"url": "x"}),
    ],
)
def test_a_payload_that_google_would_refuse_is_refused_here(message):
    with pytest.raises(PayloadError, match=r"shorten|rename"):
        payload.render(message, "c")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"type": "authorized_user"}, "service_account is needed"),
        ({"private_key": "secret"}, "not a PEM key"),
        ({"private_key": None}, "no private_key"),
        ({"client_email": ""}, "no client_email"),
        ({"token_uri": "http://x"}, "is not https"),
        ({"universe_domain": "other.example"}, "universe_domain 'other.example'; FCM exists only in googleapis.com"),
        (None, "not a JSON object"),
        ("missing", "not found"),
    ],
)
def test_a_bad_service_account_is_named_in_one_line(service_account, tmp_path, change, words):
    path = tmp_path / "account.json"
    if change != "missing":
        path.write_text("[]" if change is None else json.dumps({**service_account, **change}))
    with pytest.raises(CredentialsError) as caught:
        credentials.load({"service_account": str(path)})
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("how", ["marked", "escaped"])
def test_a_service_account_that_went_through_an_editor_or_a_variable_is_read(service_account, tmp_path, how):
    """E4: it was not a JSON object; its private_key was not a PEM key. "Download it again" did not help."""
    path = tmp_path / "account.json"
    if how == "marked":
        path.write_bytes(b"\xef\xbb\xbf" + json.dumps(service_account).encode())
    else:
        key = service_account["private_key"].replace("\n", "\\n")
        path.write_text(json.dumps({**service_account, "private_key": key}))
    assert credentials.load({"service_account": str(path)}).project_id == "news-1a2b3"
