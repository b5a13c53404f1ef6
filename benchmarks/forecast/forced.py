"""Situations in which one thing holds a campaign up, forced: for each limit a node, a provider and a base."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

from benchmarks.forecast.far_store import a_port, far_store
from benchmarks.networks.sink import distant_sink
from benchmarks.pipeline.rig import Rig
from benchmarks.ring.cluster import Cluster
from benchmarks.transport.sinks import nginx
from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.forecast_records import Limit
from broadside.api.subscriber import Subscriber
from broadside.api.v1 import table as routes
from broadside.machine_limits import cores
from campaigns.message import Message
from simulators.distant_network import DistantNetwork
from simulators.faults.latency import Latency

CHANNEL = {"ios-news": ("apns", "com.example.news")}
ANDROID = {"android-news": ("fcm", "news-1a2b3")}


@dataclass(frozen=True, slots=True)
class Fired:
    """A campaign under way."""

    client: Client
    report: CampaignReport


@dataclass(frozen=True, slots=True)
class Forced:
    """One situation. ``fire``: makes it so, and fires."""

    limit: Limit
    words: str
    fire: Callable[[Path], contextlib.AbstractContextManager[Fired]]


def draw(seed: int, number: int) -> Forced:
    """The ``number``-th situation of a ``seed``: each limit in turn."""
    rng = random.Random(f"bottleneck:{seed}:{number}")
    names = list(_DRAWS)
    return _DRAWS[names[(number - 1) % len(names)]](rng)


def _message(octets: int = 200) -> FireRequest:
    return FireRequest(message=Message(title="Flood warning", body="x" * max(1, octets - 100)))


def _phone(zone: str = "") -> Callable[[int], Subscriber]:
    return lambda n: Subscriber(channel="ios-news", token=f"{n:064x}", locale="de", tz=zone)


def _android(n: int) -> Subscriber:
    return Subscriber(channel="android-news", token=f"{n:022d}:APA91b{n:0134x}", locale="de")


def _far(network: DistantNetwork, connections: int, phones: int, octets: int) -> Callable[[Path], Iterator[Fired]]:
    def fire(folder: Path) -> Iterator[Fired]:
        rig = Rig(folder, None, connections, _phone(), CHANNEL)
        with (
            nginx(folder, core=None) as (files, _),
            distant_sink(folder, network) as sink,
            rig.node((files, sink.port)) as client,
        ):
            rig.fill(client, phones)
            yield Fired(client, client.fire(_message(octets)))

    return fire


def _twins(
    script: str, phones: int, *, rate: int | None = None, newsroom: str = "", zone: str = "", android: bool = False,
    after: Callable[[Client, CampaignReport], None] = lambda client, report: None,
) -> Callable[[Path], Iterator[Fired]]:  # fmt: skip
    def fire(folder: Path) -> Iterator[Fired]:
        phone, channels = (_android, ANDROID) if android else (_phone(zone), CHANNEL)
        rig = Rig(folder, None, phone=phone, channels=channels)
        rig.rate, rig.newsroom = rate, newsroom
        rig.data.create()
        (rig.data.twins / f"{'fcm' if android else 'apns'}.script.toml").write_text(script)
        with rig.node(None) as client:
            rig.fill(client, phones)
            report = client.fire(_message())
            after(client, report)
            yield Fired(client, report)

    return fire


def _window(rng: random.Random) -> Forced:
    trip, octets = rng.choice([0.06, 0.1, 0.15]), rng.choice([1_000, 2_000, 3_000])
    network = DistantNetwork(round_trip=trip, answers=Latency(p50=40.0, p99=120.0))
    connections = rng.choice([2, 4])
    phones = round(16 * connections * 65_535 / octets / trip)
    words = f"65,535 bytes, {1000 * trip:.0f} ms, {octets:,} bytes a push, {connections} connections"
    return Forced("window", words, contextlib.contextmanager(_far(network, connections, phones, octets)))


def _streams(rng: random.Random) -> Forced:
    streams, answer = rng.choice([50, 100, 200]), rng.choice([80.0, 150.0, 300.0])
    network = DistantNetwork(
        round_trip=0.02, window=1 << 24, streams=streams, answers=Latency(p50=answer, p99=2 * answer)
    )
    connections = rng.choice([2, 4])
    phones = round(min(60_000, 12 * connections * streams / (answer / 1000)))
    words = f"{streams} in flight on {connections} connections, {answer:.0f} ms an answer"
    return Forced("streams", words, contextlib.contextmanager(_far(network, connections, phones, 200)))


def _rate(rng: random.Random) -> Forced:
    rate = rng.choice([300, 1_000, 2_500])
    return Forced("rate", f"{rate:,} a second", contextlib.contextmanager(_twins("", 15 * rate, rate=rate)))


def _quota(rng: random.Random) -> Forced:
    after, share = rng.choice([5, 10, 30]), rng.choice([0.5, 1.0])
    script = f'[[rules]]\nanswer = "429"\nretry_after = {after}\nshare = {share}\n'
    words = f"429 for {share:.0%}, again in {after} s"
    return Forced("quota", words, contextlib.contextmanager(_twins(script, 20_000, android=True)))


def _quiet(rng: random.Random) -> Forced:
    begin, end = rng.uniform(0.5, 8), rng.uniform(1, 8)
    now = datetime.now(UTC)
    hours = f"{now - timedelta(hours=begin):%H:%M}-{now + timedelta(hours=end):%H:%M}"
    fire = _twins("", 3_000, newsroom=f'quiet = "{hours}"', zone="UTC")
    return Forced("quiet_hours", hours, contextlib.contextmanager(fire))


def _slow(rng: random.Random) -> Forced:
    answer, late = rng.choice([2_500.0, 4_000.0, 8_000.0]), rng.random() < 0.5
    network = DistantNetwork(
        round_trip=0.02, window=1 << 24, streams=rng.choice([500, 1_000]),
        answers=Latency(constant=answer) if late else Latency(p50=answer, p99=2 * answer),
    )  # fmt: skip
    fire = _far(network, rng.choice([2, 4]), 30_000, 200)
    return Forced("provider", f"answers take {answer / 1000:.1f} s", contextlib.contextmanager(fire))


def _away(rng: random.Random) -> Forced:
    """The provider's process stops, or is gone."""
    gone = rng.random() < 0.5

    def fire(folder: Path) -> Iterator[Fired]:
        network = DistantNetwork(round_trip=0.02, answers=Latency(p50=100.0, p99=200.0))
        rig = Rig(folder, None, 2, _phone(), CHANNEL)
        with contextlib.ExitStack() as stack:
            files, _ = stack.enter_context(nginx(folder, core=None))
            sink = contextlib.ExitStack()
            stack.callback(sink.close)
            port = sink.enter_context(distant_sink(folder, network)).port
            client = stack.enter_context(rig.node((files, port)))
            rig.fill(client, 60_000)
            report = client.fire(_message())
            time.sleep(1.0)
            pids = _listening(str(port))
            if gone:
                sink.close()
            else:
                for pid in pids:
                    os.kill(pid, signal.SIGSTOP)
                    stack.callback(os.kill, pid, signal.SIGCONT)
            yield Fired(client, report)

    words = "out of reach" if gone else "answers nothing any more"
    return Forced("provider", words, contextlib.contextmanager(fire))


