"""``/metrics``, and that dashboard, alerts and runbooks name only what exists."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import structlog.testing
import trio
from prometheus_client.parser import text_string_to_metric_families

from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.campaign_report import FireRequest
from broadside.console.console import AddressInUse, Console, Probes
from broadside.newsroom.alarms import _CHANNEL, channel_alarms, peer_alarms, worker_alarms
from broadside.newsroom.ring import Ring
from broadside.node.processes import WorkerState
from broadside.wire import Stats
from campaigns.channel_figures import ChannelFigures
from campaigns.channel_state import _RANKS, ChannelState
from campaigns.message import Message
from storage.link import Endpoint, Link
from storage.store import Store
from tests.broadside.api_parts import api_of
from tests.broadside.test_api import KEY, newsroom_over, subscriber

ROOT = Path(__file__).parents[2]
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"
DASHBOARD = ROOT / "deploy" / "grafana" / "broadside.json"
NAME = re.compile(r"broadside_[a-z_]+")

WRONG = Alarm(name=AlarmName.DISK_FULL, severity=Severity.CRITICAL, text="a\x1b[31m<b>", remedy="r", about="store")


@pytest.fixture
async def api(own_link: Link) -> AsyncIterator[httpx.AsyncClient]:
    newsroom = newsroom_over(own_link)
    app = api_of(newsroom, Ring(store=Store(own_link), node="n1"), own_link, KEY, own=lambda: [WRONG]).app()
    headers = {"authorization": f"Bearer {KEY}"}
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as client:
        yield client


def values(text: str) -> dict[str, float]:
    """Name{labels} → value, as a reader of Prometheus's format sees them."""
    return {
        f"{sample.name}{json.dumps(sample.labels, sort_keys=True)}": sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_metrics_say_what_the_node_its_base_and_its_campaigns_do(api: httpx.AsyncClient) -> None:
    for n in range(3):
        await api.post("/v1/subscribers", json=subscriber(n))
    fired = await api.post("/v1/campaigns", json={"message": {"title": "t", "body": "b"}})
    id = fired.json()["id"]
    answer = await api.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = values(answer.text)
    assert found["broadside_ready{}"] == 1
    assert found['broadside_subscribers{"channel": "ios"}'] == 3
    assert found['broadside_pushes_total{"channel": "ios", "outcome": "delivered"}'] == 5
    assert found['broadside_batch_seconds_bucket{"channel": "ios", "le": "0.25"}'] == 0
    assert found['broadside_batch_seconds_bucket{"channel": "ios", "le": "0.5"}'] == 1
    assert found['broadside_batch_seconds_count{"channel": "ios"}'] == 1
    assert found['broadside_connections{"channel": "ios"}'] == 5
    assert found['broadside_connections_most{"channel": "ios"}'] == 32
    assert found['broadside_connections_full{"bound": "window", "channel": "ios"}'] == 3
    assert found['broadside_connections_full{"bound": "streams", "channel": "ios"}'] == 1
    assert found['broadside_cpu_seconds_total{"process": "worker-1"}'] == 1.5
    remaining = {"campaign": id, "channel": "ios", "outcome": "remaining"}
    assert found[f"broadside_campaign_recipients{json.dumps(remaining)}"] == 3
    assert found['broadside_alarm{"about": "store", "name": "disk-full", "peer": "", "severity": "critical"}'] == 1
    assert "\x1b" not in answer.text
    assert "0000000000000001" not in answer.text, "never a token"


async def test_metrics_want_the_key(api: httpx.AsyncClient) -> None:
    assert (await api.get("/metrics", headers={"authorization": "Bearer x"})).status_code == 401


@asynccontextmanager
async def console(own_link: Link, folder: Path, port: int = 0) -> AsyncIterator[tuple[str, str]]:
    """A console with an address for figures. Yields the API's URL and that of the figures."""
    api = api_of(newsroom_over(own_link), Ring(store=Store(own_link), node="n1"), own_link, KEY)
    urls: list[str] = []
    probes = Probes(api.probes(), "127.0.0.1", port)
    made = Console(
        api.app(), "127.0.0.1", 0, folder / "api.sock", probes=probes, bound=urls.append, closing=lambda: None
    )
    with structlog.testing.capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            await nursery.start(lambda task_status: made.run(task_status.started))
            (line,) = [line for line in lines if "without a key" in line["event"]]
            yield urls[0], line["url"]
            nursery.cancel_scope.cancel()


async def test_figures_at_an_address_of_their_own_want_no_key_and_nothing_else_is_there(
    own_link: Link, tmp_path: Path
) -> None:
    """Issue 22: a monitoring server had to hold a key of the newsroom."""
    async with console(own_link, tmp_path) as (url, open_url), httpx.AsyncClient() as client:
        found = await client.get(f"{open_url}/metrics")
        assert values(found.text)["broadside_ready{}"] == 1
        assert (await client.get(f"{open_url}/healthz")).json() == {"ok": True}
        assert (await client.get(f"{open_url}/readyz")).json()["ready"]
        assert (await client.get(f"{url}/metrics")).status_code == 401
        for path in ("/v1/status", "/v1/campaigns", "/v1/session", "/v1/openapi.json", "/"):
            answer = await client.get(open_url + path, headers={"authorization": f"Bearer {KEY}"})
            assert (answer.status_code, answer.json()["field"]) == (404, "path")
        assert (await client.post(f"{open_url}/metrics")).status_code == 405


async def test_a_taken_address_for_figures_is_named(own_link: Link, tmp_path: Path) -> None:
    """Issue 22."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.RaisesGroup(pytest.RaisesExc(AddressInUse, match=rf"http.metrics_bind: 127.0.0.1:{port}")):
            async with console(own_link, tmp_path, port):
                raise AssertionError("it must not start")


def away() -> httpx.AsyncClient:
    """A client of an API whose Tarantool is away."""
    nowhere = Endpoint("unix/:/nowhere", "u", "p")
    link = Link({"store": nowhere, "queue": nowhere})  # never opened
    app = api_of(newsroom_over(link), Ring(store=Store(link), node="n1"), link, KEY).app()
    headers = {"authorization": f"Bearer {KEY}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://node", headers=headers)


async def test_metrics_and_alarms_answer_while_tarantool_is_away() -> None:
    async with away() as client:
        found = values((await client.get("/metrics")).text)
        ready = await client.get("/readyz")
    assert found["broadside_tarantool_reached{}"] == 0
    assert found['broadside_pushes_total{"channel": "ios", "outcome": "delivered"}'] == 5
    assert (ready.status_code, ready.json()["alarms"][0]["name"]) == (503, "tarantool-away")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """Counts what Tarantool is asked: (server, verb)."""
    found: Counter[tuple[str, str]] = Counter()
    call = Link.call

    async def counted(self: Link, where: str, verb: str, *arguments: Any, **more: Any) -> Any:
        found[where, verb] += 1
        return await call(self, where, verb, *arguments, **more)

    monkeypatch.setattr(Link, "call", counted)
    return found


@pytest.mark.parametrize("path", ["/metrics", "/readyz", "/v1/status", "/v1/events?limit=2"])
async def test_whoever_looks_asks_tarantool_each_question_once(
    api: httpx.AsyncClient, asked: Counter[tuple[str, str]], path: str
) -> None:
    """Issue 22: memory, outbox, peers, tubes and channels were asked for beside the alarms, which asked again."""
    assert (await api.get(path)).status_code in (200, 503)
    campaigns = ("store", "store.campaign_list")  # the stream reads them again after 0.2 s
    assert {each: count for each, count in asked.items() if count > 1 and each != campaigns} == {}


async def test_probes_and_figures_share_one_look_a_second(
    api: httpx.AsyncClient, asked: Counter[tuple[str, str]]
) -> None:
    """Issue 22: anybody at the port could have the store asked seven questions by each request."""
    async with trio.open_nursery() as nursery:
        for path in ("/readyz", "/metrics", "/readyz", "/readyz", "/metrics"):
            nursery.start_soon(api.get, path)
    assert asked["queue", "tubes.statistics"] == 1


async def test_the_status_says_that_tarantool_is_away() -> None:
    """Issue 22: it was an error, just when somebody wanted to know what is wrong."""
    async with away() as client:
        answer = await client.get("/v1/status")
    assert answer.status_code == 200
    assert (answer.json()["queue"], answer.json()["alarms"][0]["name"]) == (None, "tarantool-away")


async def test_every_name_in_dashboard_and_alerts_exists(api: httpx.AsyncClient) -> None:
    await api.post("/v1/subscribers", json=subscriber(1))
    await api.post("/v1/campaigns", json={"message": {"title": "t", "body": "b"}})
    text = (await api.get("/metrics")).text
    known = {sample.name for family in text_string_to_metric_families(text) for sample in family.samples}
    known |= {family.name for family in text_string_to_metric_families(text)}
    for file in (DASHBOARD, ALERTS):
        named = set(NAME.findall(file.read_text()))
        assert named, file
        assert named <= known, f"{file.name}: {named - known}"


def test_every_alarm_has_its_page_and_every_page_its_alarm() -> None:
    pages = {page.stem for page in RUNBOOKS.glob("*.md")}
    assert pages == {name.value for name in AlarmName}
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text()
        assert f"`{page.stem}`" in text
        assert all(part in text for part in ("**What it means.**", "**What to look at.**", "**What to do.**")), page


def test_every_alert_names_a_page_that_exists() -> None:
    rules = ALERTS.read_text()
    pages = re.findall(r"runbook: \"?(docs/runbooks/.+?\.md)", rules)
    assert len(pages) == rules.count("- alert:")
    for page in pages:
        assert page == "docs/runbooks/{{ $labels.name }}.md" or (ROOT / page).exists()


def test_promtool_accepts_the_alerts() -> None:
    ran = subprocess.run(["promtool", "check", "rules", str(ALERTS)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_reason_of_a_channel_is_an_alarm_or_a_notice() -> None:
    assert _CHANNEL.keys() == _RANKS.keys()
    state = ChannelState(channel="ios", reason="quota", sentence="s", since=1, node="n2")
    (notice,) = channel_alarms([state], {})
    assert (notice.severity, notice.text, notice.node) == (Severity.NOTICE, "channel ios on n2: s", "n2")
    asked = msgspec.structs.replace(state, reason="question")
    (alarm,) = channel_alarms([asked], {"ios": "is the key wrong?"})
    assert alarm.text == "is the key wrong?", "a question is said once"


async def test_a_node_that_is_away_is_an_alarm_with_its_pages(own_link: Link) -> None:
    store = Store(own_link)
    now = [1_000_000]
    for name, uuid in (("n1", "a" * 36), ("n2", "b" * 36)):
        await store.node_join(name, uuid, 0, now[0], ["ios"])
    ring = Ring(store=store, node="n1", clock=lambda: now[0])
    assert peer_alarms(await ring.peers()) == []
    now[0] += 16_000
    (alarm,) = peer_alarms(await ring.peers())
    assert (alarm.name, alarm.about) == (AlarmName.PEER_AWAY, "n2")
    assert "16 s ago" in alarm.text
    assert "peers forget n2" in alarm.remedy


def test_a_worker_that_ended_keeps_its_counters() -> None:
    worker = WorkerState("worker-1")
    first = ChannelFigures(outcomes={"delivered": 7})
    worker.stats = Stats(rss=1, cpu=2.0, stages={"send": 1.0}, figures={"ios": first})
    worker.ended()
    assert worker.counters().channels["ios"].outcomes == {"delivered": 7}
    worker.stats = Stats(rss=1, cpu=0.5, stages={"send": 0.25}, figures={"ios": ChannelFigures(outcomes={"dead": 1})})
    counters = worker.counters()
    assert counters.channels["ios"].outcomes == {"delivered": 7, "dead": 1}
    assert (counters.cpu, counters.stages) == (2.5, {"send": 1.25})
    assert first.outcomes == {"delivered": 7}, "adding changes nothing of what was reported"
    assert [alarm.about for alarm in worker_alarms({"worker-1": False, "worker-2": True})] == ["worker-1"]


async def test_the_worst_comes_first(own_link: Link) -> None:
    newsroom = newsroom_over(own_link)
    await newsroom.fire(FireRequest(message=Message(title="t", body="b")))
    low = msgspec.structs.replace(WRONG, severity=Severity.NOTICE)
    app = api_of(newsroom, Ring(store=Store(own_link), node="n1"), own_link, KEY, own=lambda: [low, WRONG]).app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://node") as client:
        said = await client.get("/readyz")
    assert (said.status_code, said.json()["ready"]) == (503, False), "a full disk accepts nothing"
    assert [each["severity"] for each in said.json()["alarms"]] == ["critical", "notice"]
