"""SIGHUP: a node reads its configuration anew. No push is lost or repeated, and what stays the same goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from broadside.api.api_client import Client
from broadside.api.campaign_report import FireRequest
from broadside.config.config import Channel, Config
from broadside.config.difference import difference
from broadside.config.outward_tables import HerdConfig
from broadside.datafolder import DataFolder
from broadside.demo import samples
from campaigns.kind import BUILT_IN
from campaigns.message import Message

PHONES = 6000
LATENCY = 300
"""Milliseconds for each answer: there are always pushes under way."""
SLOW = "rate = 200.0"
NEW_KEY = "NEWKEY0001"
APPS = {"news": "com.example.news", "sport": "com.example.sport"}


class Twin:
    """A provider's twin that is not the node's: its connections are seen from outside."""

    def __init__(self, platform: str, folder: Path) -> None:
        folder.mkdir()
        self.platform = platform
        self.path = folder / "ledger"
        script = folder / "script.toml"
        script.write_text(f"latency_ms = {LATENCY}\n")
        if platform == "apns":
            with script.open("a") as file:
                file.write(f'streams = 100\n[[keys]]\nkey_id = "{NEW_KEY}"\nteam_id = "TWINTEAM01"\n')
        command = [sys.executable, "-m", "simulators.twin", platform, "--directory", str(folder), "--guard"]
        command += ["--ledger", str(self.path), "--script", str(script)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.said: dict[str, Any] = json.loads(self.process.stdout.readline())

    def channel(self, app: str, credentials: dict[str, str] | None = None, more: str = "") -> str:
        """A channel's table, without its head."""
        table = {"platform": self.platform, "app": app, "origin": self.said["origin"], "ca": self.said["ca"]}
        lines = [f'{key} = "{value}"' for key, value in table.items()]
        entries = ", ".join(f'{key} = "{value}"' for key, value in (credentials or self.said["credentials"]).items())
        return "\n".join([*lines, f"credentials = {{ {entries} }}", more, ""])

    def pushes(self) -> Counter[str]:
        """Token → how often it got a push, app by app."""
        whole, _, _ = self.path.read_text().rpartition("\n")  # the twin may be writing the next line just now
        found = [json.loads(line) for line in whole.splitlines()]
        return Counter(f"{each['app']} {each['token']}" for each in found if not each.get("validated"))

    def connections(self) -> set[str]:
        """The clients' ends of the connections that are up."""
        port = f":{int(self.said['port']):04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return {line[1] for line in lines if line[2].endswith(port) and line[3] == "01"}

    def steady(self) -> set[str]:
        """The same, once none has come or gone for a while."""
        found, since = self.connections(), time.monotonic()
        while not found or time.monotonic() < since + 0.4:
            time.sleep(0.05)
            if (now := self.connections()) != found:
                found, since = now, time.monotonic()
        return found

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()


