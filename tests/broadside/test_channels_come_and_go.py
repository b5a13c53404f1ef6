"""Channels are added, changed, rotated and removed by the API of a running node, and others are not disturbed."""

from __future__ import annotations

import json
import shutil
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from broadside.api.channel_records import ChannelSettings
from broadside.config.config import Channel, Config
from broadside.config.put_channels import PutChannels
from broadside.errors import ConfigError
from tests.broadside.test_reload import APPS, NEW_KEY, SLOW, Reloaded

PHONES = 12_000
SLOWER = "rate = 60.0"
"""So slow that the campaign lasts as long as all the changes, on a busy machine, too."""
SPORT = 600
"""Phones of the channel that comes and goes."""


class Living(Reloaded):
    """A node whose channels change by its API."""

    def slow(self) -> dict[str, str]:
        return {name: table.replace(SLOW, SLOWER) for name, table in super().slow().items()}

    @property
    def secrets(self) -> Path:
        return self.data.credentials

    def sport(self, **more: Any) -> dict[str, Any]:
        """The settings of the channel that comes."""
        said = self.apple.said
        for name, file in (("key.p8", said["credentials"]["key"]), ("ca.pem", said["ca"])):
            shutil.copy(file, self.secrets / name)
            (self.secrets / name).chmod(0o600)
        credentials = {**said["credentials"], "key": "key.p8"}
        table = {"platform": "apns", "app": APPS["sport"], "origin": said["origin"], "ca": "ca.pem"}
        return {**table, "credentials": credentials, "rate": 20.0, **more}

    def ask(self, method: str, path: str, body: Any = None, key: str = "") -> httpx.Response:
        key = key or (self.data.root / "api.key").read_text().strip()
        url = json.loads((self.data.root / "node.json").read_text())["url"]
        headers = {"authorization": f"Bearer {key}"}
        return httpx.request(method, url + path, json=body, headers=headers, timeout=100)

    def done(self, method: str, path: str, body: Any = None) -> list[str]:
        answer = self.ask(method, path, body)
        assert answer.status_code == 200, answer.text
        found: list[str] = answer.json()["changed"]
        return found

    def refused(self, method: str, path: str, body: Any = None) -> tuple[int, str, str, str]:
        told = self.ask(method, path, body).json()
        return told["status"], told.get("field", ""), told["detail"], told.get("remedy", "")

    def cli(self, *words: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "broadside.cli", *words, "--data", str(self.data.root)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=100, cwd=self.config.parent, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Living]:
    made = Living(tmp_path_factory.mktemp("come-and-go"))
    try:
        made.wait_for("serving;", 120)
        yield made
    finally:
        made.end()


HERE = "/v1/channels/ios-sport"


@pytest.mark.tarantool
@pytest.mark.xdist_group("come-and-go")
@pytest.mark.timeout(180)
def test_a_wrong_channel_changes_nothing_and_the_error_names_field_value_and_remedy(node: Living) -> None:
    sport = node.sport()
    status, field, detail, remedy = node.refused("PUT", HERE, sport | {"rate": -1})
    assert (status, field) == (400, "rate")
    assert "-1" in detail
    assert remedy == "pushes a second; leave it out for the provider's own quota"
    assert node.refused("PUT", HERE, sport | {"platfrom": "apns"})[:2] == (400, "platfrom")
    status, field, detail, remedy = node.refused("PUT", HERE, sport | {"platform": "pigeon"})
    assert (status, field) == (400, "platform")
    assert 'unknown platform "pigeon"' in detail
    assert remedy.startswith("known: apns")

    # a key of the network must not make the node read, or send, any file of its machine
    outside = node.config.parent / "elsewhere"
    outside.write_text("secret")
    for name in (str(outside), "../api.key"):
        wrong = sport | {"credentials": sport["credentials"] | {"key": name}}
        status, field, detail, remedy = node.refused("PUT", HERE, wrong)
        assert (status, field, remedy) == (400, "credentials.key", f"it belongs into {node.secrets}")
        assert "is outside of the folder for credentials" in detail
    status, field, detail, remedy = node.refused("PUT", HERE, sport | {"credentials": {"key": "gone.p8"}})
    assert (status, field, remedy) == (400, "credentials.key", f"it belongs into {node.secrets}")
    assert detail.startswith('credentials.key: file "gone.p8" not found; and 2 more')
    wrong = sport | {"credentials": sport["credentials"] | {"key": "ca.pem"}}
    assert node.refused("PUT", HERE, wrong)[:2] == (400, "credentials.key")  # the transport finds it
    twin = {"platform": "huawei", "app": "1", "twin": True}
    status, field, detail, remedy = node.refused("PUT", HERE, twin)
    assert (status, field) == (400, "channel")
    assert "needs a simulator of its platform, and none runs" in detail
    assert "restart the node" in remedy

    # what is in the file is changed there, and only operators change channels
    assert node.refused("PUT", "/v1/channels/ios-news", sport) == (
        409,
        "channel",
        "channel ios-news is in broadside.toml, where the API changes nothing",
        "change it there, and reload the node (kill -HUP)",
    )
    assert node.refused("DELETE", "/v1/channels/ios-news")[0] == 409
    assert node.refused("POST", f"{HERE}/credentials", {}) == (
        404,
        "channel",
        "this node has no channel ios-sport",
        "`broadside channel list` shows the channels",
    )
    assert node.refused("GET", HERE)[0] == 404
    editor = node.ask("POST", "/v1/keys", {"name": "Ana", "role": "approver"}).json()["key"]
    for method, path, body in (
        ("PUT", HERE, sport),
        ("DELETE", HERE, None),
        ("POST", f"{HERE}/credentials", {}),
        ("GET", HERE, None),
    ):
        assert node.ask(method, path, body, key=editor).status_code == 403
    assert node.done("DELETE", HERE) == []
    assert not (node.data.root / "channels.json").exists()
    assert "ios-sport" not in node.ask("GET", "/v1/channels").json()["channels"]


