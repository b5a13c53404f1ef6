"""A request is bounded in bytes, levels, names and digits; its error names the field, the size and the bound."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
import structlog.testing

from broadside.api import bounds, strict_json
from broadside.api.campaign_report import FireRequest
from storage.errors import VerbRefused
from storage.store import Store
from tests.broadside.test_api import api, app, put, subscriber

__all__ = ["api", "app"]
# the test's own client does not end the sending of a body of which the node reads only a part
pytestmark = pytest.mark.filterwarnings("ignore:Async generator 'httpx._content:ResourceWarning")


def wanted(**message: Any) -> dict[str, Any]:
    return {"message": {"title": "t", "body": "b", **message}}


async def refused(api: httpx.AsyncClient, body: Any) -> dict[str, Any]:
    """Fire ``body``: it must be refused as the client's mistake, in a small answer, and nothing may be stored."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = await api.post("/v1/campaigns", content=content)
    assert answer.status_code in (400, 413), answer.text
    assert len(answer.content) < 2_000
    assert (await api.get("/v1/campaigns")).json()["items"] == []
    error: dict[str, Any] = answer.json()
    assert error["remedy"]
    return error


def nested(levels: int) -> list[Any]:
    inner: list[Any] = []
    for _ in range(levels - 1):
        inner = [inner]
    return inner


