"""A campaign's page while it is sent: what it shows, and what an editor does there."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

from tests.browser.ring_with_pages import FEW, PHONES, START, RingWithPages
from tests.browser.visit import Visit

AWAY = r"Failed to fetch|ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE"
"""What a browser says of a node that dies under it."""


SEEN = {"countries": ["DE", "GB", "US"]}
"""A quarter of the phones: over in six seconds."""


SETTLED = 700
"""ms after which a button takes a click that has just taken another's place."""


def live(page: Page) -> Locator:
    return page.locator("#live")


def state(page: Page, word: str) -> None:
    expect(live(page)).to_have_attribute("data-state", word)


def delivered(page: Page) -> int:
    return int(page.locator("#live .figure [data-field=delivered]").inner_text().replace(",", ""))


def test_figures_move_by_themselves_at_every_node_until_the_end(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    campaign = ring.fire("seen from both nodes", number=2, audience=SEEN).id
    pages = [visit("viewer", node).page(f"/campaigns/{campaign}") for node in (1, 2)]
    for page in pages:
        page.evaluate("window.opened = true")
        state(page, "firing")
        first = delivered(page)
        page.wait_for_function(
            "(first) => +document.querySelector('[data-field=delivered]').textContent.replaceAll(',', '') > first",
            arg=first,
        )
    report = ring.ended(campaign)
    total = sum(tally.delivered for tally in report.channels.values())
    for page in pages:
        state(page, "done")
        expect(page.locator("#live .figure [data-field=delivered]")).to_have_text(f"{total:,}")
        assert page.evaluate("window.opened"), "the page was never loaded again"
        expect(page.locator("#curve canvas")).to_be_visible()
    assert total > PHONES * 0.2


def test_an_editor_stops_with_one_press_goes_on_and_cancels(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    campaign = ring.fire("stopped").id
    page = visit("editor").page(f"/campaigns/{campaign}")
    stop = page.get_by_role("button", name="Stop")
    sizes = {each.inner_text(): each.bounding_box() for each in page.locator("#live button").all()}
    areas = {name: box["width"] * box["height"] for name, box in sizes.items() if box}
    assert max(areas, key=lambda name: areas[name]) == "Stop", "Stop is the largest"
    stop.click()
    state(page, "paused")
    there = ring.campaign(campaign)
    assert there.state == "paused"
    assert sum(tally.remaining for tally in there.channels.values()) > 0
    page.wait_for_timeout(SETTLED)
    page.get_by_role("button", name="Go on").click()
    state(page, "firing")
    page.wait_for_timeout(SETTLED)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Cancel for ever").click()
    state(page, "cancelled")
    assert ring.campaign(campaign).state == "cancelled"
    expect(page.locator("#live button")).to_have_count(0)


def test_a_second_click_on_stop_does_not_let_the_campaign_go_on(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    campaign = ring.fire("stopped by a double click").id
    page = visit("editor").page(f"/campaigns/{campaign}")
    page.evaluate(
        """() => new MutationObserver((_, observer) => {
            const next = [...document.querySelectorAll("#live button")].find((each) => each.textContent === "Go on");
            if (next) { observer.disconnect(); setTimeout(() => { next.click(); window.clicked = true; }); }
        }).observe(document.body, {subtree: true, childList: true, characterData: true})"""
    )
    page.get_by_role("button", name="Stop").click()
    page.wait_for_function("() => window.clicked")
    state(page, "paused")
    page.wait_for_timeout(1000)
    assert ring.campaign(campaign).state == "paused"


def test_what_a_reader_has_opened_stays_open(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    campaign = ring.fire("opened", when="best").id
    page = visit("editor").page(f"/campaigns/{campaign}")
    times = page.locator("#live details", has_text="when they get it")
    times.locator("summary").click()
    expect(times).to_have_attribute("open", "")
    page.get_by_role("button", name="Stop").click()
    state(page, "paused")
    expect(times).to_have_attribute("open", "")


def test_a_viewer_sees_everything_and_changes_nothing(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    campaign = ring.fire("for a viewer").id
    visitor = visit("viewer")
    page = visitor.page(f"/campaigns/{campaign}")
    state(page, "firing")
    expect(page.locator("#live button")).to_have_count(0)
    with visitor.expecting("403"):
        status = page.evaluate(
            """async (path) => (await fetch(path, {method: "POST", headers: {
                "X-CSRF-Token": document.querySelector("meta[name=csrf]").content}})).status""",
            f"/v1/campaigns/{campaign}/pause",
        )
    assert status == 403
    assert ring.campaign(campaign).state == "firing"


def test_the_list_moves_by_itself(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    campaign = ring.fire("in the list", audience=FEW).id
    page = visit("viewer").page("/campaigns")
    row = page.locator(f"tr[data-campaign='{campaign}']")
    expect(row).to_have_attribute("data-state", "done")
    expect(row.locator("[data-field=remaining]")).to_have_text("0")


def test_the_report_proves_that_everybody_was_reached(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    campaign = ring.fire("proved", audience=FEW).id
    ring.ended(campaign)
    page = visit("operator").page(f"/campaigns/{campaign}")
    page.get_by_role("button", name="Check it").click()
    expect(page.locator("#verified")).to_contain_text("nobody was missed")
    page.get_by_text("The exact requests to the providers").click()
    expect(page.get_by_role("heading", name=re.compile("ios-news"))).to_be_visible()


def test_a_page_whose_node_dies_says_so_and_comes_back_by_itself(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    campaign = ring.fire("a node dies", audience=SEEN, number=1).id
    visitor = visit("editor", node=2)
    page = visitor.page(f"/campaigns/{campaign}")
    state(page, "firing")
    page.evaluate("window.opened = true")
    with visitor.expecting(AWAY, "50[0-9]"):
        ring.node(2).kill()
        try:
            expect(page.get_by_text("The node does not answer")).to_be_visible()
            page.get_by_role("button", name="Stop").click()
            expect(page.get_by_text("The node does not answer")).to_be_visible()
        finally:
            ring.node(2).begin(START)
        expect(page.get_by_text("The node does not answer")).to_be_hidden()
        ring.ended(campaign)
        state(page, "done")
    assert page.evaluate("window.opened"), "the page was never loaded again"


def test_twenty_viewers_see_the_end(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    campaign = ring.fire("for twenty", audience=SEEN).id
    pages = [visit("viewer").page(f"/campaigns/{campaign}") for _ in range(20)]
    ring.ended(campaign)
    for page in pages:
        state(page, "done")
    shown = {page.locator("#live .figure [data-field=delivered]").inner_text() for page in pages}
    assert len(shown) == 1, shown


def test_a_page_works_over_a_line_of_a_second(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    campaign = ring.fire("far away").id
    visitor = visit("editor")
    page = visitor.page()
    visitor.slow(page, 1.0)
    page.goto(f"/campaigns/{campaign}")
    page.get_by_role("button", name="Stop").click()
    state(page, "paused")


def test_a_campaign_that_nobody_knows_is_a_page_with_a_way_back(visit: Callable[..., Visit]) -> None:
    visitor = visit("viewer")
    with visitor.expecting("404", "400"):
        page = visitor.page("/campaigns/azmm24cxtlbeu")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_role("link", name="To the campaigns").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Campaigns")


def test_an_editor_corrects_a_wrong_text_and_reads_who_gets_it(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    """Issue 25.5: the page goes on by itself, and names the campaign that brings the new text."""
    campaign = ring.fire("a wrong text").id
    page = visit("editor").page(f"/campaigns/{campaign}")
    page.locator("#correct summary").click()
    page.locator("#correct input[name=title]").fill("the right text")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Correct it", exact=True).click()
    expect(page.locator("#live .note", has_text="its texts were corrected")).to_be_visible(timeout=30_000)
    there = ring.campaign(campaign)
    assert (there.message.title, there.texts_version) == ("the right text", 1)
    assert there.corrected_by is not None
    assert ring.campaign(there.corrected_by).corrects == campaign


def test_an_editor_corrects_each_language_and_lets_it_be_heard(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    """Issue 25.5: what was wrong in one language is corrected there; the others stay; the new text may be loud."""
    texts = {"de": {"title": "Falsch", "body": "Hier"}, "fr": {"title": "Faux", "body": "Ici"}}
    campaign = ring.fire("wrong in German", texts=texts).id
    page = visit("editor").page(f"/campaigns/{campaign}")
    page.locator("#correct summary").click()
    german = page.get_by_role("group", name="The text in de")
    expect(german.get_by_label("Title")).to_have_value("Falsch")
    german.get_by_label("Title").fill("Richtig")
    page.get_by_label("As loud as the first one").check()
    page.once("dialog", lambda dialog: dialog.accept())
    with page.expect_request("**/correct") as sent:
        page.get_by_role("button", name="Correct it", exact=True).click()
    assert "awake=on" in (sent.value.post_data or "")
    expect(page.locator("#live .note", has_text="its texts were corrected")).to_be_visible(timeout=30_000)
    there = ring.campaign(campaign)
    assert (there.message.title, there.texts_version) == ("wrong in German", 1)
    assert {name: (text.title, text.body) for name, text in there.message.texts.items()} == {
        "de": ("Richtig", "Hier"),
        "fr": ("Faux", "Ici"),
    }
