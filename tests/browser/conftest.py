"""One browser and one ring for the whole suite. It runs in a process of its own (`./dev browser`): Playwright keeps an
event loop of its own in the thread, beside which no test of Trio may run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from broadside.api.access_records import KeyCreated
from tests.browser.chromium import chromium
from tests.browser.ring_with_pages import PATIENCE, RingWithPages
from tests.browser.visit import Visit


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: left out of the tests of each commit; `./dev browser` runs it")
    expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def shared_ring(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RingWithPages]:
    ring = RingWithPages(tmp_path_factory.mktemp("ring"))
    try:
        yield ring.start()
    finally:
        ring.end()


@pytest.fixture
def ring(shared_ring: RingWithPages) -> Iterator[RingWithPages]:
    """The ring, in which nothing is under way before and after a test."""
    yield shared_ring
    shared_ring.quiet()


@pytest.fixture(scope="session")
def keys(shared_ring: RingWithPages) -> dict[str, KeyCreated]:
    """A key of each role that a person may have."""
    names = {"viewer": "Vera", "editor": "Edith", "approver": "Anna", "operator": "Otto"}
    return {role: shared_ring.key(name, role) for role, name in names.items()}


@pytest.fixture
def visit(browser: Browser, ring: RingWithPages, keys: dict[str, KeyCreated]) -> Iterator[Callable[..., Visit]]:
    """Open a browser for one person: ``visit("editor", node=2, color_scheme="dark")``; ``visit()`` is a stranger."""
    visits: list[Visit] = []

    def begin(role: str = "", node: int = 1, **look: Any) -> Visit:
        visits.append(Visit(browser, ring, node, **look))
        return visits[-1].log_in(keys[role].key) if role else visits[-1]

    yield begin
    for each in visits:
        each.judge()
