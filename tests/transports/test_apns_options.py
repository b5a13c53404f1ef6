"""What only Apple's phones understand: every rule that Apple has is kept before anything is sent."""

from __future__ import annotations

import json

import pytest

from campaigns.message import Message
from campaigns.outcome import Outcome
from transports.apns import payload
from transports.apns.push_types import PUSH_TYPES
from transports.errors import PayloadError

LIVE = {"timestamp": 1_700_000_000, "event": "update", "content-state": {"goals": 2}}
START = LIVE | {"event": "start", "attributes-type": "Match", "attributes": {"home": "A"}}


def message(options=None, title="Flood", body="Leave now", **more):
    return Message(title=title, body=body, options={} if options is None else {"apns": options}, **more)


def aps(options, **more):
    return json.loads(payload.render(message(options, **more)).body)["aps"]


def typed(kind, **keys):
    return {"push_type": kind, "aps": keys}


def test_every_key_of_an_alert_arrives_as_it_was_given():
    given = {
        "alert": {
            "title": "T",
            "subtitle": "S",
            "body": "B",
            "launch-image": "L.png",
            "title-loc-key": "TK",
            "title-loc-args": ["1"],
            "subtitle-loc-key": "SK",
            "subtitle-loc-args": ["2"],
            "loc-key": "K",
            "loc-args": ["3", "4"],
        },
        "badge": 0,
        "sound": {"critical": 1, "name": "siren.caf", "volume": 0.5},
        "thread-id": "floods",
        "category": "ALARM",
        "content-available": 1,
        "mutable-content": 1,
        "target-content-id": "window-1",
        "interruption-level": "critical",
        "relevance-score": 1,
        "filter-criteria": "work",
    }
    assert aps({"aps": given}) == given


def test_every_key_of_a_live_activity_arrives_as_it_was_given():
    given = START | {
        "alert": {"title": {"loc-key": "K", "loc-args": ["x"]}, "body": "B", "sound": "s.caf"},
        "stale-date": 1_700_000_100,
        "dismissal-date": 1_700_000_200,
        "input-push-channel": "dHN0LXNyY2gtY2hubA==",
        "relevance-score": 75,
    }
    assert aps(typed("liveactivity", **given)) == given


def test_the_messages_own_texts_fill_what_an_alert_leaves_open():
    plain = {"title": "Flood", "body": "Leave now"}
    assert aps({"aps": {"alert": {"subtitle": "River"}}})["alert"] == plain | {"subtitle": "River"}
    assert aps({"aps": {"alert": {"title": "Other"}}})["alert"] == plain | {"title": "Other"}
    assert aps({"aps": {"alert": "only this"}})["alert"] == "only this"
    assert aps({"aps": {"alert": {"loc-key": "K"}}})["alert"] == {"title": "Flood", "loc-key": "K"}
    assert aps({"aps": {"alert": {"loc-key": "K", "title-loc-key": "T"}}}, title="", body="")["alert"] == {
        "loc-key": "K",
        "title-loc-key": "T",
    }


def test_null_takes_the_sound_and_the_alert_away():
    assert "sound" not in aps({"aps": {"sound": None}})
    assert aps({"aps": {"alert": None, "badge": 3}}, title="", body="") == {"badge": 3}


def test_an_update_of_a_live_activity_is_silent_unless_it_says_something():
    assert aps(typed("liveactivity", **LIVE), title="", body="") == LIVE
    assert aps(typed("liveactivity", **LIVE, alert=None)) == LIVE
    assert aps(typed("liveactivity", **LIVE))["alert"] == {"title": "Flood", "body": "Leave now"}
    assert aps(typed("liveactivity", event="end", timestamp=1), title="", body="") == {"event": "end", "timestamp": 1}


def test_a_push_without_an_alert_needs_no_text_and_shows_none():
    for kind, expected in {
        "background": {"content-available": 1},
        "widgets": {"content-changed": True},
        "controls": {"content-changed": True},
        "voip": {},
        "complication": {},
        "fileprovider": {},
        "location": {},
        "pushtotalk": {},
    }.items():
        assert aps({"push_type": kind}, title="", body="") == expected
        assert aps({"push_type": kind}) == expected
    mdm = payload.render(message({"push_type": "mdm", "data": {"mdm": "magic"}}, title="", body=""))
    assert json.loads(mdm.body) == {"mdm": "magic"}


def test_the_apps_own_keys_stand_beside_aps_whatever_json_they_are():
    push = payload.render(message({"data": {"story": {"id": 7, "tags": ["a"]}}}, url="https://x", data={"a": "b"}))
    rendered = json.loads(push.body)
    del rendered["aps"]
    assert rendered == {"story": {"id": 7, "tags": ["a"]}, "url": "https://x", "a": "b"}


