"""What a script makes a twin say that no provider should: bodies that are none, frames that are forbidden."""

from __future__ import annotations

import contextlib
import struct
from typing import Any, get_args

import h2.exceptions
import pytest
import trio

from simulators.faults.forgery import Forgery, forge
from simulators.http2.framing import NAMES
from simulators.ledger import read_ledger
from tests.simulators.conftest import ALERT, Client, StartTwin, parse, token

HTML = "<html><body><h1>502 Bad Gateway</h1></body></html>"
#: The error code with which h2, another's implementation, ends the connection; None: it must go on.
CODES: dict[str, int | None] = {
    # COMPRESSION_ERROR by RFC 9113 §4.3, but h2 calls it PROTOCOL_ERROR.
    "bad-hpack": 1,
    "continuation-alone": 1,
    "continuation-flood": 1,
    "data-on-0": 1,
    "data-on-idle": 1,
    "headers-on-closed": 5,
    "headers-on-even": 1,
    "headers-on-idle": 1,
    "oversized": 6,
    "ping-flood": None,
    "ping-size": 6,
    "push-promise": 1,
    # A connection error by RFC 9113 §6.4, but h2 passes over it.
    "reset-on-idle": None,
    "settings-flood": None,
    "settings-size": 6,
    "settings-value": 3,
    "unknown-type": None,
    "window-overflow": 3,
    "window-zero": 1,
}


@pytest.mark.parametrize(
    ("rule", "status", "kind", "body"),
    [
        ({"body": '{"reason":"Bad', "status": 400}, 400, "application/json", b'{"reason":"Bad'),
        ({"status": 400}, 400, "application/json", b""),
        ({"status": 200, "body_bytes": 1_000_000}, 200, "application/json", b"x" * 1_000_000),
        ({"status": 500, "body": "ab", "body_bytes": 5}, 500, "application/json", b"ababa"),
        ({"status": 502, "content_type": "text/html", "body": HTML}, 502, "text/html", HTML.encode()),
        ({"status": 799, "content_type": ""}, 799, None, b""),
        ({"body": '["reason"]', "status": 410}, 410, "application/json", b'["reason"]'),
    ],
)
async def test_a_raw_answer_is_said_word_for_word(
    start_twin: StartTwin,
    apns_headers: dict[str, str],
    rule: dict[str, Any],
    status: int,
    kind: str | None,
    body: bytes,
) -> None:
    async with start_twin("apns", rules=[{"answer": "raw", **rule}]) as twin, twin.connect() as client:
        answer = await client.ask(f"/3/device/{token(1)}", apns_headers, ALERT)
        assert (answer.status, answer.headers.get("content-type"), answer.body) == (status, kind, body)
        assert twin.ledger.accepted == 0
        assert twin.ledger.refused == {f"raw {status}": 1}


async def test_a_raw_answer_may_hide_a_delivery(
    start_twin: StartTwin, apns_headers: dict[str, str], tmp_path: Any
) -> None:
    rules = [{"answer": "raw", "status": 504, "body": HTML, "delivered": True}]
    ledger = tmp_path / "ledger.jsonl"
    async with start_twin("apns", rules=rules, ledger=ledger) as twin, twin.connect() as client:
        assert (await client.ask(f"/3/device/{token(1)}", apns_headers, ALERT)).status == 504
        assert [entry.answered for entry in read_ledger(ledger)] == [504]


def test_every_forgery_is_tried() -> None:
    assert set(CODES) == set(get_args(Forgery))


