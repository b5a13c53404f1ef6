"""Logging in and out, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

from broadside.api.access_records import KeyCreated
from broadside.api.v1 import table
from tests.browser.ring_with_pages import RingWithPages
from tests.browser.visit import Visit

REFUSED = "401"


def type_key(page: Page, key: str) -> None:
    page.get_by_label("Your key").fill(key)
    page.get_by_role("button", name="Log in").click()


def test_a_link_logs_one_browser_in_once(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    link = ring.link()
    page = visit().page(link)
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    assert "#" not in page.url, "the code is gone from the address"
    second = visit()
    with second.expecting(REFUSED):
        page = second.page(link)
        expect(page.get_by_role("alert")).to_contain_text("broadside key link")


def test_a_wrong_key_is_refused_in_words_and_a_right_one_opens_the_page_that_was_asked_for(
    visit: Callable[..., Visit], keys: dict[str, KeyCreated]
) -> None:
    visitor = visit()
    page = visitor.page("/campaigns?cursor=")
    expect(page).to_have_url(re.compile(r"/login\?next="))
    with visitor.expecting(REFUSED):
        type_key(page, "bsk_of_nobody")
        expect(page.get_by_role("alert")).to_contain_text("does not hold")
    expect(page.get_by_label("Your key")).to_be_focused()
    type_key(page, keys["editor"].key)
    expect(page).to_have_url(re.compile(r"/campaigns\?cursor=$"))


def test_logging_out_ends_the_session_in_every_tab(visit: Callable[..., Visit]) -> None:
    visitor = visit("viewer")
    page, other = visitor.page("/campaigns"), visitor.page("/campaigns")
    page.bring_to_front()
    with visitor.expecting(REFUSED):
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Your key")).to_be_visible()
        expect(other).to_have_url(re.compile(r"/login\?.*next=%2Fcampaigns$"))


def test_a_session_that_ends_under_an_open_page_leads_to_the_log_in_and_back(
    visit: Callable[..., Visit], ring: RingWithPages, keys: dict[str, KeyCreated]
) -> None:
    made = ring.key("gone soon", "viewer")
    campaign = ring.fire("a session ends").id
    visitor = visit().log_in(made.key)
    page = visitor.page(f"/campaigns/{campaign}")
    expect(page.get_by_role("heading", level=1)).to_have_text("a session ends")
    with visitor.expecting(REFUSED):
        with ring.client() as client:
            client.call(table.KEY_REVOKE, key_id=made.record.id)
        expect(page).to_have_url(re.compile(rf"/login\?.*next=%2Fcampaigns%2F{campaign}"))
        expect(page.get_by_role("status")).to_contain_text("has ended")
        type_key(page, made.key)
        expect(page.get_by_role("alert")).to_contain_text("does not hold")
    type_key(page, keys["viewer"].key)
    expect(page.get_by_role("heading", level=1)).to_have_text("a session ends")
