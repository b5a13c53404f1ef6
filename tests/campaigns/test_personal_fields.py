"""Personal fields: what is put into the JSON of a push, against rendering each push by itself."""

from __future__ import annotations

import json
import random

import msgspec
import pytest

from campaigns import personal
from campaigns.message import Message, PlatformText, Text
from campaigns.recipient import PersonalRecipient, Recipient, pack_recipients, unpack_recipients

ODD = [
    '"',
    "\\",
    "\\u0001",
    "0\\u0002",
    "\u2028",
    "\u2029",
    "\u200f",
    "שלום",
    "👩‍👩‍👧",
    "e\u0301",
    "</script>",
    "{x|y}",
    "{",
    "}",
    "|",
]
NAMES = ["first_name", "team", "Stadt", "имя"]
LETTERS = "abc {}|\\\"'\u00e9\u05d0\u200d\u200c\u2066😀\ufdd0\ufffd"

Parts = list["str | tuple[str, str]"]


def some(draw: random.Random) -> str:
    """A text of odd pieces and odd letters."""
    pieces = [draw.choice(ODD) if draw.random() < 0.5 else "".join(draw.choices(LETTERS, k=3)) for _ in range(3)]
    return "".join(pieces[: draw.randrange(4)])


def parts_of(draw: random.Random) -> Parts:
    """Fields, with their defaults, among texts without fields."""
    found: Parts = []
    for _ in range(draw.randrange(5)):
        plain = some(draw).replace("|", "")
        default = "".join(letter for letter in some(draw) if letter not in "{}|")
        found.append((draw.choice(NAMES), default) if draw.random() < 0.5 else plain)
    return found


def written(parts: Parts) -> str:
    return "".join(f"{{{part[0]}|{part[1]}}}" if isinstance(part, tuple) else str(part) for part in parts)


def said(parts: Parts, own: dict[str, str]) -> str:
    """The slow way: put the values into the text, then make JSON of it."""
    text = ""
    for part in parts:
        if not isinstance(part, tuple):
            text += str(part)
            continue
        mine = own.get(part[0], "")
        fits = len(msgspec.json.encode(mine)) - 2 <= personal.LONGEST
        text += mine if mine.strip() and fits else part[1]
    return text


@pytest.mark.parametrize("seed", range(20))
def test_a_filled_gap_is_the_json_of_the_text_with_the_value_in_it(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(100):
        own = {name: draw.choice([some(draw), "x" * 128, "x" * 129, '"' * 64, '"' * 65]) for name in NAMES[:3]}
        compare(parts_of(draw), parts_of(draw), own)


def compare(title: Parts, body: Parts, own: dict[str, str]) -> None:
    """The bytes that are put together, and the JSON of the text with the values in it."""
    message = Message(title=written(title), body=written(body))
    fields = personal.fields(message)
    assert fields == tuple(sorted({part[0] for part in (*title, *body) if isinstance(part, tuple)}))
    marked = personal.marked(message, fields)
    expected = {"alert": {"title": said(title, own), "body": said(body, own)}, "end": "\\u0001"}
    if marked is None:
        assert not fields
        return
    rendered = {"alert": {"title": marked.message.title, "body": marked.message.body}, "end": "\\u0001"}
    blanks = marked.cut(msgspec.json.encode(rendered))
    filled = blanks.filled(personal.values(fields, own))
    assert json.loads(filled) == expected
    assert filled == msgspec.json.encode(expected), "byte for byte"
    longest = personal.at_longest(message)
    most = len(msgspec.json.encode({"alert": {"title": longest.title, "body": longest.body}, "end": "\\u0001"}))
    assert len(filled) <= most, "nobody's push is larger than the one that was checked"


def test_braces_of_any_other_form_are_text() -> None:
    message = Message(title="{} {1|2} {a b|c} {|x} {{", body="{a|{b}}")
    assert personal.fields(message) == ()
    assert personal.with_defaults(message) == message


def test_a_field_without_a_default_is_found_in_every_text() -> None:
    inside = PlatformText(texts={"pt-BR": Text(body="Oi {first_name}")})
    assert personal.without_default(Message(title="Hi {first_name|friend}", platforms={"fcm": inside})) == (
        "message.platforms.fcm.texts.pt-BR.body",
        "first_name",
    )
    assert personal.without_default(Message(title="{first_name|}, look")) is None


def test_only_a_campaign_with_personal_fields_carries_values() -> None:
    plain = [Recipient(7, "t", "token", 1, "pt-BR"), Recipient(2**63, "u" * 200, "fid", 2, "")]
    theirs = [
        PersonalRecipient(7, "t", "token", 1, "pt-BR", ("Zoë", "")),
        PersonalRecipient(8, "u", "fid", 2, "", ("", "")),
    ]
    assert unpack_recipients(pack_recipients(plain)) == plain
    assert unpack_recipients(pack_recipients(theirs)) == theirs
    assert msgspec.msgpack.decode(pack_recipients(plain))[0] == [7, "t", "token", 1, "pt-BR"], "no octet more"
    assert unpack_recipients(pack_recipients([])) == []
    for count in (1, 15, 16, 500, 70_000):  # each form of an array's head
        many = theirs[:1] * count
        assert unpack_recipients(pack_recipients(many)) == many
