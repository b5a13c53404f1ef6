"""Quotas: who shares which, how much of it a worker gets, and what a person is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadside import wire
from broadside.config.config import Channel
from broadside.node.quotas import LEAST, allowances
from broadside.topology import Deliveries
from tests.broadside.test_wire import HELLO
from transports.contract import Quota

GOOGLE = Quota("project news-1a2b3", 600_000, 60.0)


def channel(platform: str = "fcm", **more: Any) -> Channel:
    return Channel(platform=platform, app="news-1a2b3", credentials={"service_account": "x.json"}, **more)


@pytest.mark.parametrize(
    ("channels", "quotas", "nodes", "texts"),
    [
        ({"a": channel()}, {"a": GOOGLE}, 1, ["600,000 a minute (project news-1a2b3), rising over 60 s"]),
        (
            {"a": channel()},
            {"a": GOOGLE},
            3,
            ["600,000 a minute (project news-1a2b3), rising over 60 s, of which this node takes 1/3"],
        ),
        (
            {"a": channel(), "b": channel(rate=2000.0)},
            {"a": GOOGLE, "b": GOOGLE},
            1,
            ["2,000 a second by the lowest rate (project news-1a2b3, shared by a and b), rising over 60 s"] * 2,
        ),
        ({"a": Channel(platform="fcm", app="x", twin=True)}, {}, 1, ["off (twin)"]),
        ({"a": Channel(platform="fcm", app="x", rate=100.0, twin=True)}, {}, 1, ["100 a second by rate"]),
        (
            {"a": channel(origin="https://127.0.0.1:2197")},
            {"a": None},
            1,
            ["off (https://127.0.0.1:2197 is not the provider's own)"],
        ),
        ({"a": channel("apns")}, {"a": None}, 1, ["none (apns sets no rate)"]),
    ],
)
def test_a_person_is_told_which_quota_holds(
    channels: dict[str, Channel], quotas: dict[str, Quota | None], nodes: int, texts: list[str]
) -> None:
    found = allowances(channels, quotas, 1, nodes)
    assert [allowance.text for allowance in found.values()] == texts


@given(
    st.integers(1, 16),
    st.integers(1, 5),
    st.lists(st.none() | st.floats(1, 20_000), min_size=1, max_size=3),
)
def test_the_whole_ring_keeps_a_projects_quota(workers: int, nodes: int, rates: list[float | None]) -> None:
    channels = {f"c{n}": channel(rate=rate) for n, rate in enumerate(rates)}
    found = allowances(channels, dict.fromkeys(channels, GOOGLE), workers, nodes)
    paces = [allowance.pace for allowance in found.values()]
    assert len({pace.bucket for pace in paces if pace}) == 1
    pace = paces[0]
    assert pace is not None
    assert pace.ramp == 60
    given_rates = [rate for rate in rates if rate is not None]
    parts = workers * nodes
    if given_rates:
        assert pace.rate * parts == pytest.approx(min(given_rates))
    elif parts <= 16:
        # each channel may have drawn one batch of the upper lane and one of the others more than there was
        in_a_minute = 60 * pace.rate + pace.burst + 2 * pace.batch * len(rates)
        assert in_a_minute * parts <= 600_000 + 1
        assert pace.rate * parts >= 5_000


@given(st.floats(0.01, 20_000), st.integers(1, 16), st.integers(1, 5))
def test_the_batches_of_a_rated_channel_are_one_seconds_worth(rate: float, workers: int, nodes: int) -> None:
    """21.3: at most 500, and at least ten; the rate is that of one worker."""
    pace = allowances({"a": channel("apns", rate=rate)}, {}, workers, nodes)["a"].pace
    assert pace is not None
    assert LEAST <= pace.batch <= 500
    assert pace.batch <= max(LEAST, pace.rate)
    assert pace.batch > min(499, pace.rate - 1)
    assert pace.burst <= max(pace.batch, pace.rate)


def test_channels_of_one_project_share_a_bucket_and_others_do_not() -> None:
    channels = {
        "a": channel(),
        "b": channel(),
        "c": channel(rate=5.0),
        "d": Channel(platform="fcm", app="x", rate=5.0, twin=True),
    }
    quotas = {"a": GOOGLE, "b": GOOGLE, "c": Quota("project other", 600_000, 60.0)}
    found = allowances(channels, quotas, 1, 1)
    setups = [
        wire.ChannelSetup(
            name=name,
            platform="fcm",
            app="x",
            credentials={},
            origin=None,
            ca=None,
            connections=1,
            pace=allowance.pace,
            dead_limit=1.0,
        )
        for name, allowance in found.items()
    ]
    hello = msgspec.structs.replace(HELLO, channels=setups)
    limiters: Any = Deliveries(hello, lambda setup, limiter: limiter, None).groups  # type: ignore[arg-type, return-value]
    assert limiters["a"] is limiters["b"], "one project, one bucket"
    buckets = {setup.pace.bucket: limiters[setup.name] for setup in setups if setup.pace is not None}
    assert sorted(buckets) == ["channel d", "fcm project news-1a2b3", "fcm project other"]
    assert (buckets["channel d"].rate, buckets["channel d"].ramp) == (5, 0)
    assert buckets["fcm project news-1a2b3"].ramp == 60
