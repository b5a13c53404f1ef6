"""The whole story of a piece of news, in a browser: composed, counted, previewed, fired, stopped, reported."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

from playwright.sync_api import Page, expect

from tests.browser.ring_with_pages import PHONES, RingWithPages
from tests.browser.visit import Visit

TITLE = "Government resigns"
BODY = "The chancellor has handed in her resignation after a vote of no confidence."


def write(page: Page, title: str = TITLE, body: str = BODY) -> None:
    """Write a message, and wait until the draft is kept and drawn."""
    page.get_by_role("textbox", name="Title", exact=True).fill(title)
    page.get_by_role("textbox", name="Text", exact=True).fill(body)
    expect(page.locator(".saved")).to_contain_text("Saved")
    expect(page.locator(".push-title").first).to_have_text(title)


def narrow(page: Page, countries: str) -> int:
    """Choose countries; return how many phones the button says."""
    everybody = phones(page)
    page.get_by_label(re.compile("^Countries")).fill(countries)
    expect(page.locator("#fire-button")).not_to_contain_text(f"{everybody:,}")
    return phones(page)


def phones(page: Page) -> int:
    found = re.search(r"([\d,]+) phone", page.locator("#fire-button").inner_text())
    assert found, page.locator("#fire-button").inner_text()
    return int(found[1].replace(",", ""))


def hold(page: Page, ms: int) -> None:
    page.locator("#fire-button").click(delay=ms)


def campaign_of(page: Page) -> str:
    expect(page).to_have_url(re.compile(r"/campaigns/\w+$"))
    return page.url.rpartition("/")[2]


def test_a_story_from_the_log_in_to_the_report(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    page = visit().page(ring.link())
    expect(page.get_by_role("heading", level=1)).to_have_text("Compose")
    page.get_by_label(re.compile("^Link to the story")).fill("https://news.example/politics/1")
    write(page)
    expect(page.locator("figure.device")).not_to_have_count(0)
    expect(page.locator("#fire-button")).to_contain_text(re.compile(r"to [\d,]+ phones"))
    assert PHONES * 0.97 < phones(page) <= PHONES, "everybody whose token is not dead"
    expect(page.locator("#fire-button")).to_contain_text(re.compile(r"phones · about \d+ (s|min)"))
    foreseen = page.get_by_role("note", name="How long it will take")
    expect(foreseen).to_contain_text(re.compile("because of|waits for"))
    expect(foreseen).to_contain_text("opens a second")
    there = narrow(page, "DE, GB, US")
    hold(page, 1500)
    campaign = campaign_of(page)
    live = page.locator("#live")
    expect(page.get_by_role("heading", level=1)).to_have_text(TITLE)
    expect(page.get_by_text("in DE, GB or US")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(live).to_have_attribute("data-state", "paused")
    page.wait_for_timeout(700)
    page.get_by_role("button", name="Go on").click()
    expect(live).to_have_attribute("data-state", "done")
    expect(live).to_contain_text(re.compile("Accepted: half after .*, nine of ten after .*, 99 of 100 after"))
    expect(live).to_contain_text(re.compile("Foreseen were|Nobody could foresee"))
    report = ring.campaign(campaign)
    assert report.reach is not None
    assert {part.node for part in report.reach.parts} == {"node-1", "node-2"}, "of the whole ring, from any node"
    assert sum(tally.delivered for tally in report.channels.values()) > there * 0.9
    assert report.message.url == "https://news.example/politics/1"
    page.get_by_role("link", name="Campaigns").click()
    expect(page.locator(f"tr[data-campaign='{campaign}']")).to_have_attribute("data-state", "done")


def test_a_short_press_asks_first_and_the_keyboard_fires_in_two_steps(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    page = visit("editor").page("/")
    write(page, "by keyboard")
    expected = narrow(page, "AU, UA")
    hold(page, 200)
    really = page.locator("#sure")
    expect(really).to_be_visible()
    page.keyboard.press("Escape")
    expect(really).to_be_hidden()
    expect(page.locator("#fire-button")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Yes, send it")).to_be_focused()
    page.keyboard.press("Enter")
    report = ring.ended(campaign_of(page))
    there = sum(tally.settled + tally.remaining for tally in report.channels.values())
    assert abs(there - expected) <= there / 10, "what the button said"


def test_a_button_that_moves_while_it_is_held_fires_and_a_pointer_that_leaves_does_not(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    before = len(ring.campaigns())
    page = visit("editor").page("/")
    write(page, "held in a page that moves")
    narrow(page, "UA")
    button = page.locator("#fire-button")
    button.click(trial=True)
    place = button.bounding_box()
    assert place is not None
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + place["height"] * 2)
    page.wait_for_timeout(1200)
    page.mouse.up()
    expect(page.locator("#sure")).to_be_hidden()
    assert len(ring.campaigns()) == before

    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate("document.getElementById('fire').style.marginTop = '200px'")
    page.wait_for_timeout(500)
    moved = button.bounding_box()
    assert moved is not None
    assert moved["y"] > y
    page.wait_for_timeout(1000)
    page.mouse.up()
    assert ring.ended(campaign_of(page)).message.title == "held in a page that moves"


def test_a_key_that_is_held_down_fires_nothing(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    before = len(ring.campaigns())
    page = visit("editor").page("/")
    write(page, "held down")
    page.locator("#fire-button").focus()
    for _ in range(30):
        page.keyboard.down("Enter")  # after the first: as the keyboard repeats it
    page.keyboard.up("Enter")
    expect(page.get_by_role("button", name="Yes, send it")).to_be_focused()
    page.wait_for_timeout(300)
    assert len(ring.campaigns()) == before


def test_what_starts_tomorrow_stands_in_the_calendar_until_it_is_cancelled(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    page = visit("editor").page("/")
    write(page, "tomorrow's paper")
    narrow(page, "AU")
    page.get_by_label("At a time").check()
    page.get_by_label("Day and time").fill(f"{datetime.now() + timedelta(days=1):%Y-%m-%dT%H:%M}")
    expect(page.locator("#fire-button")).to_contain_text("Schedule")
    hold(page, 1500)
    campaign = campaign_of(page)
    expect(page.locator("#live")).to_have_attribute("data-state", "scheduled")
    page.get_by_role("link", name="Calendar").click()
    expect(page.get_by_role("link", name="tomorrow's paper")).to_be_visible()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel tomorrow's paper").click()
    expect(page.get_by_role("link", name="tomorrow's paper")).to_be_hidden()
    assert ring.campaign(campaign).state == "cancelled"


def test_two_editors_of_a_draft_are_told_of_each_other(visit: Callable[..., Visit]) -> None:
    first, second = visit("editor"), visit("operator")
    page = first.page("/")
    write(page, "of the first")
    expect(page).to_have_url(re.compile(r"\?draft="))
    other = second.page(page.url)
    expect(other.get_by_role("textbox", name="Title", exact=True)).to_have_value("of the first")
    other.get_by_role("textbox", name="Title", exact=True).fill("of the second")
    expect(other.locator(".saved")).to_contain_text("Saved")
    expect(other.locator(".push-title").first).to_have_text("of the second")
    with first.expecting("409"):
        page.get_by_role("textbox", name="Text", exact=True).fill("of the first, later")
        expect(page.locator(".saved")).to_contain_text("Not saved")
        expect(page.get_by_role("textbox", name="Text", exact=True)).to_have_value("of the first, later")
        page.get_by_role("button", name="Keep mine instead").click()
        expect(page.locator(".saved")).to_contain_text("Saved")


def test_a_draft_outlives_the_browser_and_is_written_on_at_the_other_node(visit: Callable[..., Visit]) -> None:
    page = visit("editor").page("/")
    write(page, "kept by itself")
    expect(page).to_have_url(re.compile(r"\?draft="))
    path = "/?" + page.url.rpartition("?")[2]
    page.context.close()
    page = visit("editor", node=2).page(path)
    expect(page.get_by_role("textbox", name="Title", exact=True)).to_have_value("kept by itself")


def test_a_draft_is_not_lost_while_the_node_is_away(visit: Callable[..., Visit]) -> None:
    visitor = visit("editor")
    page = visitor.page("/")
    write(page, "before")
    with visitor.expecting("ERR_INTERNET_DISCONNECTED|Failed to fetch"):
        visitor.context.set_offline(True)
        page.get_by_role("textbox", name="Title", exact=True).fill("while it was away")
        expect(page.locator(".saved")).to_contain_text("Not saved")
        visitor.context.set_offline(False)
        expect(page.locator(".saved")).to_contain_text("Saved")
    page.reload()
    expect(page.get_by_role("textbox", name="Title", exact=True)).to_have_value("while it was away")


def test_a_slow_line_makes_no_conflict_of_an_editor_with_themselves(visit: Callable[..., Visit]) -> None:
    visitor = visit("editor")
    page = visitor.page("/")
    visitor.slow(page, 1.0)
    for name, text in (("Title", "word by word"), ("Text", "and so on")):  # the next is typed while one is kept
        page.get_by_role("textbox", name=name, exact=True).press_sequentially(text, delay=150)
        page.wait_for_timeout(700)
    expect(page.locator(".push-body").first).to_have_text("and so on", timeout=15_000)
    expect(page.locator(".saved")).to_contain_text("Saved")
