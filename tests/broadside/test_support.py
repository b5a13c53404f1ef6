"""The support bundle: secrets, tokens and texts of the news are planted everywhere, and are nowhere in it."""

from __future__ import annotations

import base64
import json
import secrets
import zipfile
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from broadside import cli
from broadside.datafolder import DataFolder
from broadside.support.redaction import Redactor
from storage import admin
from tests.broadside.fake_node import FakeNode
from tests.conftest import Server

APNS = secrets.token_hex(32)
FCM = f"{secrets.token_urlsafe(16)[:22]}:APA91b{secrets.token_urlsafe(100)}"
FID = "c" + secrets.token_urlsafe(16)[:21]
NEWS = "The minister resigns"
PASSWORD = "tr0ub4dor"
WEBHOOK = "T024BE7LD"
WORDS = {
    "the store's password": PASSWORD,
    "the proxy's password": "open-sesame",
    "the webhook's secret": "wh1sper-wh1sper-wh1sper",
    "the webhook's path": WEBHOOK,
    "an APNs token": APNS,
    "an FCM token": FCM,
    "an installation's id": FID,
    "a campaign's title": NEWS,
    "the hook's variable": "hook-variable-value",
    "the token of a channel put by the API": "sp0rt-sp0rt-sp0rt",
}
KEPT = {
    "event": "kept",
    "seconds": 3.5,
    "node": "node-7",
    "campaign": "azmm24cxtlbeu",
    "path": "/usr/lib/python3.11/x.py",
}
CONFIGURATION = f"""
[node]
name = "node-7"
data = "var"
[http]
bind = "127.0.0.1:0"
[store]
uri = "127.0.0.1:1"
password_file = "secrets/store"
[network]
proxy = "http://proxy.example.org:3128"
proxy_credentials = "secrets/proxy"
[queue]
embedded = true
[channels.ios-news]
platform = "apns"
app = "com.example.news"
origin = "https://127.0.0.1:1"
warm_up = "{APNS}"
credentials = {{ key = "secrets/key.p8", key_id = "ABC123DEFG", team_id = "DEF123GHIJ" }}
[[webhooks]]
name = "desk"
url = "https://hooks.example.org/services/{WEBHOOK}/x?key=open"
secret_file = "secrets/webhook"
[[hooks]]
name = "purge"
url = "https://cdn.example.org/purge"
authorization_env = "HOOK_AUTHORIZATION"
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's folders, with all of that in files, variables and logs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOOK_AUTHORIZATION", WORDS["the hook's variable"])
    (tmp_path / "secrets").mkdir()
    key = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for name, content in {
        "store": PASSWORD.encode() + b"\n",
        "proxy": b"newsroom:open-sesame\n",
        "webhook": WORDS["the webhook's secret"].encode(),
        "key.p8": key,
    }.items():
        (tmp_path / "secrets" / name).write_bytes(content)
        (tmp_path / "secrets" / name).chmod(0o600)
    (tmp_path / "broadside.toml").write_text(CONFIGURATION)
    folder = DataFolder(tmp_path / "var")
    folder.create()
    (folder.credentials / "sport.token").write_text(WORDS["the token of a channel put by the API"])
    put = {"platform": "rustore", "app": "sport", "credentials": {"service_token": "sport.token"}}
    (folder.root / "channels.json").write_text(json.dumps({"sport": put}))
    api_key = folder.key()
    other = trustme.CA().private_key_pem.bytes().decode()
    lines: list[dict[str, Any] | str] = [
        {"event": "channel stands still", "why": f"refused {FCM} and {FID}: bad password {PASSWORD}", "level": "info"},
        {"event": "request", "authorization": f"Bearer {api_key}", "title": NEWS, "nested": [{"token": APNS}]},
        {"event": "failed", "exception": f"Traceback\n  File x\nValueError: {APNS[:40]!r} {key.decode()}"},
        f"plain: GET https://newsroom:open-sesame@proxy.example.org/?token={FID} Bearer {api_key}",
        " ".join((WORDS["the webhook's secret"], WORDS["the hook's variable"], other)),
        f"refused {WORDS['the token of a channel put by the API']}",
        {
            "event": "kept",
            "seconds": 3.5,
            "node": "node-7",
            "campaign": "azmm24cxtlbeu",
            "path": "/usr/lib/python3.11/x.py",
        },
    ]
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder.logs / "node.log").write_text(text + "\n")
    WORDS["the API's key"] = api_key
    WORDS["the signing key"] = key.decode().splitlines()[1]
    WORDS["a key in the log"] = other.splitlines()[1]
    return tmp_path


def parts(bundle: Path) -> dict[str, str]:
    with zipfile.ZipFile(bundle) as file:
        return {name: file.read(name).decode() for name in file.namelist()}


def test_no_secret_no_token_and_no_news_is_in_the_bundle_and_what_helps_is(
    planted: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["support", "bundle.zip"]) == 0
    assert "look through it" in capfd.readouterr().out
    assert (planted / "bundle.zip").stat().st_mode & 0o077 == 0
    found = parts(planted / "bundle.zip")
    for what, word in WORDS.items():
        for piece in {word, word[:24], word[-24:]}:
            assert [name for name, text in found.items() if piece in text] == [], what
    assert set(found) >= {"config.json", "doctor.json", "versions.json", "node.json", "files.json", "logs/node.log"}
    assert json.loads(found["config.json"])["put"]["sport"]["app"] == "sport"
    config = json.loads(found["config.json"])["tables"]
    assert config["channels"]["ios-news"]["app"] == "com.example.news"
    assert config["webhooks"][0]["url"] == "https://hooks.example.org"
    assert config["channels"]["ios-news"]["credentials"]["key"] == "secrets/key.p8", "where it is, not what it is"
    assert any(each["name"] == "store" and not each["ok"] for each in json.loads(found["doctor.json"]))
    assert "no node is running" in found["node.json"]
    last = json.loads(found["logs/node.log"].splitlines()[-1])
    assert last == KEPT
    assert cli.run(["support", "bundle.zip"]) == 2, "nothing is overwritten"


def test_what_a_running_node_says_of_itself_is_in_it_without_the_tokens_of_its_crashes(planted: Path) -> None:
    folder = DataFolder(planted / "var")
    crash = f"ValueError: {FCM} is refused, {APNS} too"
    worker = {"id": "worker-1", "crash": crash, "state": "parked"}
    with folder.locked():
        node = FakeNode(folder)
        node.ring = [{"name": "node-7", "status": "alive", "state": {"version": "1.0", "tree": worker}}]
        try:
            assert cli.run(["support", "bundle.zip"]) == 0
        finally:
            node.close()
    found = parts(planted / "bundle.zip")
    assert not [name for name, text in found.items() if FCM in text or APNS in text]
    (told,) = json.loads(found["node.json"])["ring"]["nodes"]
    assert told["state"]["tree"]["crash"].startswith("ValueError: (")


def test_a_broken_configuration_gets_a_bundle_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broadside.toml").write_text(f'[node]\nworkers = 0\n[store]\npassword = "{PASSWORD}"\n')
    assert cli.run(["support", "bundle.zip"]) == 0
    found = parts(tmp_path / "bundle.zip")
    assert "node.workers" in found["doctor.json"]
    assert not [name for name, text in found.items() if PASSWORD in text]


def test_a_running_instance_says_how_large_its_spaces_are(own_tarantool: Server) -> None:
    folder = own_tarantool.embedded.directory
    sizes = admin.ask(folder / "admin.sock", "sizes")["spaces"]
    assert sizes["store_subscribers"]["rows"] == 0
    assert {"store_campaigns", "tubes_outbox", "push_ios"} <= set(sizes)


@given(st.binary(min_size=16, max_size=120))
def test_whatever_a_token_is_made_of_it_is_known_by_its_look(raw: bytes) -> None:
    redactor = Redactor([])
    text = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    for token in (raw.hex() + "a1", text + "4Gb7", raw.hex().upper() + "A1"):
        assert token not in redactor.text(f"refused {token}, retried")
        assert token not in redactor.text(f'{{"why":"{token}"}}')
