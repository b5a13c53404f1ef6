"""The harness catches what is wrong on purpose."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.system.__main__ import run_plan
from tests.system.canaries import CAUGHT_BY
from tests.system.plan import draw

ALWAYS = ("canary-settle-first", "canary-send-twice", "canary-miscount", "canary-fire-twice", "canary-stand-still")
"""In every run; the others with the sweep (`./dev sweep`)."""
CANARIES = [pytest.param(name, marks=() if name in ALWAYS else pytest.mark.sweep) for name in CAUGHT_BY]
PHONES = {"canary-settle-first": 8_000, "canary-send-thrice": 8_000, "canary-wake": 16_000}


@pytest.mark.tarantool
@pytest.mark.timeout(420)
@pytest.mark.parametrize("canary", CANARIES)
def test_the_harness_catches(canary: str, tmp_path: Path) -> None:
    found = run_plan(draw(1, canary, PHONES.get(canary, 4_000)), tmp_path / "run")
    assert CAUGHT_BY[canary] in {name for name, holds, _ in found.laws if not holds}, found.broken
