"""What a script does to whole connections, and what a twin does at its end."""

from __future__ import annotations

import json

import h2.exceptions
import pytest
import trio

from simulators.ledger import Ledger
from tests.simulators.conftest import ALERT, PREFACE, Client, StartTwin, frame, parse, token


async def burst(client: Client, headers: dict[str, str], count: int, start: int = 0) -> list[int]:
    streams = [client.request(f"/3/device/{token(start + n)}", headers, ALERT) for n in range(count)]
    await client.flush()
    return streams


async def opened(client: Client, headers: dict[str, str]) -> None:
    """Get past the single stream of an unproven connection."""
    await client.ask(f"/3/device/{token(99_999)}", headers, ALERT)
    await client.read_until(lambda: client.limits[-1] == 1000)


async def test_goaway_in_mid_burst_answers_those_below_and_forgets_the_rest(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    fault = {"after": 6, "do": "goaway", "reason": "Shutdown", "unanswered": 2, "times": 1}
    async with start_twin("apns", connections=[fault]) as twin:
        async with twin.connect() as client:
            await opened(client, apns_headers)
            streams = await burst(client, apns_headers, 10)
            await client.read_until(lambda: False)
            assert client.eof
            assert client.goaway is not None
            assert client.goaway.last_stream_id == streams[4]
            assert json.loads(client.goaway.additional_data or b"") == {"reason": "Shutdown"}
            assert [client.answers[stream].status for stream in streams if stream in client.answers] == [200] * 3
            assert twin.ledger.accepted == 6
        async with twin.connect() as client:
            await opened(client, apns_headers)
            for stream in await burst(client, apns_headers, 10):
                assert (await client.answer(stream)).status == 200


async def test_settings_lowered_to_one_refuse_the_streams_that_did_not_heed_it(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    fault = {"after": 3, "do": "settings", "max_concurrent_streams": 1, "initial_window_size": 1000}
    async with start_twin("apns", connections=[fault], latency_ms=50) as twin, twin.connect() as client:
        await opened(client, apns_headers)
        first = await burst(client, apns_headers, 2)
        await client.read_until(lambda: client.limits[-1] == 1)
        assert [(await client.answer(stream)).status for stream in first] == [200, 200]
        (alone,) = await burst(client, apns_headers, 1)
        with pytest.raises(h2.exceptions.TooManyStreamsError):
            client.request("/3/device/aa", apns_headers, ALERT)
        client.h2.remote_settings[3] = 1000
        client.h2.remote_settings.acknowledge()
        (late,) = await burst(client, apns_headers, 1, 50)
        assert (await client.answer(late)).reset == 7
        assert (await client.answer(alone)).status == 200


async def test_a_connection_is_cut_or_falls_silent_on_command(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    faults = [{"after": 3, "do": "close", "unanswered": 1, "times": 1}]
    async with start_twin("apns", connections=faults) as twin, twin.connect() as client:
        await opened(client, apns_headers)
        streams = await burst(client, apns_headers, 5)
        await client.read_until(lambda: False)
        assert client.eof
        assert client.goaway is None
        assert [stream in client.answers for stream in streams] == [True, False, False, False, False]
        assert twin.ledger.accepted == 3
    async with start_twin("apns", connections=[{"after": 2, "do": "mute"}]) as twin, twin.connect() as client:
        await opened(client, apns_headers)
        streams = await burst(client, apns_headers, 3)
        client.h2.ping(bytes(8))
        await client.flush()
        with trio.move_on_after(0.2):
            await client.read_until(lambda: len(client.answers) > 2)
        assert not client.eof
        assert [stream in client.answers for stream in streams] == [False] * 3


async def test_a_stalled_window_starves_the_client(start_twin: StartTwin, apns_headers: dict[str, str]) -> None:
    async with (
        start_twin("apns", connections=[{"after": 0, "do": "stall"}], connection_window=65_535) as twin,
        twin.connect() as client,
    ):
        await opened(client, apns_headers)
        body = ALERT.ljust(4000)
        for number in range(16):
            await client.ask(f"/3/device/{token(number)}", apns_headers, body)
        assert client.h2.outbound_flow_control_window < 4000


async def test_a_drain_answers_what_is_in_flight_and_takes_nothing_new(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    async with start_twin("apns", latency_ms=200, rules=[{"answer": "mute", "prefix": "00"}]) as twin:
        async with twin.connect() as client, twin.connect() as idle, twin.raw("h2"):
            await opened(client, apns_headers)
            streams = await burst(client, apns_headers, 20)
            client.request("/3/device/" + "00" * 32, apns_headers, ALERT)
            await client.flush()
            with trio.fail_after(5):
                while twin.ledger.accepted < 21:  # noqa: ASYNC110
                    await trio.sleep(0.005)
            twin.stopping.set()
            await client.read_until(lambda: False)
            assert client.goaway is not None
            answered = {of: payload[0] for kind, _, of, payload in parse(client.after_goaway) if kind == 1}
            assert answered == dict.fromkeys(streams, 0x88)
            await idle.read_until(lambda: False)
            assert idle.eof
            with pytest.raises(OSError, match=r"connect|refused"):
                await trio.open_tcp_stream("127.0.0.1", twin.ready.port)
        with trio.fail_after(3):
            await twin.ended.wait()


async def test_what_a_client_did_wrong_is_noted(start_twin: StartTwin) -> None:
    async with start_twin("apns") as twin, twin.raw("h2") as stream:
        await stream.send_all(PREFACE + frame(4) + frame(6, 0, 0, b"short"))
        received = b""
        with trio.fail_after(5):
            while chunk := await receive(stream):
                received += chunk
        assert parse(received)[-1][0] == 7
        assert twin.ledger.refused == {"connection: PING is not 8 bytes": 1}


async def receive(stream: trio.abc.ReceiveStream) -> bytes:
    try:
        return bytes(await stream.receive_some())
    except trio.BrokenResourceError:
        return b""


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01", b"GET / HTTP/1.1\r\n\r\n", bytes(100)])
async def test_a_stranger_on_the_port_harms_nobody(
    start_twin: StartTwin, apns_headers: dict[str, str], sent: bytes
) -> None:
    async with start_twin("apns") as twin:
        async with await trio.open_tcp_stream("127.0.0.1", twin.ready.port) as stranger:
            await stranger.send_all(sent)
        async with twin.raw("http/1.1") as stream:
            assert stream.selected_alpn_protocol() is None
        async with twin.connect() as client:
            assert (await client.ask(f"/3/device/{token(1)}", apns_headers, ALERT)).status == 200


def test_the_summary_is_one_line() -> None:
    ledger = Ledger()
    ledger.refused["BadTopic"] += 2
    assert ledger.summary() == "accepted 0 (duplicates 0), refused 2: BadTopic 2"
