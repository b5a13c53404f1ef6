"""How soon after Fire: percentiles from counts by class of time."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from campaigns.reach import FIRST, STEPS, bounds, merged, seconds_until


def classed(seconds: float) -> int:
    """The slow, obvious way."""
    number = 0
    while bounds(number)[1] < seconds * (1 - 1e-9):
        number += 1
    return number


times = st.lists(st.tuples(st.floats(0.001, 4000.0), st.integers(1, 500)), min_size=1, max_size=30)


@given(times, st.floats(0.01, 1.0))
def test_a_percentile_lies_in_the_class_of_the_true_time(found: list[tuple[float, int]], share: float) -> None:
    """Issue 25.6: to a fifth at the most, whatever the times."""
    counts: dict[int, int] = {}
    for seconds, n in found:
        counts[classed(seconds)] = counts.get(classed(seconds), 0) + n
    each = sorted(seconds for seconds, n in found for _ in range(n))
    wanted = max(1, math.ceil(share * len(each)))
    told = seconds_until(counts, wanted)
    begin, end = bounds(classed(each[wanted - 1]))
    assert told is not None
    assert begin <= told <= end
    assert end <= FIRST or end / begin <= 2 ** (1 / STEPS) + 1e-9


@given(times)
def test_who_is_not_reached_yet_has_no_time(found: list[tuple[float, int]]) -> None:
    """Issue 25.6."""
    counts = merged([{classed(seconds): n} for seconds, n in found])
    assert sum(counts.values()) == sum(n for _, n in found)
    assert seconds_until(counts, sum(counts.values()) + 1) is None
    assert seconds_until(counts, 0) is None
    assert seconds_until({}, 1) is None
