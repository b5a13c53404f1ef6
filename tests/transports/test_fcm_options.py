"""The editor's FCM options: what is taken, how it lies over the defaults, what is refused and in which words."""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.message import Message
from campaigns.presentation import Presentation
from simulators.fcm.message_rules import check_request
from transports.errors import PayloadError
from transports.fcm import payload
from transports.json_texts.body import kept_for

CAMPAIGN = "aaaaaaaaaaaah"
EVERYTHING: dict[str, Any] = {
    "notification": {"image": "https://example.com/flood.jpg"},
    "android": {
        "collapse_key": "weather",
        "priority": "NORMAL",
        "ttl": "3600.5s",
        "restricted_package_name": "com.example.news",
        "data": {"story": "7"},
        "notification": {
            "title": "Flood!",
            "body": "Leave",
            "icon": "ic_flood",
            "color": "#FF0000",
            "sound": "siren",
            "tag": "weather",
            "click_action": "OPEN",
            "body_loc_key": "flood_body",
            "body_loc_args": ["Ahr"],
            "title_loc_key": "flood_title",
            "title_loc_args": [],
            "channel_id": "alerts",
            "ticker": "Flood",
            "sticky": True,
            "event_time": "2026-11-23T18:00:00.5Z",
            "local_only": False,
            "notification_priority": "PRIORITY_MAX",
            "default_sound": False,
            "default_vibrate_timings": False,
            "default_light_settings": False,
            "vibrate_timings": ["0.5s", "1s"],
            "visibility": "PUBLIC",
            "notification_count": 3,
            "light_settings": {
                "color": {"red": 1, "green": 0.5, "blue": 0, "alpha": 1},
                "light_on_duration": "1s",
                "light_off_duration": "0.25s",
            },
            "image": "https://example.com/a.jpg",
            "bypass_proxy_notification": True,
            "proxy": "DENY",
        },
        "fcm_options": {"analytics_label": "flood-1"},
        "direct_boot_ok": True,
        "bandwidth_constrained_ok": True,
        "restricted_satellite_ok": True,
    },
    "webpush": {
        "headers": {"Urgency": "high"},
        "data": {"story": "7"},
        "notification": {"icon": "/i.png", "actions": [{"action": "read", "title": None}]},
        "fcm_options": {"link": "https://example.com/flood", "analytics_label": "flood-1"},
    },
    "apns": {
        "headers": {"apns-priority": "10"},
        "payload": {"aps": {"badge": 1}, "story": {"id": 7}},
        "fcm_options": {"analytics_label": "flood-1", "image": "https://example.com/b.jpg"},
        "live_activity_token": "abc",
    },
    "fcm_options": {"analytics_label": "flood_~1%"},
}


def sent(fcm: dict[str, Any], **more: Any) -> dict[str, Any]:
    message = Message(**{"title": "Flood", "body": "Leave the valley", **more}, options={"fcm": fcm})
    body = json.loads(b'{"message":{"token":"t' + kept_for(60, 2_419_200)(payload.render(message, CAMPAIGN).tail))
    assert check_request(body) is None, "Google would refuse it"
    said: dict[str, Any] = body["message"]
    return said


def content(message: Message, **known: Any) -> dict[str, Any]:
    app = payload.KnownApp(**known)
    said: dict[str, Any] = json.loads(
        b'{"t":"' + kept_for(60, 2_419_200)(payload.render(message, CAMPAIGN, app=app).tail)[:-1]
    )
    return said


def test_a_push_has_no_part_for_devices_that_the_app_is_not_on() -> None:
    """A registration may be of any device, so each push spoke to all three, with 200 octets that nobody reads."""
    given = {"apns": {"headers": {"apns-priority": "5"}}, "webpush": {"notification": {"vibrate": [1]}}}
    message = Message(title="Flood", body="Leave", url="https://example.com/f", options={"fcm": given})
    everywhere = content(message)
    for device, part, others in (
        ("android", "android", {"apns", "webpush"}),
        ("ios", "apns", {"android", "webpush"}),
        ("web", "webpush", {"android", "apns"}),
    ):
        wanted = {name: value for name, value in everywhere.items() if name not in others}
        assert part in wanted
        assert content(message, devices=frozenset({device})) == wanted


