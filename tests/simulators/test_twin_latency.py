"""Latency distributions: their shape, their seed, and answers that overtake each other."""

from __future__ import annotations

import itertools
import statistics
from pathlib import Path
from typing import Any

import msgspec
import pytest

from simulators.errors import ScriptError
from simulators.faults.latency import Latency, sampler
from simulators.faults.script import load_script
from tests.simulators.conftest import ALERT, StartTwin, token


def drawn(seed: int = 0, **kind: Any) -> list[float]:
    """10,000 draws, in milliseconds."""
    draw = sampler(msgspec.convert(kind, Latency), seed)
    return sorted(1000 * draw() for _ in range(10_000))


def test_two_percentiles_make_a_log_normal_distribution() -> None:
    draws = drawn(p50=40, p99=400)
    assert draws[5000] == pytest.approx(40, rel=0.05)
    assert draws[9900] == pytest.approx(400, rel=0.15)


def test_each_kind_keeps_its_shape() -> None:
    assert set(drawn(constant=20)) == {20.0}
    uniform = drawn(uniform=[10, 30])
    assert 10 <= uniform[0] < 11
    assert 29 < uniform[-1] <= 30
    assert statistics.mean(uniform) == pytest.approx(20, rel=0.02)
    normal = drawn(normal=[100, 10])
    assert (statistics.mean(normal), statistics.stdev(normal)) == (
        pytest.approx(100, rel=0.01),
        pytest.approx(10, rel=0.05),
    )
    assert drawn(normal=[1, 100])[0] == 0
    table = drawn(percentiles=[[10, 5], [50, 40], [99, 400]])
    assert table[0] == table[900] == 5
    assert table[5000] == pytest.approx(40, rel=0.05)
    assert table[-1] == 400
    assert table[2500] == pytest.approx(5 + 35 * 15 / 40, rel=0.1)


def test_a_seed_is_a_sequence() -> None:
    first, again, other = (sampler(Latency(p50=40, p99=400), seed) for seed in (1, 1, 2))
    sequences = [list(itertools.islice(iter(draw, None), 100)) for draw in (first, again, other)]
    assert sequences[0] == sequences[1] != sequences[2]


@pytest.mark.parametrize(
    ("latency", "says"),
    [
        ("{}", "one of"),
        ("{constant = 1, uniform = [1, 2]}", "one of"),
        ("{p50 = 5}", "one of"),
        ("{p99 = 5}", "one of"),
        ("{p50 = 5, p99 = 4}", "p50"),
        ("{p50 = 0, p99 = 4}", "p50"),
        ("{uniform = [2, 1]}", "smaller one first"),
        ("{percentiles = [[50, 1]]}", "two or more"),
        ("{percentiles = [[50, 1], [40, 2]]}", "ascending"),
        ("{percentiles = [[50, 2], [60, 1]]}", "ascending"),
        ("{constant = -1}", "latency.constant"),
        ("{median = 1}", "median"),
        ("{constant = 1}\nlatency_ms = 5", "not both"),
    ],
)
def test_a_distribution_that_is_none_is_named(tmp_path: Path, latency: str, says: str) -> None:
    path = tmp_path / "script.toml"
    path.write_text(f"latency = {latency}")
    with pytest.raises(ScriptError, match=r"latency") as caught:
        load_script(path)
    assert says in str(caught.value)


async def test_answers_come_in_the_order_of_their_latencies(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    latency = {"uniform": [0, 300]}
    async with start_twin("apns", latency=latency, seed=3, first_streams=1000) as twin, twin.connect() as client:
        streams = [client.request(f"/3/device/{token(n)}", apns_headers, ALERT) for n in range(40)]
        await client.flush()
        for stream in streams:
            assert (await client.answer(stream)).status == 200
        came = sorted(streams, key=lambda stream: client.answers[stream].at)
        draw = sampler(Latency(uniform=(0.0, 300.0)), 3)
        due = {stream: draw() for stream in streams}
        assert came != streams
        # Neighbours may come in one read; those 60 ms apart may not change places.
        for early, late in itertools.combinations(came, 2):
            assert due[early] < due[late] + 0.06
