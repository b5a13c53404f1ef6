"""The Web Push twin refuses what a push service refuses, in its own words. Its client here: http-ece and PyJWT."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Callable
from typing import Any

import http_ece
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from simulators.faults.director import Director
from simulators.faults.script import Rule, Script
from simulators.http2.received_request import ReceivedRequest
from simulators.ledger import Ledger
from simulators.webpush.webpush_twin import WebPushTwin

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
DIGITS = "00" * 31 + "2a"
SITE = ec.generate_private_key(ec.SECP256R1())
GOOGLE, MOZILLA, APPLE = "fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com"
WINDOWS = "wns2-a.notify.windows.com"
PLAY_NOTHING = Script()
PLAIN = {"web_push": 8030, "notification": {"title": "Flood", "navigate": "https://example.com"}}


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def sealed(plain: object = PLAIN) -> bytes:
    receiver = ec.derive_private_key(int(DIGITS, 16) % (ORDER - 1) + 1, ec.SECP256R1())
    secret = hashlib.sha256(DIGITS.encode()).digest()[:16]
    text = plain if isinstance(plain, bytes) else json.dumps(plain).encode()
    ours = ec.generate_private_key(ec.SECP256R1())
    sealed: bytes = http_ece.encrypt(
        text, salt=os.urandom(16), private_key=ours, dh=point(receiver), auth_secret=secret, version="aes128gcm"
    )
    return sealed


def vapid(authority: str, key: ec.EllipticCurvePrivateKey = SITE, **claims: object) -> bytes:
    said = {"aud": f"https://{authority}", "exp": int(time.time()) + 3_600, "sub": "mailto:a@example.com"} | claims
    public = base64.urlsafe_b64encode(point(key)).rstrip(b"=").decode()
    return f"vapid t={jwt.encode(said, key, 'ES256')}, k={public}".encode()


@pytest.fixture
def ask() -> Callable[..., tuple[int, bytes, dict[bytes, bytes], Ledger]]:
    def ask(
        authority: str = GOOGLE, body: bytes | None = None, script: Script = PLAY_NOTHING, **changes: Any
    ) -> tuple[int, bytes, dict[bytes, bytes], Ledger]:
        twin = WebPushTwin(SITE.public_key(), Director(script, time.monotonic), Ledger())
        fields: dict[str, Any] = {
            ":method": b"POST",
            ":authority": authority.encode(),
            ":path": f"/push/{DIGITS}".encode(),
            "authorization": vapid(authority),
            "ttl": b"60",
            "content-encoding": b"aes128gcm",
            **({"x-wns-cache-policy": b"cache"} if authority == WINDOWS else {}),
            **{name.replace("_", "-"): value for name, value in changes.items()},
        }
        given = [(name.encode(), value) for name, value in fields.items() if value is not None]
        answer = twin.session().answer(ReceivedRequest(1, given, sealed() if body is None else body))
        found = dict(answer.fields)
        return int(found[b":status"]), answer.body, found, twin.ledger

    return ask


def test_a_good_push_is_created_and_in_the_ledger(ask: Any) -> None:
    status, _, fields, ledger = ask(topic=b"C", urgency=b"high")
    assert (status, ledger.accepted, b"location" in fields) == (201, 1, True)


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"ttl": None}, 400, "BadTtl"),
        ({"ttl": b"-1"}, 400, "BadTtl"),
        ({"urgency": b"urgent"}, 400, "BadUrgency"),
        ({"topic": b"x" * 33}, 400, "BadWebPushTopic"),
        ({"topic": b"a b"}, 400, "BadWebPushTopic"),
        ({"content_encoding": b"aesgcm"}, 400, "BadPayload"),
        ({"authorization": None}, 401, "BadJwtToken"),
        ({"authorization": vapid(MOZILLA)}, 403, "BadJwtToken"),
        ({"authorization": vapid(GOOGLE, exp=int(time.time()) - 1)}, 403, "BadJwtToken"),
        ({"authorization": vapid(GOOGLE, exp=int(time.time()) + 90_000)}, 403, "BadJwtToken"),
        ({"authorization": vapid(GOOGLE, sub="mailto: <a@example.com>")}, 403, "BadJwtToken"),
        ({"authorization": vapid(GOOGLE, ec.generate_private_key(ec.SECP256R1()))}, 403, "VapidPkHashMismatch"),
        ({"body": b"x" * 200}, 400, "BadPayload"),
        ({"body": sealed()[:-1] + b"x"}, 400, "BadPayload"),
        ({"body": sealed(b"no JSON")}, 400, "BadPayload"),
        ({"body": sealed({"notification": {}})}, 400, "BadPayload"),
        ({"body": sealed({"web_push": 8030, "notification": {"title": "T"}})}, 400, "BadPayload"),
        ({"body": b"x" * 4_097}, 413, "PayloadTooLarge"),
        ({":method": b"GET"}, 405, "MethodNotAllowed"),
    ],
)
def test_what_a_push_service_refuses_is_refused(ask: Any, changes: dict[str, Any], status: int, reason: str) -> None:
    found, _, _, ledger = ask(**changes)
    assert (found, ledger.refused, ledger.accepted) == (status, {reason: 1}, 0)


def test_a_rule_for_one_push_service_leaves_the_others_alone(ask: Any) -> None:
    one = Script(rules=(Rule(answer="429", service=APPLE),))
    assert [ask(service, script=one)[0] for service in (APPLE, GOOGLE, MOZILLA, WINDOWS)] == [429, 201, 201, 201]
    domain = Script(rules=(Rule(answer="429", service="notify.windows.com"),))
    assert [ask(service, script=domain)[0] for service in (WINDOWS, GOOGLE)] == [406, 201]
    assert ask("evilnotify.windows.com", script=domain)[0] == 201, "a host is no part of another one's name"


def test_each_push_service_has_its_own_words(ask: Any) -> None:
    other = ec.generate_private_key(ec.SECP256R1())
    assert ask(APPLE, authorization=vapid(APPLE, other))[1] == b'{"reason":"VapidPkHashMismatch"}'
    status, body, *_ = ask(MOZILLA, authorization=vapid(MOZILLA, other))
    assert (status, json.loads(body)["errno"]) == (401, 109)
    assert b"do not correspond" in ask(GOOGLE, authorization=vapid(GOOGLE, other))[1]
    status, body, fields, _ = ask(WINDOWS, x_wns_cache_policy=b"no-cache")
    assert (status, body) == (400, b"")
    assert b"x-wns-error-description" in fields