@pytest.mark.parametrize("kind", PUSH_TYPES)
def test_the_usual_priority_is_one_that_apple_allows(kind):
    keys = {"liveactivity": LIVE}.get(kind, {})
    push = payload.render(message({"push_type": kind, "aps": keys, "data": {"mdm": "m"}}))
    assert push.priority == (5 if kind == "background" else 10)


@pytest.mark.parametrize(("kind", "limit"), [("alert", 4_096), ("background", 4_096), ("voip", 5_120)])
def test_a_body_may_be_as_large_as_its_type_allows_and_not_larger(kind, limit):
    bare = len(payload.render(message({"push_type": kind, "data": {"x": ""}})).body)
    assert len(payload.render(message({"push_type": kind, "data": {"x": "y" * (limit - bare)}})).body) == limit
    with pytest.raises(PayloadError, match=f"{limit + 1} bytes for APNs, which takes {limit}.*; shorten it"):
        payload.render(message({"push_type": kind, "data": {"x": "y" * (limit - bare + 1)}}))


REFUSED = {
    "an unknown option": ({"prority": 5}, "message.options.apns.prority: unknown key; did you mean priority?"),
    "an unknown key of aps": ({"aps": {"thread_id": "x"}}, ".aps.thread_id: unknown key; did you mean thread-id?"),
    "an unknown key of the alert": ({"aps": {"alert": {"text": "x"}}}, ".aps.alert.text: unknown key; "),
    "an unknown key of the sound": ({"aps": {"sound": {"name": "x", "loud": 1}}}, ".aps.sound.loud: unknown key; "),
    "a sound without a name": ({"aps": {"sound": {"critical": 1}}}, ".aps.sound.name: is missing; write a text"),
    "an unknown type": ({"push_type": "alarm"}, '.push_type: "alarm" is not allowed; use one of alert, background'),
    "a type that is no text": ({"push_type": 1}, ".push_type: 1 is not allowed; use one of alert"),
    "an unknown priority": ({"priority": 7}, ".priority: 7 is not allowed; use 10 (now)"),
    "priority as text": ({"priority": "10"}, '.priority: "10" is not allowed; use 10'),
    "an urgent background push": (
        {"push_type": "background", "priority": 10},
        "message.options.apns.priority: 10 is not allowed for background; use 5",
    ),
    "a lazy location push": ({"push_type": "location", "priority": 1}, "not allowed for location; use 10 or 5"),
    "a lazy Live Activity": (typed("liveactivity", **LIVE) | {"priority": 1}, "not allowed for liveactivity"),
    "a collapse id too long": ({"collapse_id": "x" * 65}, ".collapse_id: "),
    "an empty collapse id": ({"collapse_id": ""}, '.collapse_id: "" is not allowed; write 1 to 64 printable ASCII'),
    "a header in a collapse id": ({"collapse_id": "a\r\nb: c"}, ".collapse_id: "),
    "a negative badge": ({"aps": {"badge": -1}}, ".aps.badge: -1 is not allowed; write a whole number"),
    "a badge as text": ({"aps": {"badge": "1"}}, '.aps.badge: "1" is not allowed'),
    "a sound too loud": ({"aps": {"sound": {"name": "x", "volume": 1.5}}}, ".aps.sound.volume: 1.5 is not allowed"),
    "a sound neither critical nor not": ({"aps": {"sound": {"name": "x", "critical": 2}}}, ".aps.sound.critical: 2"),
    "a flag as boolean": ({"aps": {"mutable-content": True}}, ".aps.mutable-content: true is not allowed; write 1"),
    "an unknown level": ({"aps": {"interruption-level": "loud"}}, '.aps.interruption-level: "loud" is not allowed'),
    "a score too high": ({"aps": {"relevance-score": 2}}, ".aps.relevance-score: 2.0 is not allowed"),
    "loc-args that are no texts": ({"aps": {"alert": {"loc-args": [1]}}}, ".aps.alert.loc-args: 1 is not allowed"),
    "a Live Activity's text in an alert": (
        {"aps": {"alert": {"title": {"loc-key": "K"}}}},
        ".aps.alert.title: ",
    ),
    "a Live Activity's sound in an alert": ({"aps": {"alert": {"sound": "x"}}}, "put it into aps.sound"),
    "a Live Activity's key in an alert": (
        {"aps": {"event": "end"}},
        '.aps.event: "end" has no place in a push of type alert; it takes alert, badge',
    ),
    "nothing to show": ({"aps": {"alert": None}}, ".aps.alert: null leaves nothing to show"),
    "an alert in the background": (
        typed("background", alert="x"),
        '.aps.alert: "x" has no place in a push of type background; it takes content-available',
    ),
    "a badge in the background": (
        typed("background", badge=1),
        ".aps.badge: 1 has no place in a push of type background",
    ),
    "aps in an mdm push": (typed("mdm", badge=1) | {"data": {"mdm": "m"}}, "a push of type mdm; it has no aps"),
    "an mdm push of nothing": ({"push_type": "mdm"}, "message.data: is empty"),
    "a widget that has not changed": (typed("widgets", **{"content-changed": False}), "content-changed: false is not"),
    "a Live Activity without event": ({"push_type": "liveactivity"}, ".aps.event: is missing"),
    "an unknown event": (typed("liveactivity", event="stop"), '.aps.event: "stop" is not allowed; use start, update'),
    "a Live Activity without time": (typed("liveactivity", event="update"), ".aps.timestamp: is missing"),
    "a time in milliseconds": (
        typed("liveactivity", **LIVE | {"timestamp": 1_700_000_000_000}),
        ".aps.timestamp: 1700000000000 is not allowed; write seconds since 1970",
    ),
    "an update of nothing": (typed("liveactivity", event="update", timestamp=1), ".aps.content-state: is missing"),
    "a start without attributes": (
        typed("liveactivity", **LIVE | {"event": "start"}),
        ".aps.attributes-type: is missing; a Live Activity's start needs it",
    ),
    "a start without alert": (typed("liveactivity", **START, alert=None), "a Live Activity's start needs an alert"),
    "an update with attributes": (typed("liveactivity", **START | {"event": "update"}), ".aps.attributes-type: has no"),
    "two ways of input": (
        typed("liveactivity", **START, **{"input-push-token": 1, "input-push-channel": "x"}),
        ".aps.input-push-token: excludes input-push-channel",
    ),
    "a taken key": ({"data": {"aps": 1}}, 'message.options.apns.data: the key "aps" is taken on APNs; rename it'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_apple_would_refuse_is_one_line_with_key_value_and_remedy(name):
    options, words = REFUSED[name]
    with pytest.raises(PayloadError) as caught:
        payload.render(message(options))
    said = str(caught.value)
    assert words in said
    assert said.startswith("message.")
    assert "; " in said
    assert "\n" not in said


@pytest.mark.parametrize(("title", "body"), [("", ""), (" ", "\n")])
@pytest.mark.parametrize("options", [None, {}, {"aps": {"badge": 1}}, typed("liveactivity", **START)])
def test_an_alert_without_text_is_refused_by_name(title, body, options):
    with pytest.raises(PayloadError, match=r"^message.title: is empty, and so is message.body; write what people"):
        payload.render(message(options, title=title, body=body))


@pytest.mark.parametrize(("title", "body"), [("", "b"), ("t", "\n")])
def test_an_alert_of_a_title_or_a_body_alone_is_sent_alone(title, body):
    """D3: a body without a title was refused, though Apple takes it."""
    alert = json.loads(payload.render(message(None, title=title, body=body)).body)["aps"]["alert"]
    assert alert == ({"title": "t"} if title else {"body": "b"})


SENT = [
    ({"push_type": "background"}, "", "5"),
    ({"push_type": "voip"}, ".voip", "10"),
    ({"push_type": "complication"}, ".complication", "10"),
    ({"push_type": "fileprovider"}, ".pushkit.fileprovider", "10"),
    ({"push_type": "mdm", "data": {"mdm": "m"}}, "", "10"),
    ({"push_type": "location", "priority": 5}, ".location-query", "5"),
    (typed("liveactivity", **LIVE) | {"priority": 5}, ".push-type.liveactivity", "5"),
    ({"push_type": "pushtotalk"}, ".voip-ptt", "10"),
    ({"push_type": "widgets"}, ".push-type.widgets", "10"),
    ({"push_type": "controls"}, ".push-type.controls", "10"),
    ({"push_type": "alert", "priority": 1}, "", "1"),
]


@pytest.mark.parametrize(("options", "suffix", "priority"), SENT, ids=[each[0]["push_type"] for each in SENT])
async def test_a_type_goes_to_its_topic_with_its_priority(
    options, suffix, priority, peer, make_apns, make_batch, running
):
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(5, message=message(options | {"collapse_id": "match 7"})))
    assert outcomes.delivered == 5
    for seen in peer.seen:
        assert seen.headers["apns-topic"] == "com.example.news" + suffix
        assert seen.headers["apns-push-type"] == options["push_type"]
        assert seen.headers["apns-priority"] == priority
        assert seen.headers["apns-collapse-id"] == "match 7"


async def test_options_that_apple_would_refuse_are_found_by_check_and_send_nothing(
    peer, make_apns, make_batch, running
):
    wrong = message({"push_type": "background", "priority": 10})
    async with running(make_apns(peer)) as transport:
        with pytest.raises(PayloadError, match="use 5"):
            transport.check(wrong)
        outcomes = await transport.send(make_batch(3, message=wrong))
    assert [e.outcome for e in outcomes.exceptions] == [Outcome.REJECTED] * 3
    assert peer.seen == []
