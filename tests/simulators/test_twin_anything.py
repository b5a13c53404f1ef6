"""The answer that is drawn: it is odd in every way that it promises, and still HTTP."""

from __future__ import annotations

import re

import msgspec
import pytest

from simulators import reasons
from simulators.anything import DEPTH, LARGEST, Anything
from tests.simulators.conftest import ALERT, StartTwin, token
from tests.simulators.test_twin_fcm import HELLO, PATH
from tests.simulators.test_twin_script import sign_in

DIALECTS = [("apns", reasons.APNS), ("fcm", reasons.FCM)]


def decodes(body: bytes) -> bool:
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


@pytest.mark.parametrize(("dialect", "words"), DIALECTS)
def test_the_same_seed_draws_the_same_answers_and_another_seed_others(dialect: str, words: dict[str, int]) -> None:
    first, again, other = (Anything(dialect, words, seed) for seed in (1, 1, 2))  # type: ignore[arg-type]
    drawn = [(first.draw(token(n % 10)), again.draw(token(n % 10)), other.draw(token(n % 10))) for n in range(50)]
    told = [[(status, answer.fields, answer.body) for status, answer in each] for each in drawn]
    assert all(a == b for a, b, _ in told)
    assert sum(a == c for a, _, c in told) < 5


@pytest.mark.parametrize(("dialect", "words"), DIALECTS)
def test_every_oddity_is_drawn(dialect: str, words: dict[str, int]) -> None:
    anything = Anything(dialect, words, 7)  # type: ignore[arg-type]
    drawn = [anything.draw(token(n)) for n in range(5_000)]
    bodies = [answer.body for _, answer in drawn]
    assert {*words.values(), 200} < {status for status, _ in drawn}
    assert min(status for status, _ in drawn) >= 200
    assert max(status for status, _ in drawn) > 900
    assert max(map(len, bodies)) > LARGEST // 2
    assert any(b"[" * DEPTH in body for body in bodies)
    assert any(re.search(rb":18446744073709551616\b", body) for body in bodies)
    for text in (b"\0", b"\x1f\x8b", "ü".encode("latin-1"), "{".encode("utf-16-le"), b"\xef\xbb\xbf", b"\\ud800"):
        assert any(text in body for body in bodies), text
    assert sum(map(decodes, bodies)) > 0.45 * len(bodies)  # many are good JSON: nonsense alone is soon thrown out
    texts = [found for body in bodies for found in {*re.findall(rb'"request (\w{32})"', body)}]
    assert len(texts) > 100
    assert len(set(texts)) == len(texts), "two answers have the same text"
    waits = {value for _, answer in drawn for name, value in answer.fields if name == b"retry-after"}
    assert len(waits) == 15
    assert max(sum(len(n) + len(v) + 32 for n, v in answer.fields) for _, answer in drawn) < 16_384


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_what_is_drawn_is_still_http_and_a_2xx_is_in_the_ledger(
    start_twin: StartTwin, apns_headers: dict[str, str], platform: str
) -> None:
    rules = [{"answer": "anything", "times": 1}]
    async with start_twin(platform, rules=rules) as twin, twin.connect() as client:
        client.h2.config.header_encoding = "latin-1"
        headers, path = apns_headers, "/3/device/"
        if platform == "fcm":
            headers, path = await sign_in(client, twin.ready.credentials["service_account"]), PATH
        for number in range(300):
            note = {"message": {"token": f"phone-{number}", **HELLO}}
            body = ALERT if platform == "apns" else msgspec.json.encode(note)
            target = path + token(number) if platform == "apns" else path
            answer = await client.ask(target, headers, body)
            assert 200 <= answer.status <= 999
            taken = twin.ledger.accepted
            if number % 10 == 0:
                assert (await client.ask(target, headers, body)).status == 200
                assert twin.ledger.accepted == taken + 1
        assert not client.eof
        assert 30 < twin.ledger.accepted < 300
        assert twin.ledger.refused["anything 400"] > 0


async def test_a_status_that_is_given_is_not_drawn(start_twin: StartTwin, apns_headers: dict[str, str]) -> None:
    rules = [{"answer": "anything", "status": 410, "delivered": True}]
    async with start_twin("apns", rules=rules) as twin, twin.connect() as client:
        client.h2.config.header_encoding = "latin-1"
        answers = [await client.ask("/3/device/" + token(n), apns_headers, ALERT) for n in range(30)]
        assert {answer.status for answer in answers} == {410}
        assert len({answer.body for answer in answers}) > 20
        assert twin.ledger.accepted == 30