@pytest.mark.tarantool
@pytest.mark.xdist_group("come-and-go")
@pytest.mark.timeout(240)
def test_while_a_campaign_runs_a_channel_comes_is_rotated_and_goes_and_nobody_notices(node: Living) -> None:
    live = node.put(PHONES, {"ios-news": "apns", "android-news": "fcm"})
    workers = node.workers()
    campaign = node.fire("ios-news", "android-news")
    node.until(lambda: sum(node.apple.pushes().values()) > 200, "200 pushes to Apple")
    apple, google = node.apple.steady(), node.google.steady()

    assert node.done("PUT", HERE, node.sport()) == ["channels.ios-sport: added"]
    assert node.done("PUT", HERE, node.sport()) == [], "a repeat changes nothing"
    kept = node.data.root / "channels.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert json.loads(kept.read_text()) == {"ios-sport": node.sport()}
    sport = node.put(SPORT, {"ios-sport": "apns"})
    other = node.fire("ios-sport")
    mine = {token for token in sport if token.startswith(APPS["sport"])}
    node.until(lambda: len(node.apple.pushes().keys() & mine) > 50, "50 pushes of the new channel")

    # its rate, and another key, in the middle of its own campaign
    assert node.done("PUT", HERE, node.sport(rate=25.0)) == ["channels.ios-sport.rate: 20.0 → 25.0"]
    new = node.secrets / "new.p8"
    shutil.copy(node.config.parent / f"apple/AuthKey_{NEW_KEY}.p8", new)
    new.chmod(0o600)
    rotated = {"credentials": {"key": "new.p8", "key_id": NEW_KEY, "team_id": "TWINTEAM01"}}
    found = node.done("POST", f"{HERE}/credentials", rotated)
    assert "channels.ios-sport.credentials.key_id: changed" in found
    assert NEW_KEY not in str(found), "credentials are not shown"
    new.write_text(new.read_text() + "\n")
    assert node.done("POST", f"{HERE}/credentials", {}) == ["channels.ios-sport.credentials: what the files hold"]

    # it cannot leave while its campaign is under way, and then it can
    status, field, detail, remedy = node.refused("DELETE", HERE)
    assert (status, field) == (409, "channel")
    assert f"cannot leave, or be another app's: campaign {other} (firing) goes to it" in detail
    assert remedy == "try again when it has ended, or cancel it"
    assert node.refused("PUT", HERE, node.sport(app="com.example.other"))[0] == 409
    faster = node.sport(rate=400.0) | rotated
    assert node.done("PUT", HERE, faster) == ["channels.ios-sport.rate: 25.0 → 400.0"]
    node.until(lambda: node.state(other) == "done", "end of the other campaign", 60)
    shown = node.ask("GET", HERE).json()
    assert (shown["by_api"], shown["rate"], shown["credentials"]) == (True, 400.0, ["key", "key_id", "team_id"])
    assert NEW_KEY not in json.dumps(shown)
    node.rest = '[kinds.flash]\nlane = "upper"\n'
    assert "kinds.flash: added" in node.reload()
    assert "ios-sport" in node.ask("GET", "/v1/channels").json()["channels"], "a reload keeps it"
    assert node.done("DELETE", HERE) == ["channels.ios-sport: removed"]
    assert node.done("DELETE", HERE) == [], "a repeat changes nothing"
    assert "ios-sport" not in node.ask("GET", "/v1/channels").json()["channels"]

    assert node.state(campaign) == "firing", "all of this happened in mid-campaign"
    assert apple <= node.apple.connections(), "no connection of the other channels was closed"
    assert google <= node.google.connections()
    for name in node.channels:
        node.channels[name] = node.channels[name].replace(SLOWER, "rate = 5000.0")
    node.reload()
    node.until(lambda: node.state(campaign) == "done", "end", 120)
    assert node.pushes() == Counter(live | sport), "everybody once"
    assert node.workers() == workers, "no process has ended"
    entries = node.api("/v1/audit")["entries"]
    put = [each for each in entries if each["action"] == "PUT /v1/channels/{channel}"]
    assert {each["about"] for each in put} == {"ios-sport"}
    assert put[0]["detail"] == {
        "platform": "apns",
        "app": APPS["sport"],
        "rate": 400,
        "origin": node.sport()["origin"],
    }
    assert [each["action"] for each in entries if "credentials" in each["action"]] == [
        "POST /v1/channels/{channel}/credentials"
    ] * 2
    assert "Traceback" not in node.output.read_text()


