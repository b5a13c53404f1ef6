"""Every answer of the providers' tables, from a script; and what only FCM's scripts can say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from simulators import reasons
from simulators.fcm.token_endpoint import GRANT
from simulators.ledger import count_ledger, read_ledger
from tests.simulators.conftest import ALERT, Client, StartTwin, assertion
from tests.simulators.test_twin_fcm import FORM, HELLO, PATH, form
from tests.simulators.test_twin_script import sign_in


def told_apart(words: list[str]) -> list[dict[str, str]]:
    """A rule for each reason, by the number that its tokens start with."""
    return [{"answer": "refuse", "reason": word, "prefix": f"{number:04}"} for number, word in enumerate(words)]


async def test_apns_has_every_reason_of_its_table_with_its_status(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    words = list(reasons.APNS)
    async with start_twin("apns", rules=told_apart(words)) as twin, twin.connect() as client:
        for number, word in enumerate(words):
            answer = await client.ask(f"/3/device/{number:04}{'ab' * 30}", apns_headers, ALERT)
            told = json.loads(answer.body)
            assert (answer.status, told["reason"]) == (reasons.APNS[word], word)
            assert ("timestamp" in told) == (answer.status == 410)
        assert twin.ledger.refused == dict.fromkeys(words, 1)


async def test_fcm_has_every_code_of_its_table_with_its_status(start_twin: StartTwin) -> None:
    words = list(reasons.FCM)
    async with start_twin("fcm", rules=told_apart(words)) as twin, twin.connect() as client:
        bearer = await sign_in(client, twin.ready.credentials["service_account"])
        for number, word in enumerate(words):
            error = await refused(client, bearer, f"{number:04}")
            assert error["code"] == reasons.FCM[word]
            assert (error["details"][0]["errorCode"], error["message"] != "") == (word, True)


@pytest.mark.parametrize(
    ("rule", "kinds"),
    [
        ({"status": 401}, []),
        ({"status": 403}, []),
        ({"status": 404}, []),
        ({"reason": "INVALID_ARGUMENT"}, ["FcmError"]),
        ({"reason": "INVALID_ARGUMENT", "field": "message.data"}, ["FcmError", "BadRequest"]),
        ({"reason": "THIRD_PARTY_AUTH_ERROR", "apns_reason": "InvalidProviderToken"}, ["FcmError", "ApnsError"]),
        ({"reason": "QUOTA_EXCEEDED", "message": "Device quota exceeded."}, ["FcmError", "QuotaFailure"]),
    ],
)
async def test_fcm_explains_itself_as_the_script_wants(
    start_twin: StartTwin, rule: dict[str, Any], kinds: list[str]
) -> None:
    async with start_twin("fcm", rules=[{"answer": "refuse", **rule}]) as twin, twin.connect() as client:
        error = await refused(client, await sign_in(client, twin.ready.credentials["service_account"]), "t")
        assert [detail["@type"].rpartition(".")[2] for detail in error.get("details", [])] == kinds
        assert error["message"] == rule.get("message", error["message"])


async def refused(client: Client, bearer: dict[str, str], token: str) -> dict[str, Any]:
    answer = await client.ask(PATH, bearer, msgspec.json.encode({"message": {"token": token, **HELLO}}))
    error: dict[str, Any] = json.loads(answer.body)["error"]
    assert answer.status == error["code"]
    return error


async def test_a_dry_run_is_judged_by_the_rules_and_written_down_as_validated(
    start_twin: StartTwin, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    rules = [{"answer": "dead", "prefix": "dead"}]
    async with start_twin("fcm", rules=rules, ledger=ledger) as twin, twin.connect() as client:
        bearer = await sign_in(client, twin.ready.credentials["service_account"])

        async def send(token: str, *, dry: bool) -> int:
            body = {"validate_only": dry, "message": {"token": token, **HELLO}}
            return (await client.ask(PATH, bearer, msgspec.json.encode(body))).status

        assert [await send("a", dry=True), await send("dead", dry=True), await send("b", dry=False)] == [200, 404, 200]
        assert (twin.ledger.accepted, twin.ledger.validated) == (1, 1)
        assert [(entry.token, entry.validated) for entry in read_ledger(ledger)] == [("a", True), ("b", False)]
        counts = count_ledger(ledger)
        assert (counts.accepted, counts.validated, counts.tokens()) == (1, 1, {"b"})
        assert "validated 1" in twin.ledger.summary()


async def test_the_token_endpoint_fails_as_often_as_the_script_says(start_twin: StartTwin) -> None:
    rules = [{"status": 503, "body": "<html>", "times": 1}, {"error": "invalid_grant", "times": 2}]
    async with start_twin("fcm", token_endpoint=rules) as twin, twin.connect() as client:
        account = json.loads(await trio.Path(twin.ready.credentials["service_account"]).read_bytes())
        fields = {"content-type": FORM[b"content-type"].decode()}

        async def ask(**asked: str) -> tuple[int, bytes]:
            answer = await client.ask("/token", fields, form(**asked))
            return answer.status, answer.body

        good = {"grant_type": GRANT, "assertion": assertion(account)}
        assert (await ask())[0] == 400
        assert await ask(**good) == (503, b"<html>")
        for _ in range(2):
            status, body = await ask(**good)
            assert (status, json.loads(body)["error"]) == (400, "invalid_grant")
        assert (await ask(**good))[0] == 200