class Reloaded:
    """A node from a file, with two providers."""

    def __init__(self, folder: Path) -> None:
        self.apple, self.google = Twin("apns", folder / "apple"), Twin("fcm", folder / "google")
        self.config = folder / "broadside.toml"
        self.data = DataFolder(folder / "var")
        self.output = folder / "output"
        self.channels = self.slow()
        self.rest = ""
        self.write()
        command = [sys.executable, "-m", "broadside.cli", "node", "--config", str(self.config), "--no-demo"]
        with self.output.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def slow(self) -> dict[str, str]:
        """The channels' tables at first."""
        return {
            "ios-news": self.apple.channel(APPS["news"], more=SLOW),
            "android-news": self.google.channel(self.project, more=SLOW),
        }

    @property
    def project(self) -> str:
        account = Path(self.google.said["credentials"]["service_account"])
        return str(json.loads(account.read_text())["project_id"])

    def write(self) -> None:
        """Write the configuration."""
        head = '[node]\nworkers = 2\ndata = "var"\nmemory = "128 MB"\n[http]\nbind = "127.0.0.1:0"\n'
        head += '[newsroom]\nquiet = "off"\n[guards]\nrepeat = "0"\n'
        tables = [f"[channels.{name}]\n{table}" for name, table in self.channels.items()]
        self.config.write_text("\n".join([head, self.rest, *tables]))

    def wait_for(self, text: str, seconds: float = 30.0, since: int = 0) -> str:
        return self.until(lambda: text in (said := self.output.read_text()[since:]) and said, repr(text), seconds)

    def until(self, look: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := look():
                return found
            assert self.process.poll() is None, f"the node ended:\n{self.output.read_text()}"
            time.sleep(0.02)
        raise AssertionError(f"no {what} within {seconds} s:\n{self.output.read_text()}")

    def reload(self, says: str = "configuration reloaded") -> str:
        """Write the file, send SIGHUP, and return what the log says of it."""
        self.write()
        return self.hup(says)

    def hup(self, says: str = "configuration reloaded") -> str:
        since = len(self.output.read_text())
        self.process.send_signal(signal.SIGHUP)
        said = self.until(
            lambda: "reload" in (said := self.output.read_text()[since:]) and said.endswith("\n") and said, says
        )
        assert says in said, said
        return next(line for line in said.splitlines() if says in line)

    def put(self, phones: int, channels: dict[str, str]) -> set[str]:
        """Add sample phones; returns them as the ledgers write them."""
        rows = list(samples.subscribers(phones, 0.0, channels))
        with Client.of(self.data) as client:
            for at in range(0, phones, 1000):
                client.upsert(b"\n".join(map(msgspec.json.encode, rows[at : at + 1000])))
        apps = {"ios-news": APPS["news"], "ios-sport": APPS["sport"], "android-news": self.project}
        return {f"{apps[row.channel]} {row.token}" for row in rows}

    def fire(self, *channels: str) -> str:
        """Fire; returns the campaign's id."""
        with Client.of(self.data) as client:
            return client.fire(FireRequest(message=Message(title="News", body="of today"), channels=list(channels))).id

    def state(self, campaign: str) -> str:
        return str(self.api(f"/v1/campaigns/{campaign}")["state"])

    def api(self, path: str) -> Any:
        key = (self.data.root / "api.key").read_text().strip()
        url = json.loads((self.data.root / "node.json").read_text())["url"]
        return httpx.get(url + path, headers={"authorization": f"Bearer {key}"}, timeout=20).raise_for_status().json()

    def pushes(self) -> Counter[str]:
        return self.apple.pushes() + self.google.pushes()

    def workers(self) -> list[int]:
        return [worker["pid"] for worker in self.api("/v1/status")["workers"]]

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.apple.end()
        self.google.end()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reloaded]:
    made = Reloaded(tmp_path_factory.mktemp("reload"))
    try:
        made.wait_for("serving;", 120)
        yield made
    finally:
        made.end()


@pytest.mark.tarantool
@pytest.mark.xdist_group("reload")
@pytest.mark.timeout(180)
def test_a_wrong_configuration_changes_nothing_and_says_why(node: Reloaded) -> None:
    before = node.workers()
    whole = node.channels["ios-news"]
    node.channels["ios-news"] = whole.replace(SLOW, "rate = -1.0")
    node.rest = '[kinds.flash]\nlane = "first"\n'
    said = node.reload("reload refused")
    for part in (
        "channels.ios-news.rate: -1.0 is out of range",
        'kinds.flash.lane: \\"first\\" is unknown',
        "upper overtakes",
    ):
        assert part.replace("\\", "") in said.replace("\\", ""), said
    assert "flash" not in node.api("/v1/newsroom")["kinds"]
    assert node.workers() == before

    # what cannot be taken up is named, and what can be is taken up in the same reload
    node.channels["ios-news"] = whole
    node.rest = '[kinds.flash]\nlane = "upper"\n[supervision]\nrestarts = 3\n'
    said = node.reload()
    assert "kinds.flash: added" in said
    assert "supervision.restarts: 10 → 3" in said
    assert "flash" in node.api("/v1/newsroom")["kinds"]
    entry = node.api("/v1/audit")["entries"][0]
    assert (entry["action"], entry["name"]) == ("reload", "configuration")
    assert entry["detail"] == {"changed": ["kinds.flash: added"], "waits": ["supervision.restarts: 10 → 3"]}


