"""The engine against plain h2, and against noise, thousands of times."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.transports.http2_scripts import scripts
from tests.transports.test_http2_differential import same
from tests.transports.test_http2_forged import noise, survives

seed = st.integers(0, 2**32)


@pytest.mark.sweep
@pytest.mark.timeout(1_800)
@settings(max_examples=5_000, deadline=None, database=None)
@given(scripts, st.booleans(), st.booleans(), st.tuples(seed, seed))
def test_the_engine_says_and_hears_what_plain_h2_does(
    script: Any, credit: bool, stubborn: bool, seeds: tuple[int, int]
) -> None:
    same(script, credit, stubborn, seeds)


@pytest.mark.sweep
@pytest.mark.timeout(1_800)
@settings(max_examples=20_000, deadline=None, database=None)
@given(*noise)
def test_no_bytes_of_a_peer_raise(frames: Any, tail: bytes, seed: int) -> None:
    survives(frames, tail, seed)
