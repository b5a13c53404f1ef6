"""Two trees' figures: which are read, what their medians and ratios are, and when a ratio is called equal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.against.compare import Comparison, Side, compare
from benchmarks.against.figures import PLAIN, SHAPES, Figure, read
from benchmarks.against.table import table
from benchmarks.against.trees import benches
from tests.benchmarks.conftest import ROOT

COST = Figure("a push", "value", "µs")
RATE = Figure("pushes", "value", "1/s")
values = st.floats(0.01, 1e6)


def comparison(figure: Figure, this: list[float], that: list[float]) -> Comparison:
    return Comparison(figure, Side(tuple(this)), Side(tuple(that)))


def test_a_side_is_its_median_and_half_of_its_range() -> None:
    side = Side((10.0, 30.0, 11.0, 12.0, 9.0))
    assert (side.median, side.spread) == (11.0, 10.5)


def test_the_ratio_is_the_median_of_the_rounds_ratios() -> None:
    # The machine slows down threefold in the third round, and slows down both.
    both = comparison(COST, [11, 12, 36, 11, 12], [10, 10, 30, 10, 10])
    assert both.ratio == pytest.approx(1.2)
    assert both.spread == pytest.approx(0.05)
    assert both.verdict == "worse"


@pytest.mark.parametrize(
    ("figure", "this", "verdict"),
    [
        (COST, [9.0, 10.0, 11.0], "equal"),
        (COST, [8.0, 8.5, 9.0], "better"),
        (COST, [11.0, 11.5, 12.0], "worse"),
        (RATE, [9.5, 10.5, 10.8], "equal"),
        (RATE, [8.0, 8.5, 9.0], "worse"),
        (RATE, [11.0, 11.5, 12.0], "better"),
    ],
)
def test_a_ratio_within_its_spread_of_1_is_equal(figure: Figure, this: list[float], verdict: str) -> None:
    assert comparison(figure, this, [10.0, 10.0, 10.0]).verdict == verdict


@given(st.lists(st.tuples(values, values), min_size=2, max_size=7))
def test_the_other_way_round_better_is_worse_and_a_tree_equals_itself(rounds: list[tuple[float, float]]) -> None:
    this, that = [each for each, _ in rounds], [each for _, each in rounds]
    assert comparison(COST, this, this).verdict == "equal"
    verdicts = {comparison(COST, this, that).verdict, comparison(RATE, this, that).verdict}
    assert verdicts in ({"equal"}, {"better", "worse"})


def test_a_figure_of_0_has_no_ratio() -> None:
    assert comparison(COST, [0.0, 0.0], [0.0, 0.0]).verdict == "equal"
    both = comparison(COST, [0.0, 1.0], [1.0, 1.0])
    assert (both.ratio, both.spread, both.verdict) == (None, None, "no ratio")


def test_figures_that_a_tree_lacks_in_any_round_are_named_and_not_compared() -> None:
    found = compare([{COST: 1.0, RATE: 2.0}, {COST: 1.0}], [{COST: 1.0, RATE: 2.0}, {COST: 1.0, RATE: 2.0}])
    assert [each.figure for each in found.both] == [COST]
    assert (found.only_this, found.only_that) == ([], [RATE])
    assert list(table(found, "this tree", "1234abcd"))[-1] == "only 1234abcd: pushes (1/s)"


def test_rows_of_what_value_and_unit_need_no_table() -> None:
    rows = [{"what": "  a push", "value": 1, "unit": "µs"}, {"what": "torn", "value": None, "unit": "s"}]
    assert read(PLAIN, rows) == {COST: 1.0}


def test_rows_of_the_same_name_are_told_apart_by_their_order() -> None:
    row = {"client": "apns", "streams": 1_000, "connections": 1, "latency_ms": 0, "sink": "counting"}
    rows = [row | {"pushes_per_second": 5.0}, row | {"pushes_per_second": 6.0}]
    found = read(SHAPES["transport"], rows)
    name = "apns 1,000 1 0 counting"
    assert found == {
        Figure(name, "pushes_per_second", "1/s"): 5.0,
        Figure(f"{name} (2)", "pushes_per_second", "1/s"): 6.0,
    }


def test_other_peoples_clients_are_not_compared() -> None:
    rows = [{"client": name, "pushes_per_second": 1.0} for name in ("straightforward script", "broadside")]
    assert [figure.row for figure in read(SHAPES["peers"], rows)] == ["broadside"]


def test_figures_are_found_inside_of_a_row() -> None:
    found = read(SHAPES["ring"], {"measured": [{"nodes": 2, "costs": {"walk": 0.5}}], "simulated": []})
    assert found == {Figure("2", "costs.walk", "µs"): 0.5}


@pytest.mark.parametrize("found", [None, {}, {"measured": None}, [1]])
def test_json_of_another_form_is_an_error(found: object) -> None:
    with pytest.raises(ValueError, match="list"):
        read(SHAPES["ring"], found)


def test_every_bench_has_figures_to_compare() -> None:
    assert set(SHAPES) == set(benches(ROOT))
