"""How fast people are reached, for the sake of the newsroom's own site, and what other systems hear, in a browser."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.ring_with_pages import RingWithPages
from tests.browser.test_live_page import live, state
from tests.browser.test_story import campaign_of, hold, narrow, write
from tests.browser.visit import Visit


def test_an_editor_gives_a_rate_sees_it_live_and_changes_it(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    visitor = visit("editor")
    page = visitor.page("/")
    write(page, "Slowly, please", "The site is small.")
    narrow(page, "AU")
    page.get_by_text("For the sake of your own site").click()
    page.get_by_label("People a second, at most").fill("40")
    page.get_by_label("Rising over").fill("5s")
    hold(page, 1500)
    campaign = campaign_of(page)
    state(page, "firing")
    herd = live(page).locator("[data-field=herd]")
    expect(herd).to_contain_text("of at most 40 people a second")
    with visitor.expecting("400"):
        page.get_by_label("People a second, at most").fill("never")
        page.get_by_role("button", name="Change it").click()
        expect(page.locator("#paced")).to_contain_text("never")
    expect(herd).to_be_visible()
    page.get_by_label("People a second, at most").fill("20000")
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("#paced")).to_contain_text("of at most 20,000 people a second")
    report = ring.ended(campaign)
    state(page, "done")
    assert report.herd is not None
    assert (report.herd.rate, report.herd.ramp) == (20_000, 5)


def test_the_operator_s_page_says_what_other_systems_hear(visit: Callable[..., Visit]) -> None:
    page = visit("operator").page("/operator")
    heard = page.get_by_role("region", name="Your other systems")
    expect(heard).to_contain_text("The load of your own site is not heeded")
    expect(heard).to_contain_text("No system hears of campaigns")