def test_an_app_without_androids_can_be_asleep_without_a_quiet_channel() -> None:
    message = Message(title="Flood", body="Leave")
    with pytest.raises(PayloadError, match="on Android it would ring"):
        payload.render(message, CAMPAIGN, Presentation.ASLEEP)
    app = payload.KnownApp(devices=frozenset({"ios", "web"}))
    tail = payload.render(message, CAMPAIGN, Presentation.ASLEEP, app).tail
    assert b"passive" in tail
    assert b"android" not in tail


def test_data_for_devices_that_the_app_is_not_on_is_no_content() -> None:
    given = {"notification": None, "webpush": {"data": {"a": "b"}}}
    message = Message(title="", body="", options={"fcm": given})
    assert "notification" not in content(message)
    with pytest.raises(PayloadError, match=r"message\.data: is empty"):
        content(message, devices=frozenset({"android"}))


def camel(value: Any) -> Any:
    """Google's other spelling, of the names that are Google's."""
    if not isinstance(value, dict):
        return value
    return {
        re.sub(r"_([a-z])", lambda letter: letter[1].upper(), name): inner
        if name in ("data", "headers", "payload")
        else camel(inner)
        for name, inner in value.items()
    }


def without(path: str) -> Any:
    """EVERYTHING's value at a dotted path."""
    value: Any = EVERYTHING
    for name in path.split("."):
        value = value[name]
    return value


def test_everything_that_fcm_documents_is_carried_and_taken_by_a_strict_twin() -> None:
    said = sent(EVERYTHING)
    assert said["android"] == EVERYTHING["android"]
    assert said["notification"] == {"title": "Flood", "body": "Leave the valley", **EVERYTHING["notification"]}
    assert said["fcm_options"] == EVERYTHING["fcm_options"]
    assert said["webpush"]["headers"] == {"TTL": "60", "Topic": CAMPAIGN, "Urgency": "high"}
    assert said["webpush"]["notification"] == {"tag": CAMPAIGN, **without("webpush.notification")}
    assert said["apns"]["headers"] == {"apns-collapse-id": CAMPAIGN, "apns-priority": "10"}
    assert said["apns"]["payload"] == {"aps": {"sound": "default", "badge": 1}, "story": {"id": 7}}
    assert said["apns"]["live_activity_token"] == "abc"


def test_both_spellings_of_a_name_are_one() -> None:
    assert sent(camel(EVERYTHING)) == sent(EVERYTHING)
    assert camel(EVERYTHING) != EVERYTHING


def test_a_lower_case_priority_is_googles_own() -> None:
    assert sent({"android": {"priority": "normal"}})["android"]["priority"] == "NORMAL"


def test_an_option_elsewhere_leaves_the_repeat_replacing_the_first() -> None:
    said = sent({"android": {"notification": {"channel_id": "alerts"}}, "apns": {"headers": {"apns-priority": "5"}}})
    assert said["android"]["notification"]["tag"] == CAMPAIGN
    assert said["apns"]["headers"]["apns-collapse-id"] == CAMPAIGN
    assert said["webpush"]["headers"]["Topic"] == CAMPAIGN


def test_news_is_collapsed_on_the_screen_alone_unless_the_editor_names_a_slot() -> None:
    """B8: FCM keeps four collapse keys a phone, so a key of each campaign's own loses the news beyond the fourth."""
    assert "collapse_key" not in sent({})["android"]
    assert "collapse_key" not in sent({"notification": None}, title="", body="", data={"story": "7"})["android"]
    assert sent({})["android"]["notification"]["tag"] == CAMPAIGN
    assert sent({"android": {"collapse_key": "weather"}})["android"]["collapse_key"] == "weather"


def test_null_takes_a_default_away_and_header_names_have_no_case() -> None:
    said = sent(
        {
            "android": {"priority": None},
            "webpush": {"headers": {"topic": None, "ttl": "5"}},
            "apns": {"payload": {"aps": {"sound": None}}},
        }
    )
    assert "priority" not in said["android"]
    assert said["webpush"]["headers"] == {"ttl": "5"}
    assert said["apns"]["payload"] == {"aps": {}}


