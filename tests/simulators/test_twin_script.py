"""Fault scripts: strict reading, and what the rules do to requests."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from simulators.errors import ScriptError
from simulators.faults.director import Director
from simulators.faults.script import ConnectionFaultRule, Rule, Script, load_script
from simulators.ledger import read_ledger
from tests.simulators.conftest import ALERT, Client, StartTwin, assertion, token
from tests.simulators.test_twin_fcm import FORM, HELLO, PATH, form

DEAD = "dead" + token(0)[4:]


def write(folder: Path, text: str, name: str = "script.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_both_formats_read_alike(tmp_path: Path) -> None:
    toml = write(
        tmp_path,
        'seed = 7\n[[rules]]\nprefix = "ab"\nanswer = 429\ntimes = 2\n[[connections]]\nafter = 5\ndo = "mute"\n',
    )
    same = {
        "seed": 7,
        "rules": [{"prefix": "ab", "answer": 429, "times": 2}],
        "connections": [{"after": 5, "do": "mute"}],
    }
    assert load_script(toml) == load_script(write(tmp_path, json.dumps(same), "script.json"))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("sed = 1", "unknown field `sed`"),
        ('[[rules]]\nanswer = "dead"\nprefx = "a"', "rules[0]: Object contains unknown field `prefx`"),
        ('[[rules]]\nprefix = "a"', "answer"),
        ('[[rules]]\nanswer = "explode"', "rules[0].answer"),
        ('[[rules]]\nanswer = "dead"\nshare = 2', "rules[0].share"),
        ('[[rules]]\nanswer = "dead"\ntimes = 0', "rules[0].times"),
        ('[[rules]]\nanswer = "slow"', "rules[0].delay_ms"),
        ('[[rules]]\nanswer = "refuse"\nreason = "Because"', "rules[0].status"),
        ('[[rules]]\nanswer = "reset"\ncode = "NOPE"', "rules[0].code: 'NOPE' is not one of NO_ERROR"),
        ('[[rules]]\nanswer = "503"\nfrom_seconds = 5\nuntil_seconds = 5', "rules[0].until_seconds"),
        ('[[rules]]\nanswer = "dead"\ntimestamp = 5\ntimestamp_ago_seconds = 5', "rules[0].timestamp"),
        ('[[connections]]\nafter = 1\ndo = "settings"', "connections[0].do"),
        ('[[connections]]\nafter = -1\ndo = "close"', "connections[0].after"),
        ('[[rules]]\nanswer = "503"\nbody = "x"', "rules[0].answer"),
        ('[[rules]]\nanswer = "raw"\nstatus = 99', "rules[0].status"),
        ('[[connections]]\nafter = 1\ndo = "illegal"', "connections[0].frame"),
        ('[[connections]]\nafter = 1\ndo = "illegal"\nframe = "odd"', "connections[0].frame"),
        ('[[connections]]\nafter = 1\ndo = "close"\nframe = "bad-hpack"', "connections[0].frame"),
        ('[[keys]]\nkey_id = "short"\nteam_id = "TWINTEAM01"', "keys[0].key_id"),
        ('[[keys]]\nkey_id = "TWIN000002"\nteam_id = "TWINTEAM01"\nenvironment = "test"', "keys[0].environment"),
        ('[[certificates]]\napp = "org.example"', "client_certificates"),
        ('client_certificates = "accept"\n[[certificates]]\napp = "../x"', "certificates[0].app"),
        ('[[token_endpoint]]\nerorr = "x"', "token_endpoint[0]"),
        ("first_streams = 0", "first_streams"),
        ("stream_window = -1", "stream_window"),
        ("rules = [", "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_its_key(tmp_path: Path, text: str, names: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ScriptError) as caught:
        load_script(path)
    assert names in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_example_of_the_documentation_is_a_script(tmp_path: Path) -> None:
    text = Path("docs/twins.md").read_text()
    examples = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert len(examples) >= 7
    for example in examples:
        # Alternatives are written as comments.
        for version in (example, re.sub(r"^latency = .*\n# (?=latency)", "", example, flags=re.MULTILINE)):
            load_script(write(tmp_path, version))
    keys = set(Script.__struct_fields__) | set(Rule.__struct_fields__) | set(ConnectionFaultRule.__struct_fields__)
    assert not {key for key in keys if f"`{key}`" not in text and f"{key} = " not in text and f"[[{key}]]" not in text}


def test_a_missing_or_strange_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match="No such file"):
        load_script(tmp_path / "none.toml")
    with pytest.raises(ScriptError, match=r"\.toml or \.json"):
        load_script(write(tmp_path, "", "script.yaml"))
    with pytest.raises(ScriptError, match="not valid JSON"):
        load_script(write(tmp_path, "{", "script.json"))


def director(*rules: Rule, seed: int = 0) -> Director:
    return Director(Script(rules=rules, seed=seed), lambda: 0.0)


def test_a_share_is_about_that_share_and_the_same_tokens_every_time() -> None:
    tokens = [token(n) for n in range(5000)]
    rule = Rule(answer="dead", share=0.02)
    first, again, other = (
        {t for t in tokens if d.rule_for(t)} for d in (director(rule), director(rule), director(rule, seed=1))
    )
    assert first == again
    assert 60 < len(first) < 140
    assert len(first & other) < 15


def test_shares_of_two_rules_are_drawn_apart() -> None:
    both = director(Rule(answer="dead", share=0.5), Rule(answer="503", share=0.5))
    answers = [rule.answer if (rule := both.rule_for(token(n))) else "200" for n in range(4000)]
    assert 900 < answers.count("503") < 1100


def test_the_first_rule_that_matches_answers_and_spent_ones_pass_on() -> None:
    rules = director(Rule(answer="429", prefix="a", times=2), Rule(answer="dead", prefix="ab"))
    assert [rule and rule.answer for rule in (rules.rule_for("ab") for _ in range(3))] == ["429", "429", "dead"]
    assert [rule and rule.answer for rule in (rules.rule_for("ac") for _ in range(3))] == ["429", "429", None]
    assert rules.rule_for("b") is None


def test_a_rule_holds_in_its_window_only() -> None:
    now = 100.0
    rules = Director(Script(rules=(Rule(answer="503", from_seconds=1, until_seconds=2),)), lambda: now)
    heard = []
    for elapsed in (0.0, 1.0, 1.9, 2.0):
        now = 100.0 + elapsed
        heard.append(rules.rule_for("t") is not None)
    assert heard == [False, True, True, False]


@pytest.mark.parametrize(
    ("rule", "status", "reason", "accepted"),
    [
        ({"answer": "dead"}, 410, "Unregistered", 0),
        ({"answer": "dead", "reason": "ExpiredToken"}, 410, "ExpiredToken", 0),
        ({"answer": "dead", "reason": "BadDeviceToken"}, 400, "BadDeviceToken", 0),
        ({"answer": "429"}, 429, "TooManyRequests", 0),
        ({"answer": 503}, 503, "ServiceUnavailable", 0),
        ({"answer": "503", "reason": "Shutdown"}, 503, "Shutdown", 0),
        ({"answer": "503", "delivered": True}, 503, "ServiceUnavailable", 1),
        ({"answer": "500"}, 500, "InternalServerError", 0),
        ({"answer": "refuse", "status": 403, "reason": "Forbidden"}, 403, "Forbidden", 0),
    ],
)
async def test_apns_says_what_the_script_says(
    start_twin: StartTwin,
    apns_headers: dict[str, str],
    tmp_path: Path,
    rule: dict[str, Any],
    status: int,
    reason: str,
    accepted: int,
) -> None:
    ledger = tmp_path / "ledger.jsonl"
    async with start_twin("apns", rules=[rule | {"prefix": "dead"}], ledger=ledger) as twin, twin.connect() as client:
        assert (await client.ask(f"/3/device/{token(1)}", apns_headers, ALERT)).status == 200
        answer = await client.ask(f"/3/device/{DEAD}", apns_headers, ALERT)
        said = json.loads(answer.body)
        assert (answer.status, said["reason"]) == (status, reason)
        assert ("timestamp" in said) == (status == 410)
        assert abs(said.get("timestamp", time.time() * 1000) - time.time() * 1000) < 5000
        assert [entry.answered for entry in read_ledger(ledger)] == [200] + [status] * accepted


async def test_a_dead_tokens_timestamp_is_the_scripts(start_twin: StartTwin, apns_headers: dict[str, str]) -> None:
    rules = [
        {"answer": "dead", "prefix": "aa", "timestamp": 1234},
        {"answer": "dead", "prefix": "bb", "timestamp_ago_seconds": 3600},
    ]
    async with start_twin("apns", rules=rules) as twin, twin.connect() as client:
        heard = [json.loads((await client.ask(f"/3/device/{x * 32}", apns_headers, ALERT)).body) for x in ("aa", "bb")]
        assert heard[0]["timestamp"] == 1234
        assert abs(heard[1]["timestamp"] - (time.time() - 3600) * 1000) < 5000


async def test_retry_after_times_slow_mute_and_reset(start_twin: StartTwin, apns_headers: dict[str, str]) -> None:
    rules = [
        {"answer": "429", "prefix": "aa", "times": 1, "retry_after": 7},
        {"answer": "slow", "prefix": "bb", "delay_ms": 100},
        {"answer": "mute", "prefix": "cc", "delivered": True},
        {"answer": "reset", "prefix": "dd"},
    ]
    async with start_twin("apns", rules=rules) as twin, twin.connect() as client:

        async def push(prefix: str) -> tuple[int, dict[str, str], int | None]:
            answer = await client.ask(f"/3/device/{prefix * 32}", apns_headers, ALERT)
            return answer.status, answer.headers, answer.reset

        first, second = await push("aa"), await push("aa")
        assert (first[0], first[1]["retry-after"], second[0]) == (429, "7", 200)
        began = trio.current_time()
        assert (await push("bb"))[0] == 200
        assert trio.current_time() - began >= 0.1
        assert (await push("dd"))[2] == 7
        silent = client.request(f"/3/device/{'cc' * 32}", apns_headers, ALERT)
        assert (await push("ee"))[0] == 200
        assert silent not in client.answers
        assert twin.ledger.accepted == 4


@pytest.mark.parametrize(
    ("rule", "status", "code"),
    [
        ({"answer": "dead"}, 404, "UNREGISTERED"),
        ({"answer": "dead", "reason": "SENDER_ID_MISMATCH"}, 403, "SENDER_ID_MISMATCH"),
        ({"answer": "429", "retry_after": 9}, 429, "QUOTA_EXCEEDED"),
        ({"answer": "503"}, 503, "UNAVAILABLE"),
        ({"answer": "500"}, 500, "INTERNAL"),
        ({"answer": "refuse", "status": 401, "reason": "THIRD_PARTY_AUTH_ERROR"}, 401, "THIRD_PARTY_AUTH_ERROR"),
    ],
)
async def test_fcm_says_what_the_script_says(
    start_twin: StartTwin, rule: dict[str, Any], status: int, code: str
) -> None:
    async with start_twin("fcm", rules=[rule | {"prefix": "dead"}]) as twin, twin.connect() as client:
        bearer = await sign_in(client, twin.ready.credentials["service_account"])
        body = msgspec.json.encode({"message": {"token": "dead-1", **HELLO}})
        answer = await client.ask(PATH, bearer, body)
        error = json.loads(answer.body)["error"]
        details = {detail["@type"].rpartition(".")[2]: detail for detail in error["details"]}
        assert (answer.status, error["code"], details["FcmError"]["errorCode"]) == (status, status, code)
        assert answer.headers.get("retry-after") == ("9" if status == 429 else None)
        assert ("QuotaFailure" in details) == (status == 429)
        assert twin.ledger.accepted == 0


async def sign_in(client: Client, account: str) -> dict[str, str]:
    held = json.loads(await trio.Path(account).read_bytes())
    fields = {"content-type": FORM[b"content-type"].decode()}
    granted = await client.ask("/token", fields, form(assertion=assertion(held)))
    return {"authorization": "Bearer " + json.loads(granted.body)["access_token"], "content-type": "application/json"}


@pytest.mark.parametrize(("name", "text"), [("s.toml", "latency_ms = 5\n"), ("s.json", '{"latency_ms": 5}')])
def test_a_script_with_a_byte_order_mark_is_read(tmp_path: Path, name: str, text: str) -> None:
    """E4: an editor on Windows adds the mark when it saves the file."""
    assert load_script(write(tmp_path, "\ufeff" + text, name)).latency_ms == 5


def test_a_script_nested_too_deeply_is_no_script(tmp_path: Path) -> None:
    """S23: unexpected RecursionError."""
    with pytest.raises(ScriptError, match="not valid TOML"):
        load_script(write(tmp_path, f"rules = {'[' * 20_000}{']' * 20_000}\n"))


def test_a_rule_may_concern_one_kind_of_target_and_hold_while_a_file_is_there(tmp_path: Path) -> None:
    """27.4: Google gives a base's tokens up in mid-campaign, and not the ids that take their place."""
    there = tmp_path / "moved"
    text = f'[[rules]]\nprefix = "c"\nkind = "token"\nwhile_file = "{there}"\nanswer = "dead"\n'
    director = Director(load_script(write(tmp_path, text)), time.monotonic)
    assert director.rule_for("c" * 22 + ":x", kind="token") is None
    there.touch()
    assert director.rule_for("c" * 22 + ":x", kind="token") is not None
    assert director.rule_for("c" * 22, kind="fid") is None
