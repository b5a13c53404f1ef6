"""The rock's tests are chosen where there is a rock; elsewhere they are no part of the run."""

import pytest

from tests.lua.rock import rock_path


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if rock_path():
        return
    without = [item for item in items if item.get_closest_marker("rock") is not None]
    if without:
        config.hook.pytest_deselected(items=without)
        items[:] = [item for item in items if item not in without]
