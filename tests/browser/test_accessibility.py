"""Everybody can use each page: axe-core finds nothing, in light, dark and on a phone, and the keyboard is enough."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from broadside.api.v1 import table
from tests.browser.all_pages import settle, whole_pages
from tests.browser.ring_with_pages import FEW, RingWithPages
from tests.browser.visit import DESK, PHONE, Visit, axe

LOOKS: dict[str, dict[str, Any]] = {
    "light": DESK | {"color_scheme": "light"},
    "dark": DESK | {"color_scheme": "dark"},
    "phone": PHONE | {"color_scheme": "light"},
    "dark phone": PHONE | {"color_scheme": "dark"},
}
NARROWEST = {"viewport": {"width": 320, "height": 640}}
"""The width of WCAG's rule on reflow."""


@pytest.fixture
def campaigns(ring: RingWithPages) -> dict[str, str]:
    """A campaign in each state that a person meets: its id by the state."""
    found = {"done": ring.fire("An election is won", audience=FEW).id}
    ring.ended(found["done"])
    found["scheduled"] = ring.fire("Tomorrow's paper", when=(datetime.now(UTC) + timedelta(days=1)).isoformat()).id
    with ring.client() as client:
        for state, route in (("paused", table.PAUSE), ("cancelled", table.CANCEL)):
            found[state] = ring.fire("A storm comes in from the sea").id
            client.call(route, id=found[state])
    found["firing"] = ring.fire(
        "A very long headline of a story that goes on about Donaudampfschifffahrtselektrizität"
    ).id
    return found


@pytest.mark.parametrize(
    "look", [look if look in ("light", "dark phone") else pytest.param(look, marks=pytest.mark.long) for look in LOOKS]
)
def test_axe_finds_nothing_on_any_page(visit: Callable[..., Visit], campaigns: dict[str, str], look: str) -> None:
    visitor = visit("operator", **LOOKS[look])
    page = visitor.page()
    found = {}
    for path in whole_pages(visitor, campaigns.values()):
        page.goto(path)
        settle(page)
        page.evaluate("document.querySelectorAll('details').forEach((each) => each.open = true)")
        settle(page)
        if objections := axe(page):
            found[path] = objections
    assert not found, "\n".join(f"{path}: {each}" for path, all_of in found.items() for each in all_of)


def test_no_page_is_wider_than_the_narrowest_phone(visit: Callable[..., Visit], campaigns: dict[str, str]) -> None:
    visitor = visit("operator", **NARROWEST)
    page = visitor.page()
    wide = {}
    for path in whole_pages(visitor, campaigns.values()):
        page.goto(path)
        settle(page)
        if (width := page.evaluate("document.documentElement.scrollWidth")) > 320:
            wide[path] = width
    assert wide == {}


def test_the_keyboard_is_enough_from_the_log_in_to_the_stop(
    visit: Callable[..., Visit], ring: RingWithPages, campaigns: dict[str, str]
) -> None:
    key = ring.key("without a mouse", "editor").key
    page = visit().page(f"/campaigns/{campaigns['firing']}")
    expect(page.get_by_label("Your key")).to_be_visible()
    tab_to(page, "Your key")
    page.keyboard.type(key)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    tab_to(page, "Stop")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Go on")).to_be_visible()
    expect(page.locator("#live :focus")).to_have_count(1)  # the page has not thrown its reader to its top
    tab_to(page, "Go on")
    page.wait_for_timeout(700)  # a button that has just taken another's place takes no press
    page.keyboard.press("Space")
    expect(page.locator("#live")).to_have_attribute("data-state", "firing")


def tab_to(page: Page, name: str) -> None:
    """Press Tab until the element of this name has the focus; each on the way must show that it has it."""
    for _ in range(40):
        if page.evaluate(NAME_OF_FOCUSED) == name:
            return
        page.keyboard.press("Tab")
        assert page.evaluate(SHOWS_FOCUS), page.evaluate("document.activeElement.outerHTML")
    raise AssertionError(f"{name} is not reached by Tab")


NAME_OF_FOCUSED = """
(() => {
    const focused = document.activeElement;
    return focused.ariaLabel ?? (focused.labels?.[0] ?? focused).textContent.trim();
})()
"""
SHOWS_FOCUS = """
(() => {
    const style = getComputedStyle(document.activeElement);
    return document.activeElement === document.body || style.outlineStyle !== "none" || style.boxShadow !== "none";
})()
"""


def test_a_screen_reader_is_told_what_changes_without_every_figure(
    visit: Callable[..., Visit], campaigns: dict[str, str]
) -> None:
    page = visit("editor").page(f"/campaigns/{campaigns['firing']}")
    tree = page.locator("#live").aria_snapshot()
    assert re.search(r'button "Stop"', tree), tree
    assert re.search(r"progressbar", tree), tree
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("status").filter(has_text="nothing is sent until")).to_be_visible()