def test_a_message_of_data_alone_needs_no_text_and_shows_nothing() -> None:
    said = sent({"notification": None}, title="", body="", data={"story": "7"})
    assert "notification" not in said
    assert "notification" not in said["android"]
    assert said["webpush"]["headers"]["Topic"] == CAMPAIGN
    assert said["apns"]["payload"] == {"aps": {"content-available": 1}}
    assert said["apns"]["headers"]["apns-push-type"] == "background"
    assert said["apns"]["headers"]["apns-priority"] == "5"


@pytest.mark.parametrize(("title", "body"), [("", ""), (" ", "\n")])
def test_a_text_that_nobody_would_read_is_refused(title: str, body: str) -> None:
    with pytest.raises(PayloadError, match=r"^message\.title: is empty, and so is message\.body; write"):
        sent({}, title=title, body=body)


@pytest.mark.parametrize(("title", "body"), [("", "b"), ("t", " ")])
def test_a_title_or_a_body_alone_is_sent_alone(title: str, body: str) -> None:
    """D3: a body without a title was refused, though Google takes it."""
    assert sent({}, title=title, body=body)["notification"] == ({"title": "t"} if title else {"body": "b"})


@pytest.mark.parametrize("where", ["message", "android"])
def test_only_the_words_and_prefixes_that_google_reserves_are_refused(where: str) -> None:
    """D8: google_article_id and gcm_campaign were refused."""

    def with_key(name: str) -> dict[str, Any]:
        if where == "message":
            return sent({}, data={name: "1"})["data"]
        return sent({"android": {"data": {name: "1"}}})["android"]["data"]

    for name in ("google_article_id", "gcm_campaign", "googleplay"):
        assert name in with_key(name)
    for name in ("from", "google.x", "gcm.notification.x"):
        with pytest.raises(PayloadError, match="is reserved by FCM; rename it"):
            with_key(name)


def test_a_browser_opens_the_messages_address() -> None:
    """D7: webpush.fcm_options.link was not filled from the message's url."""
    assert sent({}, url="HTTPS://example.com/A")["webpush"]["fcm_options"] == {"link": "https://example.com/A"}
    own = sent({"webpush": {"fcm_options": {"link": "https://own.example"}}}, url="https://example.com")
    assert own["webpush"]["fcm_options"] == {"link": "https://own.example"}
    assert "fcm_options" not in sent({"webpush": {"fcm_options": None}}, url="https://example.com")["webpush"]
    for unopened in ("http://example.com", "newsapp://story/7"):
        assert "fcm_options" not in sent({}, url=unopened)["webpush"], "Google takes only https"


def test_a_text_may_be_the_apps_own() -> None:
    keys = {"title_loc_key": "flood_title", "body_loc_key": "flood_body"}
    said = sent({"android": {"notification": keys}}, title="", body="")
    assert "notification" not in said
    assert said["android"]["notification"] == {"tag": CAMPAIGN, **keys}


def test_a_message_of_nothing_is_refused() -> None:
    with pytest.raises(PayloadError, match="needs data"):
        sent({"notification": None}, title="", body="")


