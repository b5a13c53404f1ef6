"""The cut line and corrections on two nodes: the short form of tests/system/cut_lines.py and corrections.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.ring import Ring
from tests.system import corrections, cut_lines
from tests.system.corrections import Corrections

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]

STOPS = [
    cut_lines.Plan(seed=0, fault="nothing", at=0.1, before=0.0, away=0.0, then="resume"),
    cut_lines.Plan(seed=0, fault="nothing", at=0.05, before=0.0, away=0.0, then="resume", some=True),
    cut_lines.Plan(seed=0, fault="queue", at=0.1, before=0.3, away=0.0, then="cancel"),
]
CORRECTED = [
    corrections.Plan(seed=0, when="firing", fault="nothing", at=0.1, after=0.0, away=0.0, twice=True),
    corrections.Plan(seed=0, when="firing", fault="worker", at=0.1, after=0.2, away=0.0, twice=False),
    corrections.Plan(seed=0, when="done", fault="nothing", at=0.1, after=0.0, away=0.0, twice=False),
    corrections.Plan(seed=0, when="firing", fault="nothing", at=0.1, after=0.0, away=0.0, act="retract", loud=True),
]


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Corrections]:
    folder: Path = tmp_path_factory.mktemp("ring")
    twins = f"{cut_lines.TWINS}bodies = true\n"
    ring = Ring(folder, 8_000, stores=1, workers=1, latency_ms=cut_lines.LATENCY, twins=twins)
    try:
        yield Corrections(ring.start())
    finally:
        ring.end()


@pytest.mark.timeout(240)
@pytest.mark.parametrize("plan", STOPS, ids=lambda plan: plan.fault + ", to some" * plan.some)
def test_the_cut_line_holds(ring: Corrections, plan: cut_lines.Plan) -> None:
    """25.4"""
    found = ring.run(plan)
    assert found.broken == [], found
    assert found.paused > 0, "it was stopped under way"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("plan", CORRECTED, ids=lambda plan: f"{plan.act}, {plan.when}, {plan.fault}")
def test_each_phone_has_the_new_text_last(ring: Corrections, plan: corrections.Plan) -> None:
    """25.5: of a text that is taken back, whoever had got it, and nobody else gets anything."""
    found = ring.corrected(plan)
    assert found.broken == [], found
    assert found.old > 0, "somebody had the old text"