LARGEST: Mapping[str, Any] = {
    "title": "x" * bounds.LONGEST_TEXT,
    "body": "é" * (bounds.LONGEST_TEXT // 2),
    "url": "https://example.com/".ljust(bounds.LONGEST_URL, "x"),
    "data": {"k": "x" * (bounds.LONGEST_TEXT - len('{"k":""}'))},
    "options": {"apns": {"data": {"k": "x" * (bounds.LARGEST_OPTIONS - len('{"apns":{"data":{"k":""}}}'))}}},
}


async def test_each_field_of_a_message_has_a_largest_size_in_bytes(api: httpx.AsyncClient) -> None:
    """S15: titles of 3.9 MB were stored, and travelled with every report."""

    def grown(value: Any) -> Any:
        return value + "x" if isinstance(value, str) else {key: grown(inner) for key, inner in value.items()}

    for name, largest in LARGEST.items():
        error = await refused(api, wanted(**{name: grown(largest)}))
        assert error["field"] == f"message.{name}"
        assert "bytes" in error["detail"]
        assert "at most" in error["remedy"]
    for name, largest in LARGEST.items():
        body = {**wanted(**{name: largest}), "channels": ["android"]}
        assert (await api.post("/v1/campaigns", content=json.dumps(body))).status_code == 201


async def test_options_of_a_platform_that_gets_nothing_are_bounded_and_checked(api: httpx.AsyncClient) -> None:
    """D6: 3 MB of them were stored and sent with every list, 6 MB were a 500, and nobody read them."""
    android = {"channels": ["android"]}
    for size in (100_000, 3_000_000):
        await refused(api, {**wanted(options={"apns": {"data": {"x": "y" * size}}}), **android})
    error = await refused(api, {**wanted(options={"apns": {"priority": 11}}), **android})
    assert error["field"] == "message.options.apns.priority"


async def test_a_body_too_large_for_a_campaign_is_refused_before_it_is_read_to_its_end(api: httpx.AsyncClient) -> None:
    """S15: 32 MB were read and parsed."""
    error = await refused(api, b'{"message":{"title":"' + b"x" * bounds.LARGEST_CAMPAIGN + b'","body":"b"}}')
    assert error["detail"] == f"the body is larger than {bounds.LARGEST_CAMPAIGN:,} bytes"


async def test_a_request_names_a_bounded_number_of_channels(api: httpx.AsyncClient) -> None:
    """S15: 2.4 million names blocked the node for 10 s."""
    error = await refused(api, {**wanted(), "channels": ["a"] * (bounds.MOST_CHANNELS + 1)})
    assert (error["field"], error["detail"]) == (
        "channels",
        "channels: has 1,001 names (at most 1,000; leave the field out for all channels)",
    )
    error = await refused(api, {**wanted(), "channels": ["ios", "x" * 33]})
    assert error["field"] == "channels[1]"


async def test_a_number_with_too_many_digits_is_a_mistake_of_the_request(api: httpx.AsyncClient) -> None:
    """S15: a number of thousands of digits was a 500."""
    for digits in (20, 4_000, 5_000):
        await one_number(api, b"9" * digits)


async def one_number(api: httpx.AsyncClient, number: bytes) -> None:
    await refused(api, b'{"message":{"title":"t","body":"b","options":{"apns":{"data":{"n":' + number + b"}}}}}")
    await refused(api, b'{"message":{"title":"t","body":"b"},"ttl_seconds":' + number + b"}")
    for path in ("/v1/subscribers?cursor=", "/v1/subscribers?limit=", "/v1/tubes/ios/buried?limit="):
        answer = await api.get(path + number.decode())
        assert (answer.status_code, answer.json()["field"]) == (400, path.rpartition("?")[2][:-1])
    row = json.dumps(subscriber(1)).encode()[:-1] + b',"registered_at":' + number + b"}"
    answer = await api.post("/v1/subscribers", content=row)
    if len(number) > 4_300:  # no JSON for us, as for most
        assert answer.status_code == 400
    else:
        assert answer.json()["dropped"]["registered_at"]["count"] == 1, "the phone is kept without it"


async def test_a_body_nested_too_deeply_is_a_mistake_of_the_request(api: httpx.AsyncClient) -> None:
    """S15, D4: deep options were a 500 in plain text."""
    for levels in (bounds.DEEPEST, 400, 20_000):
        await one_depth(api, levels)


async def one_depth(api: httpx.AsyncClient, levels: int) -> None:
    deep = b"[" * levels + b"]" * levels
    error = await refused(api, b'{"message":{"title":"t","body":"b","options":{"apns":{"data":{"x":' + deep + b"}}}}}")
    assert "is nested too deeply (at most 16 levels" in error["detail"]
    for path, body in (("/v1/subscribers", b'{"x":' + deep + b"}"), ("/v1/dead/confirm", deep)):
        answer = await api.post(path, content=body)
        assert answer.status_code in (400, 413)
        assert answer.json()["detail"]


async def test_options_may_be_as_deep_as_the_bound(api: httpx.AsyncClient) -> None:
    """S15."""
    options = {"apns": {"data": {"x": nested(bounds.DEEPEST - 5)}}}
    answer = await api.post("/v1/campaigns", content=json.dumps({**wanted(options=options), "channels": ["android"]}))
    assert answer.status_code == 201, answer.text


async def test_a_body_that_is_not_utf_8_is_a_mistake_of_the_request(api: httpx.AsyncClient) -> None:
    """D4: it was a 500 in plain text."""
    body = json.dumps(wanted(title="Größere Störung"), ensure_ascii=False)
    for coding in ("latin-1", "utf-16"):
        assert (await refused(api, body.encode(coding)))["field"] == "body"
        answer = await api.post("/v1/subscribers", content=json.dumps(["ä"], ensure_ascii=False).encode(coding))
        assert (answer.status_code, answer.json()["field"]) == (400, "body")


UNFIT = ("\x00", "\x1b[2J", "\x7f", "\x9b31m", "\u202e")
PLACES = ("title", "body", "url", "data", "data key", "options", "channels")


async def test_a_text_with_control_characters_is_refused(api: httpx.AsyncClient) -> None:
    """D5, S13: ESC, NUL and RLO in titles and keys were stored, sent and printed."""
    for where, unfit in itertools.product(PLACES, UNFIT):
        await one_text(api, where, unfit)


async def one_text(api: httpx.AsyncClient, where: str, unfit: str) -> None:
    text = f"https://a.example/{unfit}"
    fields: dict[str, Any] = {
        where: text,
        "data": {"k": text} if where == "data" else {},
        "options": {"apns": {"data": {"k": [text]}}} if where == "options" else {},
    }
    if where == "data key":
        fields = {"data": {text: "1"}}
    body = {**wanted(), "channels": [text]} if where == "channels" else wanted(**fields)
    error = await refused(api, body)
    assert f"U+{ord(unfit[0]):04X}" in error["detail"]
    assert unfit not in error["detail"]


async def test_line_breaks_joiners_and_marks_of_direction_belong_to_a_text(api: httpx.AsyncClient) -> None:
    """D5: Persian, Arabic and emoji texts need them."""
    text = "اول\u200cدوم\r\n\tשלום \u2067abc\u2069 👩\u200d🚒"
    answer = await api.post("/v1/campaigns", content=json.dumps(wanted(title=text, body=text)))
    assert (answer.status_code, answer.json()["message"]["title"]) == (201, text)


NO_LINKS = ("", " ", "https://example.com/a b", "javascript:alert(1)", "DATA:text/html,x", "https:///story", "story/7")
LINKS = ("newsapp://story/7?a=b", "HTTPS://BÜCHER.example/ä", "intent://x#Intent;scheme=news;end", "https://[::1]:8/x")


async def test_a_url_is_a_link_that_a_phone_can_open(api: httpx.AsyncClient) -> None:
    """D7: an empty or nonsensical one was sent."""
    for url in NO_LINKS:
        assert (await refused(api, wanted(url=url)))["field"] == "message.url"
    for url in LINKS:
        answer = await api.post("/v1/campaigns", content=json.dumps(wanted(url=url)))
        assert (answer.status_code, answer.json()["message"]["url"]) == (201, url)


async def test_a_page_of_the_base_is_bounded_in_bytes_and_the_next_one_goes_on(api: httpx.AsyncClient) -> None:
    """S15: one page had 142 MB."""
    fields = {f"{n}": "x" * 1024 for n in range(7)}
    for start in range(0, 800, 200):
        rows = [subscriber(start + n, fields=fields) for n in range(200)]
        assert (await put(api, *rows))["inserted"] == 200
    ids: list[int] = []
    pages = 0
    cursor = ""
    while cursor is not None:
        answer = await api.get(f"/v1/subscribers?limit=5000&cursor={cursor}")
        assert len(answer.content) < 5 << 20
        cursor = answer.json()["next"]
        ids += [row["id"] for row in answer.json()["items"]]
        pages += 1
    assert (len(ids), len(set(ids))) == (800, 800)
    assert pages > 2


async def test_channels_that_nobody_serves_get_no_rows_even_before_a_node_has_joined(api: httpx.AsyncClient) -> None:
    """S15: rows for 100,000 unknown channels were taken, and each channel got a count in the store."""
    rows = [{"channel": f"unknown-{n}", "token": "aa"} for n in range(5_000)]
    answer = await put(api, *rows)
    assert (answer["inserted"], answer["refused"], len(answer["faults"])) == (0, 5_000, 100)
    assert {fault["field"] for fault in answer["faults"]} == {"channel"}
    assert (await api.get("/v1/subscribers/count")).json()["total"] == 0


async def test_a_500_is_logged_under_an_id_that_its_answer_carries(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S15: a 500 was plain text, and some were in no log."""
    for error in (ValueError("a secret token"), VerbRefused("store.x", 1, "no such index")):
        await one_failure(api, monkeypatch, error)


async def one_failure(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    async def broken(store: Store) -> dict[str, int]:
        raise error

    monkeypatch.setattr(Store, "subscribers_count", broken)
    with structlog.testing.capture_logs() as lines:
        answer = await api.get("/v1/subscribers/count")
    assert answer.status_code == 500
    told = answer.json()
    assert "secret" not in answer.text
    assert told["id"] in told["remedy"]
    (line,) = (line for line in lines if line["event"] == "a request failed")
    assert (line["id"], line["path"], line["exc_info"]) == (told["id"], "/v1/subscribers/count", error)


async def test_a_500_of_a_fire_has_an_id_too_and_says_whether_it_fired(
    api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S15."""

    async def refuses(*arguments: Any, **named: Any) -> None:
        raise VerbRefused("store.campaign_create", 1, "no such index")

    monkeypatch.setattr(Store, "campaign_create", refuses)
    with structlog.testing.capture_logs() as lines:
        answer = await api.post("/v1/campaigns", content=json.dumps(wanted()))
    error = answer.json()
    assert (answer.status_code, error["fired"]) == (500, "no")
    assert error["id"] in [line.get("id") for line in lines]


def test_the_largest_request_holds_the_node_up_for_less_than_a_second() -> None:
    """S15: one request blocked the loop for 10 s. The bound on bytes bounds the time too."""
    names = b",".join([b'""'] * (bounds.LARGEST_CAMPAIGN // 3 - 30))
    body = b'{"message":{"title":"t","body":"b"},"channels":[' + names + b"]}"
    assert bounds.LARGEST_CAMPAIGN * 0.99 < len(body) <= bounds.LARGEST_CAMPAIGN
    began = time.process_time()
    problem = bounds.request_problem(strict_json.decode(body, FireRequest, "a campaign"))
    took = time.process_time() - began
    assert problem is not None
    assert problem.where == "channels"
    assert took < 0.5