@pytest.mark.tarantool
@pytest.mark.xdist_group("reload")
@pytest.mark.timeout(180)
def test_reloads_under_a_campaign_lose_and_repeat_nothing_and_disturb_no_other_channel(node: Reloaded) -> None:
    node.channels = node.slow()
    node.rest = ""
    node.reload()
    live = node.put(PHONES, {"ios-news": "apns", "android-news": "fcm"})
    workers = node.workers()
    campaign = node.fire("ios-news", "android-news")
    node.until(lambda: sum(node.apple.pushes().values()) > 200, "200 pushes to Apple")

    # a rate: nobody's connections are closed, not even the channel's own
    apple, google = node.apple.steady(), node.google.steady()
    node.channels["ios-news"] = node.apple.channel(APPS["news"], more="rate = 250.0")
    assert "channels.ios-news.rate: 200.0 → 250.0" in node.reload()
    assert apple <= node.apple.connections()
    assert google <= node.google.connections()

    # another key: that channel connects anew, and the other one does not
    new = {"key": str(node.config.parent / f"apple/AuthKey_{NEW_KEY}.p8"), "key_id": NEW_KEY, "team_id": "TWINTEAM01"}
    node.channels["ios-news"] = node.apple.channel(APPS["news"], new, more="rate = 250.0")
    said = node.reload()
    assert "channels.ios-news.credentials.key_id" in said
    assert not apple & node.apple.connections()
    assert google <= node.google.connections()

    # what a file holds, under the same name
    account = Path(node.google.said["credentials"]["service_account"])
    account.write_text(account.read_text() + "\n")
    apple = node.apple.steady()
    assert "channels.android-news.credentials: what the files hold" in node.hup()
    assert not google & node.google.connections()
    assert apple <= node.apple.connections()

    # one channel more, and a push over it while the campaign is under way
    google = node.google.steady()
    node.channels["ios-sport"] = node.apple.channel(APPS["sport"], new)
    assert "channels.ios-sport: added" in node.reload()
    sport = node.put(20, {"ios-sport": "apns"})
    other = node.fire("ios-sport")
    node.until(lambda: node.state(other) == "done", "end of the other campaign")
    assert node.state(campaign) == "firing", "all of this happened in mid-campaign"

    # a channel that the campaign goes to stays, whatever the file says; others leave
    table = node.channels.pop("android-news")
    refused = node.reload("reload refused")
    assert (
        f"channels.android-news: cannot leave, or be another app's: campaign {campaign} (firing) goes to it" in refused
    )
    node.channels["android-news"] = table
    del node.channels["ios-sport"]
    assert "channels.ios-sport: removed" in node.reload()
    assert google <= node.google.connections()

    # the campaign's end need not be waited for any longer
    apple, google = node.apple.steady(), node.google.steady()
    for name in node.channels:
        node.channels[name] = node.channels[name].replace("rate = 2", "rate = 5000.0 # 2")
    node.reload()
    assert apple <= node.apple.connections()
    assert google <= node.google.connections()
    node.until(lambda: node.state(campaign) == "done", "end", 60)
    assert node.workers() == workers, "no process has ended"
    assert node.pushes() == Counter(live | sport), "everybody once"
    assert "Traceback" not in node.output.read_text()
    node.process.send_signal(signal.SIGTERM)
    assert node.process.wait(40) == 0


CHANNEL = Channel(platform="apns", app="com.example.news", twin=True)


def test_what_waits_for_a_restart_is_named_and_does_not_apply() -> None:
    old = Config(channels={"a": CHANNEL})
    new = msgspec.structs.replace(
        old,
        node=msgspec.structs.replace(old.node, workers=7, drain=9.0),
        http=msgspec.structs.replace(old.http, bind="127.0.0.1:1", names=("push.example.org",)),
        kinds={**BUILT_IN, "flash": BUILT_IN["news"]},
        channels={"a": msgspec.structs.replace(CHANNEL, rate=5.0), "b": CHANNEL},
        keep_days=3,
    )
    found = difference(old, new, lambda channel: False)
    assert found.live == [
        'http.names: none → "push.example.org"', "channels.a.rate: none → 5.0", "channels.b: added",
        "kinds.flash: added", "store.keep: 90 → 3",
    ]  # fmt: skip
    assert set(found.later) == {
        f"node.workers: {old.node.workers} → 7", "node.drain: 25.0 → 9.0",
        'http.bind: "127.0.0.1:8765" → "127.0.0.1:1"',
    }  # fmt: skip
    assert found.config.node == old.node
    assert found.config.http.bind == old.http.bind
    assert found.config.keep_days == 3
    assert difference(found.config, found.config, lambda channel: False)[1:] == ([], [])


def test_a_channel_whose_simulator_does_not_run_waits_for_a_restart() -> None:
    old = Config(channels={"a": CHANNEL})
    more = Channel(platform="fcm", app="example", twin=True)
    found = difference(
        old, msgspec.structs.replace(old, channels={"a": CHANNEL, "b": more}), lambda c: c.twin and c is more
    )
    assert (found.live, found.later, list(found.config.channels)) == ([], ["channels.b: added"], ["a"])


def test_an_address_is_not_shown() -> None:
    old = Config(channels={"a": CHANNEL}, herd=HerdConfig(health_url="https://a.example/?key=1", every=1.0))
    new = msgspec.structs.replace(old, herd=HerdConfig(health_url="https://a.example/?key=2", every=2.0))
    assert difference(old, new, lambda channel: False).live == ["herd.health_url: changed", "herd.every: 1.0 → 2.0"]
