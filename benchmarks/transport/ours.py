"""Our own clients: the transports as the pipeline uses them, and the bare engine."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
import trio
import trio.lowlevel

from benchmarks.transport.meter import BODY, Meter
from benchmarks.transport.sinks import Files
from campaigns.batch import Batch
from campaigns.message import Message, Text
from campaigns.personal import fields
from campaigns.recipient import PersonalRecipient, Recipient
from transports.apns.transport import build as build_apns
from transports.contract import TransportSettings
from transports.fcm.transport import build as build_fcm
from transports.http2.client import Http2Client
from transports.http2.messages import Row, Template
from transports.http2.pool import Pool
from transports.huawei.transport import build as build_huawei
from transports.rustore.transport import build as build_rustore
from transports.webpush.encryption import encrypted, padded
from transports.webpush.tokens import sample, split
from transports.webpush.transport import build as build_webpush

BUILD: dict[str, Callable[[TransportSettings], Any]] = {
    "apns": build_apns,
    "fcm": build_fcm,
    "huawei": build_huawei,
    "rustore": build_rustore,
    "webpush": build_webpush,
}
_BATCH = 500  # recipients of one task
_KINDS = 40  # batches with recipients of their own, sent in turn


_LOCALES = ("de", "fr", "pt-BR", "en-US", "es")
_LEAVE = "Leave the valley now. " + "x" * 90
_PERSONAL = "{first_name|You} in {city|town}: leave. " + "x" * 74


def _message(body: str, locales: tuple[str, ...] = ()) -> Message:
    texts = {locale: Text(title=f"Flood warning {locale}", body=body) for locale in locales}
    return Message(title="Flood warning", body=body, url="https://example.com/f", texts=texts)


TEXTS = {
    "": _message(_LEAVE),
    "five locales": _message(_LEAVE, _LOCALES),
    "five locales, two personal fields": _message(_PERSONAL, _LOCALES),
}


def _batches(platform: str, texts: str) -> list[Batch]:
    rng = random.Random(7)
    message = TEXTS[texts]
    personal = bool(fields(message))
    expires = (time.time_ns() // 1_000_000) + 3_600_000

    def token() -> str:
        if platform == "webpush":  # of one push service
            return sample(f"{rng.getrandbits(252):063x}0")
        return f"{rng.getrandbits(256):064x}" if platform != "fcm" else f"c{rng.getrandbits(80):x}:APA91b{'A' * 130}"

    def recipient(at: int) -> Recipient:
        locale = _LOCALES[at % len(_LOCALES)] if texts else "en"
        id = rng.getrandbits(48)
        if personal:
            return PersonalRecipient(id, token(), "token", 0, locale, ("Wien", f"Ada {at}"))
        return Recipient(id, token(), "token", 0, locale)

    batches = []
    for _ in range(_KINDS):
        recipients = [recipient(at) for at in range(_BATCH)]
        batches.append(Batch(7, message, 1, expires, recipients))
    return batches


async def transport(platform: str, port: int, files: Files, meter: Meter) -> None:
    """``Transport.send`` of batches with real recipients and settled outcomes. Raises if a connection was lost."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    row = meter.row
    origin = f"https://localhost:{port}"
    app, credentials = {
        "apns": ("com.example.news", {"key": str(files.apns_key), "key_id": "ABCDE12345", "team_id": "TEAM123456"}),
        "fcm": ("news-1a2b3", {"service_account": str(files.service_account)}),
        "huawei": (
            "104567891",
            {"client_id": "104567891", "client_secret": str(files.secret), "token_uri": f"{origin}/token"},
        ),
        "rustore": ("news-1a2b3", {"service_token": str(files.secret)}),
        "webpush": ("https://news.example.com", {"vapid_key": str(files.apns_key), "subject": "mailto:a@example.com"}),
    }[platform]
    settings = TransportSettings(
        channel="bench",
        platform=platform,
        app=app,
        credentials=credentials,
        origin=origin,
        ca=Path(files.ca),
        connections=row.connections,
    )
    sender: Any = BUILD[platform](settings)
    batches = _batches(platform, row.texts)
    workers = max(2, 2 * row.streams * row.connections // _BATCH)
    stopped = False

    async def send(first: int) -> None:
        at = first
        while not stopped:
            outcomes = await sender.send(batches[at % _KINDS])
            if outcomes.exceptions:
                raise RuntimeError(f"{outcomes.exceptions[0]} {outcomes.stop}")
            meter.count(outcomes.delivered)
            at += 1

    async with trio.open_nursery() as nursery:
        ready = trio.Event()
        nursery.start_soon(sender.run, ready.set)
        await ready.wait()
        if platform == "webpush":
            await trio.lowlevel.checkpoint()  # it runs
            pool: Pool = (await sender.services.enter("fcm.googleapis.com")).pool
        else:
            pool = sender.pool
        while pool.connections < row.connections:  # noqa: ASYNC110 - behind sockets
            await trio.sleep(0.01)
        for worker in range(workers):
            nursery.start_soon(send, worker)
        clients = {connection.client for connection in pool._connections}
        while not meter.warm:  # noqa: ASYNC110 - a clock
            await trio.sleep(0.02)
        meter.start()
        while not meter.over:  # noqa: ASYNC110 - a clock
            await trio.sleep(0.02)
        meter.stop()
        if clients != {connection.client for connection in pool._connections}:
            raise RuntimeError("a connection was lost under way")
        stopped = True
        nursery.cancel_scope.cancel()


def encryption(meter: Meter) -> None:
    """Web Push's encryption alone, in memory: what a push costs at least, and nobody can share (docs/adr/0053)."""
    rng = random.Random(7)
    browsers = [found for _ in range(_BATCH) if (found := split(sample(f"{rng.getrandbits(252):063x}0"))) is not None]
    record = padded(b"x" * BODY)
    meter.start()
    while not meter.over:
        for browser in browsers:
            encrypted(record, browser.receiver, browser.secret)
        meter.count(len(browsers))
    meter.stop()


def engine(meter: Meter) -> None:
    """The engine alone, in memory: one push is its share of encode, outgoing and feed."""
    client = Http2Client()
    client.feed(bytes.fromhex("00000c0400000000000003000003e800047fffffff"))
    client.feed(bytes.fromhex("0000040800000000007fff0000"))
    rng = random.Random(7)
    body = b"x" * 200
    rows: list[Row] = [(n, b"%064x" % rng.getrandbits(256), b"0000-%012x" % n, body, ()) for n in range(1_000)]
    constant = (
        (b"apns-topic", b"com.example.news"),
        (b"apns-push-type", b"alert"),
        (b"apns-priority", b"10"),
        (b"apns-expiration", b"1800000000"),
        (b"apns-collapse-id", b"aaaaaaaaaaaah"),
    )
    secret = ((b"authorization", b"bearer " + b"j" * 190),)
    template = Template(b"localhost", b"/3/device/", constant, b"apns-id", b"00000000-0000-0007-", secret)
    answers = _answers()
    client.encode(None, template, rows, 0, 1, 0.0)
    client.feed(answers(1, 1))
    next_id = 3
    meter.start()
    while not meter.over:
        n = client.encode(None, template, rows, 0, 1_000, 0.0)
        client.outgoing()
        octets = n * len(body)
        done = client.feed(answers(next_id, n) + bytes.fromhex("000004080000000000") + octets.to_bytes(4, "big"))
        next_id += 2 * n
        meter.count(len(done.accepted))
    meter.stop()


def _answers() -> Callable[[int, int], bytes]:
    # :status 200, server, date, content-type, content-length: 0, as nginx sends them
    block = bytes.fromhex("88") + b"\x0f\x27\x05nginx" + b"\x0f\x12\x1dMon, 23 Nov 2026 20:55:02 GMT" + b"\x0f\x0d\x010"
    head = len(block).to_bytes(3, "big") + b"\x01\x05"

    def make(first: int, n: int) -> bytes:
        ids = range(first, first + 2 * n, 2)
        return b"".join([head + stream_id.to_bytes(4, "big") + block for stream_id in ids])

    return make
