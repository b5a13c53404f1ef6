"""A drill sends the whole base to simulators: no credential, no phone, no verdict, and never in a campaign's way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from broadside import cli
from broadside.api.api_client import Client
from broadside.api.campaign_report import FireRequest
from broadside.api.drill_records import DrillRecord, DrillRequest
from broadside.api.v1 import table
from broadside.config.config import Channel, Config
from broadside.config.drills import DrillChannel, DrillConfig
from broadside.datafolder import DataFolder
from broadside.errors import ApiError, ConfigError
from broadside.newsroom.drills import drill_desk
from broadside.node.drill_twins import DrillTwins, script, setup
from campaigns.campaign import Campaign
from campaigns.drill import DRILL, drill_channel
from campaigns.experience import ChannelExperience, NodeExperience
from campaigns.message import Message
from tests.broadside.test_config import read
from tests.broadside.test_node_end_to_end import RUNNER, NodeProcess
from transports.proxy import Proxy
from transports.traffic import CLASSES, time_class

PHONES = 900
"""Fewer than the pushes from which on the node's own measurements would change the simulators."""
SLOW = "latency_ms = 1500\nstreams = 1\nfirst_streams = 1\n"
SECRETS = ("/etc/apns.p8", "K3Y1D45678", "TEAM567890", "proxy.example", "user", "push.provider.example")


def configured() -> Config:
    """A newsroom with real credentials, its own origin and a proxy."""
    key, key_id, team, proxy, user, origin = SECRETS
    return Config(
        drill=DrillConfig(),
        proxy=Proxy(host=proxy, port=3128, credentials=f"{user}:pass"),
        channels={
            "ios": Channel(
                platform="apns",
                app="com.example.news",
                credentials={"key": key, "key_id": key_id, "team_id": team},
                origin=f"https://{origin}",
                warm_up="a-token-of-our-own",
            )
        },
    )


def ready(twins: DrillTwins, origin: str = "https://localhost:4711") -> None:
    for twin in twins.twins.values():
        twin._ready({"port": 4711, "origin": origin, "ca": "/tmp/ca.pem", "credentials": {"key": "a throw-away"}})


def test_a_drill_has_nothing_of_a_providers_credentials_or_address(tmp_path: Path) -> None:
    config = configured()
    assert set(DrillChannel._fields) == {"channel", "platform", "app", "connections"}, "there is no room for a secret"
    twins = DrillTwins(config.drills, tmp_path)
    ready(twins)
    (found,) = twins.setups(2, {})
    said = msgspec.json.encode(found).decode()
    assert not [secret for secret in (*SECRETS, "a-token-of-our-own") if secret in said]
    assert (found.name, found.origin, found.credentials) == (
        "drill-ios", "https://localhost:4711", {"key": "a throw-away"},
    )  # fmt: skip
    assert (found.proxy, found.warm_up) == (None, None)
    ready(twins, "")
    assert twins.setups(2, {}) == [], "a simulator that does not run has no channel"
    for elsewhere in ("https://api.push.apple.com", "https://10.0.0.1:443", ""):
        ready(twins, elsewhere)
        with pytest.raises(ValueError, match="not this machine"):
            setup(config.drills[0], twins.twins["apns"], 1, None)


def test_a_platform_without_a_twin_takes_no_part(tmp_path: Path) -> None:
    config = configured()
    mail = Channel(platform="pigeon-post", app="news", origin="https://localhost:1")
    config = msgspec.structs.replace(config, channels={**config.channels, "mail": mail})
    assert [drill.channel for drill in config.drills] == ["ios"]
    assert config.tubes == ["ios", "mail", "drill-ios"]
    assert list(DrillTwins(config.drills, tmp_path).twins) == ["apns"]


def test_no_channel_of_a_configuration_has_the_name_of_a_drills(tmp_path: Path) -> None:
    text = '[channels.drill-ios]\nplatform = "apns"\napp = "com.example.news"\ntwin = true\n'
    with pytest.raises(ConfigError, match="begins as only the channels of drills do"):
        read(tmp_path, text)


@pytest.mark.parametrize(("line", "why"), [('at = "25:00"', "no time of a day"), ('every = "36h"', "not whole days")])
def test_a_wrong_time_of_a_drill_is_refused(tmp_path: Path, line: str, why: str) -> None:
    channel = '[channels.ios]\nplatform = "apns"\napp = "com.example.news"\ntwin = true\n'
    with pytest.raises(ConfigError, match=why):
        read(tmp_path, f"{channel}[drill]\n{line}\n")


def test_a_simulator_answers_as_the_provider_was_found_to(tmp_path: Path) -> None:
    answers = [0.0] * CLASSES
    answers[time_class(0.06)], answers[time_class(0.5)] = 1980.0, 20.0
    known = ChannelExperience(pushes=2000, answers=answers, streams=900, window=1000)
    text = script([known])
    assert "streams = 900" in text
    assert "connection_window = 65535" in text, "the least that HTTP/2 has"
    assert 50 < float(text.split("p50 = ")[1].split(",")[0]) < 70
    assert script([ChannelExperience(pushes=10)]) == ""
    twins = DrillTwins(configured().drills, tmp_path / "drill")
    assert twins.measured(NodeExperience(channels={"ios": known})) == ["drill-twin-apns"]
    assert twins.measured(NodeExperience(channels={"ios": known})) == [], "nothing has changed"