@pytest.mark.tarantool
@pytest.mark.xdist_group("come-and-go")
@pytest.mark.timeout(180)
def test_the_command_line_does_the_same_and_a_restart_keeps_the_channel(node: Living) -> None:
    sport = node.sport()
    entries = ", ".join(f'{key} = "{value}"' for key, value in sport.pop("credentials").items())
    lines = [f"{key} = {json.dumps(value)}" for key, value in sport.items()]
    file = node.config.parent / "sport.toml"
    file.write_text("\n".join([*lines, f"credentials = {{ {entries} }}", ""]))
    assert node.cli("channel", "put", "ios-sport", str(file)) == "channels.ios-sport: added\n"
    assert json.loads(node.cli("channel", "put", "ios-sport", str(file), "--json")) == {
        "channel": "ios-sport",
        "changed": [],
    }
    rows = [line.split() for line in node.cli("channel", "list").splitlines()]
    assert ["ios-sport", "apns", APPS["sport"], "API"] in rows
    assert ["ios-news", "apns", APPS["news"], "file"] in rows
    said = node.cli("channel", "rotate", "ios-sport", "--credential", "key_id", code=2)
    assert '--credential: "key_id" is not NAME=VALUE (as in key_id=NEWKEY0001)' in said
    said = node.cli("channel", "rotate", "ios-sport", "--credential", "key=gone.p8", code=2)
    assert "credentials.key" in said
    assert node.cli("channel", "rotate", "ios-sport") == "ios-sport: nothing to change\n"
    assert "none.toml: no such file" in node.cli("channel", "put", "ios-sport", "none.toml", code=2)

    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(40) == 0
    command = [sys.executable, "-m", "broadside.cli", "node", "--config", str(node.config), "--no-demo"]
    since = len(node.output.read_text())
    with node.output.open("ab") as out:
        node.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
    node.wait_for("serving;", 120, since)
    assert ["ios-sport", "apns", APPS["sport"], "API"] in [
        row.split() for row in node.cli("channel", "list").splitlines()
    ]
    phones = node.put(20, {"ios-sport": "apns"})
    before = node.apple.pushes()
    done = node.fire("ios-sport")
    node.until(lambda: node.state(done) == "done", "end of the campaign", 60)
    assert (node.apple.pushes() - before).keys() >= phones
    assert node.cli("channel", "remove", "ios-sport") == "channels.ios-sport: removed\n"


# -- without a node ------------------------------------------------------------------------------------------------


def test_the_api_takes_what_the_file_takes() -> None:
    assert set(ChannelSettings.__struct_fields__) == set(Channel.__struct_fields__)


CONFIG = Config(channels={"a": Channel(platform="apns", app="com.example.news", twin=True)})


def test_a_name_is_in_one_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"channels\.a: is in broadside\.toml, and was put by the API, too \(take it"):
        PutChannels(tmp_path).merged(CONFIG, {"a": {"platform": "apns", "app": "x", "twin": True}})


@pytest.mark.parametrize("text", ["", "[]", "\xff", '{"a": 1}', "{", "[" * 100_000])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    put = PutChannels(tmp_path)
    put.path.write_text(text, encoding="latin-1")
    with pytest.raises(ConfigError, match=r"channels\.json: is not a table of channels in JSON \(bring it back"):
        put.read()


def test_what_is_kept_is_read_back(tmp_path: Path) -> None:
    put = PutChannels(tmp_path)
    assert put.read() == {}
    tables = {"b": msgspec.to_builtins(ChannelSettings(platform="apns", app="com.example.sport", twin=True, rate=5.0))}
    put.write(tables)
    assert put.read() == tables
    assert put.merged(CONFIG, put.read()).channels["b"].rate == 5.0
