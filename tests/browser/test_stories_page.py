"""Stories in a browser: one is opened, updated and ended, and what is wrong is said beside what was written."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.all_pages import settle
from tests.browser.visit import PHONE, Visit, axe


def test_a_story_is_opened_updated_and_ended(visit: Callable[..., Visit]) -> None:
    """Issue 27.5"""
    editor = visit("editor")
    page = editor.page("/stories")
    page.get_by_text("Open a story").click()
    page.get_by_label("What editors call it").fill("Cup final")
    page.get_by_label("Channels").fill("ios-news")
    card = page.get_by_label("What the iPhone app draws the card from")
    card.fill("0:0")
    with editor.expecting("400"):
        page.get_by_role("button", name="Open the story").click()
        expect(page.get_by_role("alert")).to_contain_text("change.state")
    expect(page.get_by_label("What editors call it")).to_have_value("Cup final")
    card.fill('{"score": "0:0"}')
    page.get_by_role("button", name="Open the story").click()
    expect(page).to_have_url(re.compile(r"/stories/\w+$"))
    story = page.locator("#story")
    expect(story).to_contain_text("The story is open")
    expect(story).to_contain_text("broadcast channel")
    page.get_by_label("What the iPhone app draws the card from").fill('{"score": "1:0"}')
    page.get_by_label("Title on other phones").fill("1:0")
    page.get_by_role("button", name="Send").click()
    newest = story.get_by_role("row").nth(1)
    expect(newest).to_contain_text("1:0")
    expect(newest).to_contain_text("sent")
    settle(page)
    assert axe(page) == []
    page.get_by_label("What it is").select_option("the end of the story")
    page.get_by_role("button", name="Send").click()
    expect(story).to_contain_text("The story is ending")  # its channel stays for those who are offline
    expect(story.get_by_role("row").nth(1)).to_contain_text("3 (end)")
    expect(page.get_by_role("button", name="Send")).to_have_count(0)
    page.goto("/stories")
    expect(page.locator("#stories")).to_contain_text("Cup final")
    phone = visit("viewer", **PHONE).page("/stories")
    expect(phone.locator("#stories")).to_contain_text("ending")
    expect(phone.get_by_text("Open a story")).to_have_count(0)