def test_the_address_stays_where_a_platform_has_data_of_its_own() -> None:
    said = sent({"android": {"data": {"a": "1"}}, "webpush": {"data": {"b": "2"}}}, url="https://example.com")
    assert said["android"]["data"] == {"url": "https://example.com", "a": "1"}
    assert said["webpush"]["data"] == {"url": "https://example.com", "b": "2"}
    assert said["data"] == {"url": "https://example.com"}


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("android.notification.color", "red", '"red" is not #rrggbb'),
        ("android.notification.color", "#ff0000\n", r'"#ff0000\n" is not #rrggbb'),
        ("android.ttl", "2419200.1s", '"2419200.1s" is not a duration like "3600s", from 0s to 2419200s'),
        ("android.ttl", 3600, '3600 is not a duration like "3600s"'),
        ("android.ttl", "-1s", '"-1s" is not a duration'),
        ("android.priority", "URGENT", '"URGENT" is not HIGH or NORMAL'),
        ("android.direct_boot_ok", "yes", '"yes" is not true or false'),
        ("android.restricted_package_name", "news", "is not a package like com.example.news"),
        ("android.data", {"story": 7}, "story: 7 is not a text"),
        ("android.data", {"message_type": "x"}, 'the key "message_type" is reserved by FCM; rename it'),
        ("android.notification.notification_priority", "HIGH", "is not one of PRIORITY_UNSPECIFIED, PRIORITY_MIN"),
        ("android.notification.visibility", "public", "is not one of VISIBILITY_UNSPECIFIED, PRIVATE"),
        ("android.notification.proxy", "NO", "is not one of PROXY_UNSPECIFIED, ALLOW"),
        ("android.notification.vibrate_timings", ["1s", "1"], '[1]: "1" is not a duration like "0.5s"'),
        ("android.notification.notification_count", True, "true is not a whole number from 0"),
        ("android.notification.notification_count", -1, "-1 is not a whole number from 0"),
        ("android.notification.event_time", "2026-11-23T18:00:00", "is not a moment like"),
        ("android.notification.body_loc_args", [1], "[0]: 1 is not a text"),
        ("android.notification.light_settings.color.red", 1.5, "1.5 is not a number from 0 to 1"),
        ("android.notification.light_settings", {"color": {}}, ".light_on_duration: is missing; a duration"),
        ("notification.image", "flood.jpg", "is not an http or https address"),
        ("webpush.fcm_options.link", "http://example.com", "is not an https address"),
        ("webpush.headers", {"Urgency": "soon"}, 'Urgency: "soon" is not one of very-low'),
        ("webpush.headers", {"Topic": "x" * 33}, "is not 1 to 32 of"),
        ("webpush.headers", {"Authorization": "x"}, "Authorization: is not a header that may be set here"),
        ("apns.headers", {"apns-priority": "7"}, '"7" is not 1, 5 or 10'),
        ("apns.headers", {"apns-priority": 10}, "apns-priority: 10 is not a text"),
        ("apns.headers", {"apns-collapse-id": "x" * 65}, "is not 1 to 64 characters"),
        ("android.notification.event_time", "2026-11-23 18:00:00Z", "is not a moment like"),
        ("apns.payload.aps", "x", '"x" is not an object of Apple'),
        ("apns.payload", "x", '"x" is not an object'),
        ("fcm_options.analytics_label", "x" * 51, "is not 1 to 50 of"),
        ("android", [], "[] is not an object"),
        ("android.notifcation", {}, "unknown field; the known ones: collapse_key, priority"),
        ("andriod", {}, "unknown field; the known ones: notification, android"),
        ("android.notification.titleLocKey", "x", "title_loc_key: is given twice"),
    ],
)
def test_a_wrong_option_is_told_by_field_value_and_remedy(path: str, value: Any, words: str) -> None:
    wrong = json.loads(json.dumps(EVERYTHING))
    *parents, last = path.split(".")
    inner = wrong
    for name in parents:
        inner = inner[name]
    inner[last] = value
    with pytest.raises(PayloadError) as caught:
        sent(wrong)
    text = str(caught.value)
    assert text.startswith("message.options.fcm.")
    assert path.replace("titleLocKey", "title_loc_key") in text
    assert words in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("fcm", "devices"),
    [
        ({"android": {"notification": {"ticker": "x" * 4_000}}}, "Android"),
        ({"apns": {"payload": {"story": "x" * 4_000}}}, "iPhones"),
        ({"webpush": {"notification": {"icon": "x" * 4_000}}}, "browsers"),
    ],
)
def test_what_one_kind_of_device_cannot_take_is_refused(fcm: dict[str, Any], devices: str) -> None:
    with pytest.raises(
        PayloadError, match=rf"bytes for FCM \({devices}\), which takes 4096: [0-9]+ too many; shorten it"
    ):
        sent(fcm, body="x" * 100)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


def paths(value: Any, before: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(value, dict):
        return [before]
    return [before, *(path for name, inner in value.items() for path in paths(inner, (*before, name)))]


@given(st.sampled_from([path for path in paths(EVERYTHING) if path]), json_values)
def test_whatever_is_taken_here_is_taken_by_a_strict_twin(path: tuple[str, ...], value: Any) -> None:
    fcm = json.loads(json.dumps(EVERYTHING))
    inner = fcm
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    with contextlib.suppress(PayloadError):
        sent(fcm)
