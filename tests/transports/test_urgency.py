"""How urgent a message is, in each provider's own words; its options override them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from campaigns.message import Message, Urgency
from campaigns.recipient import Recipient
from transports.apns import payload as apns
from transports.fcm import payload as fcm
from transports.json_texts.body import addressed


def message(urgency: Urgency | None, **options: Any) -> Message:
    return Message(title="Storm", body="Stay inside", data={"a": "b"}, urgency=urgency, options=options)


def of_apple(told: Message) -> tuple[int, Any]:
    push = apns.render(told)
    return push.priority, msgspec.json.decode(push.body)["aps"].get("interruption-level")


def of_google(told: Message) -> dict[str, Any]:
    tail = fcm.render(told, "aaaaaaaaaaaaa", 60).tail
    (body,) = addressed([Recipient(1, "t", "token", 1, "en")], [tail], fcm.HEADS)
    assert body is not None
    said: dict[str, Any] = msgspec.json.decode(body)["message"]
    return said


@pytest.mark.parametrize(
    ("urgency", "apple", "android", "web"),
    [
        ("high", (10, "time-sensitive"), "HIGH", "high"),
        (None, (10, None), "HIGH", None),
        ("low", (5, "passive"), "NORMAL", "low"),
    ],
)
def test_each_provider_is_told_how_urgent_a_message_is(
    urgency: Urgency | None, apple: tuple[int, str | None], android: str, web: str | None
) -> None:
    """21.3: breaking news comes through at once, and a digest spares the battery."""
    assert of_apple(message(urgency)) == apple
    said = of_google(message(urgency))
    assert said["android"]["priority"] == android
    assert said["webpush"]["headers"].get("Urgency") == web
    assert said["apns"]["payload"]["aps"].get("interruption-level") == apple[1]
    assert said["apns"]["headers"].get("apns-priority") == (None if urgency is None else str(apple[0]))


def test_the_options_of_a_platform_override_the_urgency() -> None:
    """21.3: per field: what an option does not name stays as the kind says."""
    told = message("low", apns={"priority": 10, "aps": {"interruption-level": "active"}})
    assert of_apple(told) == (10, "active")
    assert of_apple(message("low", apns={"priority": 10})) == (10, "passive")
    said = of_google(
        message("high", fcm={"android": {"priority": "normal"}, "webpush": {"headers": {"urgency": "low"}}})
    )
    assert said["android"]["priority"] == "NORMAL"
    assert {name.lower(): text for name, text in said["webpush"]["headers"].items()}["urgency"] == "low"


@pytest.mark.parametrize("urgency", ["high", "low"])
def test_a_push_that_shows_nothing_has_no_interruption_level(urgency: Urgency) -> None:
    """21.3: Apple refuses one in a background push, and a data message stays as it was."""
    told = message(urgency, apns={"push_type": "background"})
    assert of_apple(told) == of_apple(message(None, apns={"push_type": "background"}))
    silent: dict[str, Any] = {"notification": None}
    assert of_google(message(urgency, fcm=silent)) == of_google(message(None, fcm=silent))