def campaign(n: int, seconds: float, version: int = 3) -> Campaign:
    at = 1_800_000_000_000 + n
    name = drill_channel("ios")
    return Campaign(
        id=n, version=version, state="done", message=Message(body="b"), audience=[name],
        policy={DRILL: {"by": "timer"}, "ttl_ms": 1, "lane": "lower"}, created_at=at, fired_at=at,
        finished_at=at + round(1000 * seconds), walked=True,
        tallies={name: {"audience": 1000, "enqueued": 1000, "delivered": 1000}},
    )  # fmt: skip


def told(*drills: Campaign) -> list[DrillRecord]:
    return drill_desk.records([*drills][::-1], 1_900_000_000_000)


def test_a_drill_that_is_slower_than_those_before_it_is_an_alarm() -> None:
    usual = [campaign(n, 10.0) for n in range(3)]
    assert drill_desk.alarms(told(*usual)) == []
    (alarm,) = drill_desk.alarms(told(*usual, campaign(4, 20.0)))
    assert "50 pushes a second, and the drills before it 100" in alarm.text
    waited = campaign(4, 20.0, version=5)
    assert drill_desk.alarms(told(*usual, waited)) == [], "it waited for a campaign: its time means nothing"
    assert told(waited)[0].yielded
    assert drill_desk.alarms(told(*usual, replace(campaign(4, 20.0), state="cancelled"))) == []


class DrillNode(NodeProcess):
    """A node whose simulators for drills are slow, and call every token dead."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, PHONES)
        self.runner = RUNNER.replace("    http=Http", "    drill=DrillConfig(),\n    http=Http").replace(
            "import run_node", "import run_node\nfrom broadside.config.drills import DrillConfig"
        )

    def begin(self, text: str) -> DrillNode:
        drill = self.data / "twins" / "drill"
        drill.mkdir(mode=0o700, parents=True)
        self.data.chmod(0o700)
        for platform in ("apns", "fcm"):
            (drill / f"{platform}.script.toml").write_text(text)
        self.start()
        self.wait_for("serving;", 120)
        return self

    def client(self) -> Client:
        return Client.of(DataFolder(self.data))

    def collapses(self) -> set[str]:
        """The campaigns of which the simulators of the real channels have delivered anything."""
        lines = b"".join(path.read_bytes() for path in (self.data / "twins").glob("*.ledger")).splitlines()
        return {json.loads(line)["collapse"] for line in lines}


@pytest.fixture
def node(tmp_path: Path) -> Iterator[DrillNode]:
    node = DrillNode(tmp_path)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.end()


def last(client: Client) -> DrillRecord:
    return client.call(table.DRILLS).items[0]


@pytest.mark.tarantool
@pytest.mark.timeout(300)
def test_the_whole_base_is_sent_and_no_phone_hears_of_it_and_nobody_is_deleted(
    node: DrillNode, capsys: pytest.CaptureFixture[str]
) -> None:
    node.begin('[[rules]]\nanswer = "dead"\n')
    with node.client() as client:
        node.until(lambda: client.campaigns()[0].state == "done", "end of the demo's campaign", 60)
        node.judged()
        before, asked = client.call(table.COUNT).channels, client.dead()
        real = node.collapses()
        assert cli.run(["drill", "--data", str(node.data), "--json"]) == 0
        found = msgspec.json.decode(capsys.readouterr().out, type=DrillRecord)
        assert (found.state, found.settled) == ("done", sum(before.values()))
        assert set(found.rates) == {drill_channel(name) for name in before}
        report = client.call(table.CAMPAIGN, id=found.id)
        assert {tally.dead for tally in report.channels.values()} == {*before.values()}, "every simulator said dead"
        assert client.call(table.VERIFY, id=found.id).ok
        assert client.call(table.COUNT).channels == before, "nobody has left the base"
        assert client.dead() == asked, "and nobody is asked"
        assert node.collapses() == real, "no real channel has sent any of it"
    assert cli.run(["drill", "--report", "--data", str(node.data)]) == 0
    assert found.id in capsys.readouterr().out


@pytest.mark.tarantool
@pytest.mark.timeout(300)
def test_a_drill_yields_to_a_campaign_and_goes_on_behind_it(node: DrillNode) -> None:
    node.begin(SLOW)
    with node.client() as client:
        node.until(lambda: client.campaigns()[0].state == "done", "end of the demo's campaign", 60)
        began = client.call(table.DRILL_START, DrillRequest())
        with pytest.raises(ApiError, match="is firing"):
            client.call(table.DRILL_START, DrillRequest())
        fired = client.fire(FireRequest(message=Message(title="Now", body="This is real."), kind="breaking"))
        node.until(lambda: client.call(table.CAMPAIGN, id=fired.id).ended, "end of the campaign", 20)
        then = last(client)
        assert then.settled < then.phones, "the campaign has passed the drill"
        assert then.yielded
        node.until(lambda: last(client).state == "done", "end of the drill", 120)
        then = last(client)
        assert (then.id, then.yielded) == (began.id, True)
        stayed = sum(client.call(table.COUNT).channels.values())  # the real one may have found some dead meanwhile
        assert stayed <= then.settled <= began.phones
        assert began.id not in node.collapses()


@pytest.mark.tarantool
@pytest.mark.timeout(300)
def test_a_node_serves_without_its_simulators_for_drills(node: DrillNode) -> None:
    node.begin("this is no script")
    with node.client() as client:
        node.until(lambda: client.campaigns()[0].state == "done", "end of the demo's campaign", 60)
