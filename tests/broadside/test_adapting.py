"""A message that a platform cannot carry is adapted only as an editor would do it, and what was changed is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadside.newsroom import graphemes
from broadside.newsroom.adaptation import SHORTEST, adapt, notes, policy_entries
from campaigns.campaign import ADAPTED, Campaign
from campaigns.message import Message
from transports.apns import payload as apns
from transports.errors import PayloadError
from transports.fcm import payload as fcm

CLUSTERS = ["a", " ", "ß", "e\u0301", "👍🏽", "👨‍👩‍👧", "🇺🇦", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "❤️", "\u1100\u1161\u11a8", "न", "स्ते", "\r\n", "\n"]
CHECKS: dict[str, Callable[[Message], Any]] = {
    "apns": apns.render,
    "fcm": lambda message: fcm.render(message, "aaaaabcdefghi", 3600),
}


@given(st.lists(st.sampled_from(CLUSTERS), max_size=40))
def test_a_cut_never_halves_what_a_reader_sees_as_one_character(clusters: list[str]) -> None:
    """D8"""
    whole = [sum(map(len, clusters[:count])) for count in range(1, len(clusters) + 1)]
    assert graphemes.ends("".join(clusters)) == whole


@pytest.mark.parametrize("platform", CHECKS)
@pytest.mark.parametrize("character", ["x", "ä", "👨‍👩‍👧", "🇺🇦"])
def test_a_body_that_is_too_long_is_cut_to_the_most_that_fits(platform: str, character: str) -> None:
    """D8"""
    check = CHECKS[platform]
    message = Message(title="Storm", body=character * 5_000, data={"id": "7"})
    adapted, sentences = adapt(message, check)
    check(adapted)
    assert adapted.body.endswith(character + "…")
    assert adapted.body.removesuffix("…").replace(character, "") == "", "no character is halved"
    assert (adapted.title, adapted.data) == (message.title, message.data)
    with pytest.raises(PayloadError):
        check(Message(title="Storm", body=character + adapted.body, data={"id": "7"}))
    (sentence,) = sentences
    left = len(adapted.body.removesuffix("…")) // len(character)
    assert sentence.startswith(f"the body is cut to {left:,} of 5,000 characters (message: ")


def test_only_the_platform_that_reserves_a_key_gets_the_message_without_it() -> None:
    """D8 [30]"""
    message = Message(title="T", body="B", data={"from": "desk", "google_article_id": "7"}, url="https://example.com")
    assert adapt(message, CHECKS["apns"]) == (message, [])
    adapted, sentences = adapt(message, CHECKS["fcm"])
    assert adapted == Message(title="T", body="B", data={"google_article_id": "7"}, url="https://example.com")
    reason = 'message.data: the key "from" is reserved by FCM; rename it'
    assert sentences == [f'the data key "from" is left out ({reason})']


def test_both_adaptations_go_together() -> None:
    """D8"""
    adapted, sentences = adapt(Message(title="T", body="x" * 5_000, data={"gcm": "1", "id": "7"}), CHECKS["fcm"])
    assert (adapted.data, len(sentences)) == ({"id": "7"}, 2)
    CHECKS["fcm"](adapted)


@pytest.mark.parametrize(
    "message",
    [
        Message(title="x" * 5_000, body="B"),
        Message(title="T", body="x" * (SHORTEST - 1), data={"story": "x" * 4_050}),
        Message(title="T", body="B", data={"story": "x" * 5_000}),
        Message(title="T", body="x" * 5_000, options={"apns": {"aps": {"mutable-content": True}}}),
        Message(title="", body=""),
    ],
    ids=["title", "little would remain", "data", "option", "nothing to read"],
)
def test_what_cannot_be_adapted_honestly_stays_an_objection(message: Message) -> None:
    """D8"""
    with pytest.raises(PayloadError) as objection:
        CHECKS["apns"](message)
    with pytest.raises(PayloadError) as left:
        adapt(message, CHECKS["apns"])
    assert str(left.value) == str(objection.value)


def test_each_channel_gets_the_message_that_was_adapted_to_it() -> None:
    """D8"""
    own, short = Message(title="T", body="long"), Message(title="T", body="lo…")
    entries = policy_entries(
        {"ios": (short, ["cut"]), "ipad": (short, ["cut"]), "watch": (Message(body="l…"), ["cut"])}
    )
    assert [entry["channels"] for entry in entries] == [["ios", "ipad"], ["watch"]]
    campaign = Campaign(1, 1, "firing", own, None, {ADAPTED: entries}, 0, 0, None, False)
    assert [campaign.message_to(name) for name in ("ios", "ipad", "android")] == [short, short, own]
    assert notes(campaign.policy) == ["adapted for ios, ipad: cut", "adapted for watch: cut"]


@pytest.mark.parametrize("platform", CHECKS)
def test_a_body_with_a_personal_field_is_not_cut(platform: str) -> None:
    """A cut could fall into a field, and each recipient carries the values of the whole message's fields."""
    message = Message(title="{a|x}", body="y" * 5_000 + "{b|x}")
    with pytest.raises(PayloadError, match="too many"):
        adapt(message, CHECKS[platform])