def _listening(port: str) -> list[int]:
    """The sink's process: the one of ours that was told this port."""
    found = []
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = line.read_bytes().split(b"\0")
            if b"benchmarks.networks.sink" in words and port.encode() in words:
                found.append(int(line.parent.name))
    return found


def _paused(rng: random.Random) -> Forced:
    wait = rng.uniform(0.5, 2.0)

    def pause(client: Client, report: CampaignReport) -> None:
        time.sleep(wait)
        client.call(routes.PAUSE, id=report.id)

    fire = _twins("latency_ms = 100\nstreams = 100\n", 60_000, after=pause)
    return Forced("paused", f"after {wait:.1f} s", contextlib.contextmanager(fire))


def _cpu(rng: random.Random) -> Forced:
    busy = max(1, cores() - 1) * rng.choice([6, 8, 12])

    def fire(folder: Path) -> Iterator[Fired]:
        rig = Rig(folder, None, phone=_phone(), channels=CHANNEL)
        with contextlib.ExitStack() as stack:
            # the provider keeps a core of its own: else its answers would be what is slow
            first, *others = sorted(os.sched_getaffinity(0))
            stack.callback(os.sched_setaffinity, 0, {first, *others})
            os.sched_setaffinity(0, {first})
            sink = stack.enter_context(rig.sink("counting"))
            os.sched_setaffinity(0, set(others) or {first})
            client = stack.enter_context(rig.node(sink))
            rig.fill(client, 600_000)  # the kernel may leave the node half a core, however many spin
            spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
            for each in spinners:
                stack.callback(each.wait)
                stack.callback(each.kill)
            yield Fired(client, client.fire(_message()))

    return Forced("cpu", f"{busy} other processes are busy", contextlib.contextmanager(fire))


def _walk(rng: random.Random) -> Forced:
    away = rng.choice([0.25, 0.3, 0.4])

    def fire(folder: Path) -> Iterator[Fired]:
        listen = a_port()
        cluster = Cluster(
            folder / "ring", nodes=1, stores=1, wires=lambda node, to, port: listen if to == "store" else port
        )
        moved = folder / "moved"
        with far_store(cluster.master.port, away, listen, moved):
            try:
                cluster.start()
                cluster.put(_phone()(n) for n in range(60_000))
                moved.touch()
                with cluster.nodes[0].client() as client:
                    yield Fired(client, client.fire(_message()))
            finally:
                cluster.kill()

    return Forced("walk", f"the store is {2000 * away:.0f} ms away", contextlib.contextmanager(fire))


_DRAWS: Mapping[str, Callable[[random.Random], Forced]] = MappingProxyType(
    {
        "window": _window, "streams": _streams, "rate": _rate, "quota": _quota, "quiet hours": _quiet,
        "slow": _slow, "away": _away, "paused": _paused, "cpu": _cpu, "walk": _walk,
    }
)  # fmt: skip
"""What holds a campaign up, each in turn → draws such a situation."""
