"""A body that cannot be read is refused with the name of the field, its value and a remedy."""

from __future__ import annotations

import codecs
import json
import time

import pytest

from broadside.api import strict_json
from broadside.api.campaign_report import FireRequest
from broadside.errors import Problem, RecordError
from tests.broadside.sent_lines import sent


def problem(body: object) -> Problem:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RecordError) as caught:
        strict_json.decode(raw, FireRequest, "a campaign")
    return caught.value.problem


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": {"data": {"ok": "1", "id": 5, "x": "2"}}}, 'message.data.id: 5 is not a text (write "5")'),
        ({"message": {"data": {"live": True}}}, 'message.data.live: true is not a text (write "true")'),
        ({"message": {"data": {"a.b[0] c": ["x"]}}}, "message.data.a.b[0] c: an array is not a text"),
        ({"message": {"data": {"none": None}}}, "message.data.none: null is not a text (leave it out"),
        ({"message": {"options": {"apns": {}, "fcm": 5}}}, "message.options.fcm: 5 is not an object"),
        ({"message": {}, "channels": ["ios", 5]}, "channels[1]: 5 is not a text"),
        ({"message": {}, "ttl_seconds": 0}, "ttl_seconds: 0 is not a number of at least 1"),
        ({"message": {}, "ttl_seconds": "1h"}, 'ttl_seconds: "1h" is not a whole number'),
        ({"message": {}, "on_objection": "later"}, 'on_objection: "later" is none of the known words (one of refuse'),
        ({"channels": []}, "message: is missing"),
    ],
)
def test_a_field_of_the_wrong_type_is_named_with_its_value(body: object, said: str) -> None:
    """D2 [31]: the error was "$.message.data[...]", without the key and the value."""
    found = problem(body)
    assert str(found).startswith(said)
    assert found.remedy


def test_the_key_is_found_in_a_time_that_grows_with_the_body() -> None:
    """D2, S15: trying thousands of keys one by one, each with the rest of the body, would hold the node up."""
    data: dict[str, object] = {f"k{n}": "" for n in range(6_000)} | {"last": 7}
    begun = time.process_time()
    found = problem({"message": {"data": data}, "channels": [""] * 15_000})
    assert (found.where, found.value) == ("message.data.last", "7")
    assert time.process_time() - begun < 0.5


@pytest.mark.parametrize("form", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_recognised(form: str) -> None:
    """D4 [25]: "JSON is malformed: invalid character (byte 0)" does not say what to do."""
    body = json.dumps({"message": {"title": "Störung"}}, ensure_ascii=False)
    assert str(problem(body.encode(form))) == "body: is UTF-16 (send UTF-8)"


def test_latin_1_is_refused() -> None:
    """D4 [25]: it was a 500."""
    assert problem('{"message":{"title":"Störung"}}'.encode("latin-1")).remedy == "send UTF-8"


def test_a_byte_order_mark_before_utf_8_does_no_harm() -> None:
    """D4: some editors write it."""
    body = codecs.BOM_UTF8 + '{"message":{"title":"Störung"}}'.encode()
    assert strict_json.decode(body, FireRequest, "a campaign").message.title == "Störung"
    (row,) = sent(codecs.BOM_UTF8 + b'{"channel":"ios","token":"a"}')
    assert row.token == "a"
