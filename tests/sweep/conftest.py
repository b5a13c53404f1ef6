"""The sweep runs for minutes: `pytest tests/sweep -m sweep`. Without the mark only its slices run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sweep: a whole sweep, minutes long (run by -m sweep)")
    config.addinivalue_line("markers", "root: makes network namespaces; chosen where root runs it on Linux")


@pytest.fixture(autouse=True)
def parts_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are small here: nearly each is settled in two parts."""
    monkeypatch.setattr("actors.transport_actor.MOSTLY", 1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "sweep" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("sweep")]
        items[:] = [item for item in items if item not in long]
        config.hook.pytest_deselected(items=long)
    if os.geteuid() != 0 or not Path("/proc/self/ns/net").exists():
        closed = [item for item in items if item.get_closest_marker("root")]
        items[:] = [item for item in items if item not in closed]
        config.hook.pytest_deselected(items=closed)
