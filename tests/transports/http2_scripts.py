"""Scripts of what can happen to a connection, and one run of such a script over one client."""

from __future__ import annotations

import random

from h2.settings import SettingCodes
from hypothesis import strategies as st

from tests.transports.http2_pair import Pair, Server
from transports.http2.messages import Request, Template

TEMPLATES = [
    Template(
        b"localhost",
        b"/3/device/",
        ((b"apns-topic", b"a.b"), (b"apns-push-type", push_type), (b"apns-expiration", expiration)),
        b"apns-id",
        prefix,
        ((b"authorization", b"bearer " + secret),),
    )
    for push_type, expiration, prefix, secret in [
        (b"alert", b"0", b"", b"x" * 190),
        (b"background", b"0", b"0000-", b"x" * 190),
        (b"alert", b"99999", b"1111-", b"y" * 126),
        (b"voip", b"1", b"", b"y" * 127),
    ]
] + [
    # As FCM is spoken to: one path for all, the credential in the peer's table.
    Template(b"fcm.example", b"/v1/send", ((b"authorization", b"Bearer " + b"z" * 900), (b"content-type", b"x/y"))),
    Template(b"fcm.example", b"/v1/send", ((b"authorization", b"Bearer " + b"w" * 3_000), (b"content-type", b"x/y"))),
    # Larger than any table.
    Template(b"h", b"/", ((b"huge", b"h" * 5_000), (b"small", b"s")), b"apns-id"),
    Template(b"h", b"/p/", tuple((b"field-%d" % n, b"v" * 30) for n in range(60)), b"ident"),
]

number = st.integers(0, 30)
operation = st.one_of(
    st.tuples(
        st.just("send"),
        st.integers(1, 12),
        st.sampled_from([0, 10, 10, 126, 127, 900, 20_000]),
        st.integers(0, len(TEMPLATES) - 1),
        st.sampled_from(["same", "same", "varied", "personal"]),
    ),
    st.tuples(
        st.just("answer"), number, st.sampled_from([200, 200, 201, 400, 410, 503]), st.sampled_from(list("nbptic"))
    ),
    st.tuples(st.just("answer all"), st.sampled_from([200, 400]), st.sampled_from(list("nb"))),
    st.tuples(st.just("early"), st.sampled_from([200, 413])),
    st.tuples(st.just("limit"), st.sampled_from([0, 1, 2, 100])),
    st.tuples(st.just("window"), st.sampled_from([0, 1, 500, 65_535, 100_000])),
    st.tuples(
        st.just("table"), st.lists(st.sampled_from([0, 31, 64, 100, 400, 4_096, 65_536]), min_size=1, max_size=3)
    ),
    st.tuples(st.just("frame size"), st.sampled_from([16_384, 20_000, 2**24 - 1])),
    st.tuples(st.just("reset"), number, st.sampled_from([0, 2, 7, 11])),
    st.tuples(st.just("pay")),
    st.tuples(st.just("ping")),
    st.tuples(st.just("unknown"), st.sampled_from([0, 1, 99]), st.binary(max_size=20)),
    st.tuples(st.just("goaway"), st.sampled_from([0, 1, 5, 21, 2**31 - 1])),
    st.tuples(st.just("expire")),
)
scripts = st.lists(operation, max_size=40)


class Stubborn:
    """A server that never says which table size it took, and goes on using 4,096 octets (some are like that)."""

    def __init__(self, server: Server) -> None:
        encoder = server.h2.encoder
        kind = type(encoder)
        encoder.__class__ = type(
            "Deaf", (kind,), {"header_table_size": property(kind.header_table_size.fget, lambda self, value: None)}
        )


def run(make, script, *, credit, stubborn, seed):
    """Act a script out; everything that can be seen of it, step by step."""
    server = Server(credit=credit)
    if stubborn:
        Stubborn(server)
    pair = Pair(server, random.Random(seed), make=make)
    client = pair.client
    made, clock, log = 0, 0.0, []
    for name, *args in script:
        clock += 1
        match name, *args:
            case "send", n, size, kind, how:
                rng = random.Random(made)
                rows = []
                for key in range(made, made + n):
                    path = b"%064x" % key if how == "same" else b"a" * rng.randint(0, 130)
                    if kind in (4, 5):
                        path = b""
                    body = b"x" * (size if how == "same" else rng.randint(0, size))
                    fields = ((b"apns-unusual", b"%d" % key),) if how == "personal" and key % 3 == 0 else ()
                    rows.append(Request(key, path, b"id-%06d" % key, body, fields))
                taken = pair.send(rows, clock, TEMPLATES[kind])
                made += taken
                log.append(taken)
            case "answer", k, status, how if server.complete:
                answer(server, server.complete[k % len(server.complete)], status, how)
            case "early", status:
                for stream_id in sorted(server.half):
                    if stream_id <= server.last:
                        server.half.discard(stream_id)
                        server.h2.send_headers(stream_id, [(":status", str(status))], end_stream=True)
            case "answer all", status, how:
                for stream_id in list(server.complete):
                    answer(server, stream_id, status, how)
            case "limit", n:
                server.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: n})
            case "window", n:
                server.h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: n})
            case "frame size", n:
                server.h2.update_settings({SettingCodes.MAX_FRAME_SIZE: n})
            case "table", sizes:
                for n in sizes:
                    server.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: n})
            case "reset", k, code if server.complete:
                stream_id = server.complete.pop(k % len(server.complete))
                server.h2.reset_stream(stream_id, code)
            case "pay", *_:
                server.pay()
            case "ping", *_:
                client.ping()
            case "unknown", stream_id, data:
                head = len(data).to_bytes(3, "big") + b"\xee\xff" + stream_id.to_bytes(4, "big")
                server.h2._data_to_send += head + data
            case "goaway", last:
                server.goaway(min(last, server.last))
            case "expire", *_:
                pair.take(client.expire(clock - 3))
            case _:
                pass
        pair.pump()
        log.append((name, client.in_flight, client.room(), client.window, client.pong))
        log.append((client.error, client.retiring is None))
    pair.take(client.lost("the end"))
    assert len(pair.fates) == made
    return {"log": log, "headers": server.lists, "bodies": server.bodies, "fates": pair.fates, "reset": server.reset}


def answer(server, stream_id, status, how):
    """``how``: nothing, body, padding, trailers, informational, or a block that needs CONTINUATION."""
    if stream_id > server.last:
        return
    server.complete.remove(stream_id)
    send, window = server.h2.send_headers, server.h2.local_flow_control_window(stream_id)
    body = b'{"reason":"BadDeviceToken"}'[:window]
    headers = [(":status", str(status)), ("apns-id", f"id-{stream_id}"), ("server", "x" * (stream_id % 90))]
    if status == 503:
        headers.append(("retry-after", "7"))
    match how:
        case "n":
            send(stream_id, headers, end_stream=True)
        case "b":
            send(stream_id, [*headers, ("content-length", str(len(body)))])
            server.h2.send_data(stream_id, body, end_stream=True)
        case "p":
            send(stream_id, headers)
            if window >= 60:
                server.h2.send_data(stream_id, body, pad_length=20)
            server.h2.send_data(stream_id, b"", end_stream=True)
        case "t":
            send(stream_id, headers)
            server.h2.send_data(stream_id, body)
            send(stream_id, [("trailer", "t"), (":bad"[1:], "x")], end_stream=True)
        case "i":
            send(stream_id, [(":status", "103"), ("link", "x")])
            send(stream_id, headers, end_stream=True)
        case "c":
            send(stream_id, [*headers, ("x-large", "é" * 12_000)], end_stream=True)
