"""The guards before Fire, in a browser: each says what it has seen, and takes a yes."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests.browser.ring_with_pages import RingWithPages
from tests.browser.test_story import campaign_of, hold, narrow, write
from tests.browser.visit import Visit


def tick_and_send(page: Page, words: str) -> None:
    page.get_by_label(words).check()
    hold(page, 1500)


def test_a_test_goes_to_the_devices_that_are_named_and_to_nobody_else(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    before = [line.id for line in ring.campaigns()]
    page = visit("editor").page("/")
    write(page, "Only a trial", "Nobody else reads this.")
    page.get_by_text("Try it on your own phone").click()
    page.get_by_label("Devices").fill("17, 18")
    page.get_by_role("button", name="Send a test").click()
    tested = page.locator("#tested")
    expect(tested).to_contain_text("Sent as “[TEST] Only a trial”")
    expect(tested.get_by_role("listitem")).to_have_count(2)
    page.get_by_label("Devices").fill("4000000")
    page.get_by_role("button", name="Send a test").click()
    expect(tested).to_contain_text("there is no subscriber 4000000")
    assert [line.id for line in ring.campaigns()] == before


def test_the_same_text_again_is_refused_until_an_editor_ticks_the_box(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    page = visit("editor").page("/")
    write(page, "The mayor resigns", "He has said so at noon.")
    narrow(page, "AU")
    hold(page, 1500)
    first = campaign_of(page)
    page.goto("/")
    write(page, "THE MAYOR RESIGNS!", "He has said so at noon.")
    narrow(page, "AU")
    hold(page, 1500)
    answer = page.locator("#fire-answer")
    expect(answer).to_contain_text("the same text went out")
    expect(answer.get_by_role("link", name="Open that campaign")).to_have_attribute("href", f"/campaigns/{first}")
    tick_and_send(page, "Send it again: these phones get the same text twice.")
    again = campaign_of(page)
    assert again != first
    ring.ended(again)