@pytest.mark.parametrize("name", CODES)
async def test_a_forgery_is_what_its_name_says(
    start_twin: StartTwin, apns_headers: dict[str, str], name: Forgery
) -> None:
    """The judge is h2: it must find the fault, by the RFC's code."""
    fault = {"after": 1, "do": "illegal", "frame": name, "count": 200}
    async with start_twin("apns", connections=[fault], stream_window=1_000_000) as twin, twin.connect() as client:
        stream = client.request(f"/3/device/{token(1)}", apns_headers, ALERT)
        await client.flush()
        if CODES[name] is None:
            assert (await client.answer(stream)).status == 200
            assert (await client.ask(f"/3/device/{token(2)}", apns_headers, ALERT)).status == 200
            return
        with pytest.raises(h2.exceptions.ProtocolError):
            await client.read_until(lambda: False)
        await client.flush()
        await twin_heard_goaway(twin.ledger.refused, CODES[name])


async def twin_heard_goaway(refused: dict[str, int], code: int | None) -> None:
    wanted = f"the client's GOAWAY: {NAMES[code or 0]}"
    with trio.fail_after(3):
        while wanted not in refused:  # noqa: ASYNC110
            await trio.sleep(0.005)


@pytest.mark.parametrize(("name", "kind"), [("continuation-flood", 9), ("ping-flood", 6), ("settings-flood", 4)])
def test_a_flood_has_as_many_frames_as_it_was_told(name: Forgery, kind: int) -> None:
    assert [sent[0] for sent in parse(forge(name, 7, 321))].count(kind) == 321


async def test_a_connection_may_be_torn_in_the_middle_of_a_tls_record(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    fault = {"after": 3, "do": "cut", "unanswered": 1}
    async with start_twin("apns", connections=[fault], first_streams=1000) as twin, twin.connect() as client:
        streams = [client.request(f"/3/device/{token(n)}", apns_headers, ALERT) for n in range(3)]
        await client.flush()
        received = b""
        with trio.fail_after(5), contextlib.suppress(trio.BrokenResourceError):
            while data := await client.stream.receive_some(65_536):
                received += data
        # Four bytes of a frame's nine, and four of a record's 16,384: neither is ever whole.
        assert received.endswith(b"\x00\x00\x10\x01")
        answered = {of for kind, _, of, _ in parse(received[:-4]) if kind == 1}
        assert answered == set(streams[:2])
        assert twin.ledger.accepted == 3


async def test_a_small_window_of_the_script_slows_but_never_stalls(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    faults = [{"after": 3, "do": "settings", "initial_window_size": 300}]
    async with start_twin("apns", connections=faults, stream_window=1000) as twin, twin.connect() as client:
        for number in range(8):
            answer = await upload(client, f"/3/device/{token(number)}", apns_headers, ALERT.ljust(4000))
            assert answer == 200
        assert client.h2.remote_settings.initial_window_size == 300
        assert twin.ledger.accepted == 8
        assert not twin.ledger.refused


async def upload(client: Client, path: str, headers: dict[str, str], body: bytes) -> int:
    """Send a body larger than the stream's window, a piece at a time."""
    stream = client.request(path, headers, b"", method="POST") if not body else client.h2.get_next_available_stream_id()
    pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
    client.h2.send_headers(stream, [*pseudo, *headers.items()])
    while body:
        room = min(client.h2.local_flow_control_window(stream), len(body))
        if room:
            client.h2.send_data(stream, body[:room], end_stream=room == len(body))
            body = body[room:]
            await client.flush()
        else:
            await client.read_until(lambda: client.h2.local_flow_control_window(stream) > 0)
            assert client.h2.local_flow_control_window(stream) > 0
    return (await client.answer(stream)).status


async def test_a_stream_reset_names_the_scripts_code(start_twin: StartTwin, apns_headers: dict[str, str]) -> None:
    rules = [{"answer": "reset", "code": "INTERNAL_ERROR"}]
    async with start_twin("apns", rules=rules) as twin, twin.connect() as client:
        assert (await client.ask(f"/3/device/{token(1)}", apns_headers, ALERT)).reset == 2


def test_a_forged_value_is_beyond_the_limit() -> None:
    ((_, _, _, payload),) = parse(forge("settings-value", 1, 1))
    assert list(struct.iter_unpack(">HI", payload)) == [(4, 2**31)]
