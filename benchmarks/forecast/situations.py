"""Draws campaigns, and the providers that they go to: latencies, windows, rates, dead tokens, audiences, bodies."""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass
from typing import Any

from broadside.api.audience_request import AudienceRequest, TagConditions
from broadside.api.campaign_report import FireRequest
from campaigns.message import Message
from simulators.distant_network import DistantNetwork
from simulators.faults.latency import Latency

LONGEST = 6.5
"""Seconds that a drawn campaign should take at the most, and its base is chosen accordingly …"""
SHORTEST = 3.0
MACHINE = 15_000
"""… for a machine that makes so many pushes a second."""
LARGEST = 70_000
SMALLEST = 8_000
TAGS = (("sport",), ("sport", "weather"), ("weather",), ("culture",), ())


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """One campaign, what is learnt from before it, and where both go."""

    number: int
    network: DistantNetwork | None
    """Between us and a sink that is far away; None: the node's twins, which check every push."""
    script: str
    """The twins' script."""
    channels: tuple[str, ...]
    rate: int | None
    """Pushes a second that the config allows each channel."""
    connections: int
    subscribers: int
    taught: FireRequest
    """The campaign before: what is known of this provider comes from it."""
    request: FireRequest

    def plain(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "number": self.number,
            "network": None if self.network is None else asdict(self.network),
            "script": self.script,
            "channels": self.channels,
            "rate": self.rate,
            "connections": self.connections,
            "subscribers": self.subscribers,
        }

    def words(self) -> str:
        """What is special about it."""
        if self.network is not None:
            trip, window = 1000 * self.network.round_trip, self.network.window
            where = f"{trip:.0f} ms away, window {window // 1024} KB, {self.network.answers.p50:.0f} ms an answer"
        else:
            where = "twins"
        rate = f", rate {self.rate:,}" if self.rate else ""
        return f"{where}, {self.connections} connections{rate}"


def draw(seed: int, number: int) -> Situation:
    """The ``number``-th situation of a ``seed``."""
    rng = random.Random(f"forecast:{seed}:{number}")
    p50 = rng.choice([20.0, 60.0, 120.0, 250.0])
    answers = Latency(p50=p50, p99=p50 * rng.uniform(2, 6))
    dead = rng.choice([0.0, 0.01, 0.05])
    connections = rng.choice([2, 4, 8, 32])
    far = rng.random() < 0.6
    network = script = None
    if far:
        network = DistantNetwork(
            round_trip=rng.choice([0.0, 0.02, 0.06, 0.1]),
            window=rng.choice([65_535, 262_144, 1 << 24]),
            streams=rng.choice([100, 500, 1_000]),
            answers=answers,
            late=rng.choice([0.0, 0.002, 0.005]),
            dead=dead,
        )
    else:
        script = (
            f"latency = {{ p50 = {p50}, p99 = {answers.p99} }}\nstreams = {rng.choice([100, 500, 1_000])}\n"
            f'[[rules]]\nanswer = "dead"\nshare = {dead}\n'
        )
    rate = rng.choice([1_500, 4_000]) if rng.random() < 0.25 else None
    octets = [rng.choice([200, 600, 1_500, 3_000]) for _ in range(2)]
    audience = rng.choice([None, AudienceRequest(share=0.5), AudienceRequest(tags=TagConditions(any=["sport"]))])
    share = 1.0 if audience is None else audience.share or 0.4
    channels = ("ios-news",) if far else ("ios-news", "android-news")
    carries = min(MACHINE, network.carries(octets[1]) * max(2, connections)) if network is not None else MACHINE / 1.5
    if rate is not None:
        carries = min(carries, rate * len(channels))
    wanted = carries * rng.uniform(SHORTEST, LONGEST) / share
    taught = FireRequest(message=_message(octets[0]), audience=AudienceRequest(share=rng.choice([0.4, 0.7])))
    request = FireRequest(message=_message(octets[1]))
    if audience is not None:
        request = FireRequest(message=_message(octets[1]), audience=audience)
    return Situation(
        number=number,
        network=network,
        script=script or "",
        channels=channels,
        rate=rate,
        connections=connections,
        subscribers=round(min(LARGEST, max(SMALLEST, wanted))),
        taught=taught,
        request=request,
    )


def _message(octets: int) -> Message:
    return Message(title="Flood warning", body="x" * max(1, octets - 100))
