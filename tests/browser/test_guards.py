"""The guards before Fire, in a browser: each says what it has seen, and takes a yes."""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec
from playwright.sync_api import Page, expect

from broadside.api.subscriber import Subscriber
from broadside.demo import samples
from tests.browser.ring_with_pages import SOME, RingWithPages
from tests.browser.test_story import campaign_of, hold, narrow, write
from tests.browser.visit import Visit

REFUSED = "409"
"""What the browser says of an answer that asks for a yes."""


def tick_and_send(page: Page, words: str) -> None:
    page.get_by_label(words).check()
    hold(page, 1500)


def test_what_goes_to_many_phones_is_let_go_by_two_people(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    editor = visit("editor")
    page = editor.page("/")
    write(page, "A new pope", "White smoke over Rome.")
    with editor.expecting(REFUSED):
        hold(page, 1500)
        expect(page.locator("#fire-answer")).to_contain_text("above 22,000 two people let it go")
    tick_and_send(page, "Ask for an approval: it is made ready, and another person lets it go.")
    campaign = campaign_of(page)
    live = page.locator("#live")
    expect(live).to_have_attribute("data-state", "armed")
    expect(live.get_by_role("button", name="Approve")).to_have_count(0)
    with editor.expecting(REFUSED):
        page.once("dialog", lambda dialog: dialog.accept())
        live.get_by_role("button", name="Send it now").click()
        expect(page.locator("#armed-answer")).to_contain_text("nobody but Edith has seen it")
    other = visit("approver").page(f"/campaigns/{campaign}")
    other.get_by_role("button", name="Approve").click()
    expect(other.locator("#live")).to_contain_text("Approved by Anna")
    expect(live).to_contain_text("Approved by Anna")
    page.once("dialog", lambda dialog: dialog.accept())
    live.get_by_role("button", name="Send it now").click()
    expect(live).to_have_attribute("data-state", "firing")


def test_an_armed_campaign_waits_and_can_be_taken_back(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    page = visit("editor").page("/")
    write(page, "Polls close at eight", "First figures then.")
    narrow(page, "AU")
    page.get_by_role("button", name="Make it ready, send it later").click()
    campaign = campaign_of(page)
    live = page.locator("#live")
    expect(live).to_contain_text("nothing is sent until somebody sends it")
    live.get_by_role("button", name="Take it back").click()
    expect(live).to_have_attribute("data-state", "cancelled")
    assert ring.campaign(campaign).channels == {}


def test_a_test_goes_to_the_devices_that_are_named_and_to_nobody_else(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    before = [line.id for line in ring.campaigns()]
    editor = visit("editor")
    page = editor.page("/")
    write(page, "Only a trial", "Nobody else reads this.")
    page.get_by_text("Try it on your own phone").click()
    page.get_by_label("Devices").fill("17, 18")
    page.get_by_role("button", name="Send a test").click()
    tested = page.locator("#tested")
    expect(tested).to_contain_text("Sent as “[TEST] Only a trial”")
    expect(tested.get_by_role("listitem")).to_have_count(2)
    page.get_by_label("Devices").fill("4000000")
    with editor.expecting("400"):
        page.get_by_role("button", name="Send a test").click()
        expect(tested).to_contain_text("there is no subscriber 4000000")
    assert [line.id for line in ring.campaigns()] == before


def test_the_same_text_again_is_refused_until_an_editor_ticks_the_box(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    editor = visit("editor")
    page = editor.page("/")
    write(page, "The mayor resigns", "He has said so at noon.")
    narrow(page, "AU")
    hold(page, 1500)
    first = campaign_of(page)
    page.goto("/")
    write(page, "THE MAYOR RESIGNS!", "He has said so at noon.")
    narrow(page, "AU")
    answer = page.locator("#fire-answer")
    with editor.expecting(REFUSED):
        hold(page, 1500)
        expect(answer).to_contain_text("the same text went out")
    expect(answer.get_by_role("link", name="Open that campaign")).to_have_attribute("href", f"/campaigns/{first}")
    tick_and_send(page, "Send it again: these phones get the same text twice.")
    again = campaign_of(page)
    assert again != first
    ring.ended(again)


def test_a_canary_leads_on_to_the_rest_by_itself(visit: Callable[..., Visit], ring: RingWithPages) -> None:
    page = visit("editor").page("/")
    write(page, "First to a few", "And then to all the others.")
    narrow(page, "AU")
    page.get_by_text("More about whom").click()
    page.get_by_label("First to a share, in %").fill("10")
    expect(page.locator(".saved")).to_contain_text("Saved")
    hold(page, 1500)
    first = campaign_of(page)
    live = page.locator("#live")
    expect(live).to_contain_text("The share has it, and the rest gets it.")
    live.get_by_role("link", name="the rest gets it").click()
    expect(live).to_contain_text("The rest of a campaign to a share")
    rest = campaign_of(page)
    one, other = ring.ended(first), ring.ended(rest)
    sent = [sum(tally.settled for tally in each.channels.values()) for each in (one, other)]
    assert 0 < sent[0] < sent[1] / 4


def test_a_canary_that_fails_stops_and_its_rest_is_sent_when_somebody_says_so(
    visit: Callable[..., Visit], ring: RingWithPages
) -> None:
    # those of the sample base are gone after the first campaign
    dead = [Subscriber(channel="ios-news", token=f"{samples.DEAD}{n:060x}", country="DE") for n in range(200)]
    with ring.client() as client:
        client.upsert(msgspec.json.Encoder().encode_lines(dead))
    first = ring.fire("A sick canary", canary=0.4, canary_limit=0.0, audience=SOME).id
    page = visit("editor").page(f"/campaigns/{first}")
    live = page.locator("#live")
    expect(live).to_contain_text("The rest gets nothing:")
    # on a fast machine all of the canary's phones have an outcome by then
    expect(live).to_have_attribute("data-state", re.compile("paused|done"))
    page.once("dialog", lambda dialog: dialog.accept())
    page.wait_for_timeout(700)
    live.get_by_role("button", name="Send the rest nevertheless").click()
    expect(live).to_contain_text("The rest of a campaign to a share")
    assert campaign_of(page) != first
