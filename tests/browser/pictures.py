"""Draws the README's pictures: a ring with a sample base, a campaign in each state, and the pages in a real browser.

What is in them is the same every time, apart from times, rates and ids.
"""

from __future__ import annotations

import io
import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.chromium import chromium
from tests.browser.ring_with_pages import RingWithPages
from tests.browser.visit import DESK, PHONE, Visit

FOLDER = Path(__file__).parents[2] / "docs" / "pictures"
LARGEST = 150_000
"""Bytes of a picture."""
PHONES = 100_000
LATENCY = {"apns": 1500, "fcm": 150}
"""ms of the providers' answers: with so many streams as each allows both take 20 s for everybody."""
LINK = "https://news.example/politics/resignation"
HEADLINE = "Government resigns after vote of no confidence"
BODY = "The chancellor has handed in her resignation. The president speaks at 18:00; we are live."


@dataclass(frozen=True)
class Picture:
    """One picture: its file's name, the page's path, how the browser looks, and what is done before it is taken."""

    name: str
    path: str
    look: dict[str, Any]
    before: Callable[[Page], None] = lambda page: None


def live(page: Page) -> None:
    """Wait until a third is reached."""
    page.wait_for_function("() => { const bar = document.getElementById('progress'); return bar.value > bar.max / 3; }")


def ended(page: Page) -> None:
    expect(page.locator("#live")).to_have_attribute("data-state", "done", timeout=120_000)


def written(page: Page) -> None:
    """Write the news of the pictures, and wait until it is drawn and counted."""
    page.get_by_label(re.compile("^Link to the story")).fill(LINK)
    page.get_by_role("textbox", name="Title", exact=True).fill(HEADLINE)
    page.get_by_role("textbox", name="Text", exact=True).fill(BODY)
    page.get_by_role("radio", name=re.compile("^Breaking")).check()
    expect(page.locator(".push-title").first).to_have_text(HEADLINE)
    expect(page.locator("#fire-button")).to_contain_text(re.compile(r"to [\d,]+ phones"))
    expect(page.locator(".saved")).to_contain_text("Saved")
    page.evaluate("document.activeElement.blur()")


def pictures(campaign: str) -> list[Picture]:
    """The README's pictures, in the order in which they can be taken while a campaign goes on."""
    path, light = f"/campaigns/{campaign}", DESK | {"color_scheme": "light"}
    return [
        Picture("live", path, light, live),
        Picture("phone", path, PHONE | {"color_scheme": "light"}, live),
        Picture("dark", path, DESK | {"color_scheme": "dark"}, live),
        Picture("operator", "/operator", light),
        Picture("report", path, light, ended),
        Picture("compose", "/", light, written),
    ]


def small(png: bytes) -> bytes:
    """The picture, compressed as far as it goes; in 256 colours if it is still too large."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for form in (picture, picture.quantize(256, dither=Image.Dither.NONE)):
        out = io.BytesIO()
        form.save(out, "PNG", optimize=True)
        if out.tell() <= LARGEST:
            break
    return out.getvalue()


def draw(visitor: Visit, picture: Picture) -> None:
    page = visitor.page(picture.path)
    picture.before(page)
    page.mouse.move(0, 0)
    content = small(page.screenshot())
    page.close()
    assert len(content) <= LARGEST, f"{picture.name} has {len(content):,} bytes, {LARGEST:,} at most"
    (FOLDER / f"{picture.name}.png").write_bytes(content)
    print(f"docs/pictures/{picture.name}.png: {len(content):,} bytes")


def main(names: list[str]) -> int:
    """Draw those of these ``names``, or all; returns the exit code."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        ring = RingWithPages(Path(folder), phones=PHONES, rate=None, latency_ms=LATENCY)
        try:
            ring.start()
            key = ring.key("Ana", "operator").key
            message = {"title": HEADLINE, "body": BODY, "url": LINK}
            for number, title in enumerate(EARLIER):
                ring.ended(ring.fire(title, audience={"countries": [("AU", "UA", "AE")[number]]}).id)
            firing = ring.fire(HEADLINE, message=message, kind="breaking").id
            for picture in pictures(firing):
                if names and picture.name not in names:
                    continue
                visitor = Visit(browser, ring, **picture.look).log_in(key)
                draw(visitor, picture)
                visitor.judge()
        finally:
            ring.end()
    return 0


EARLIER = (
    "Storm Erik: trains stand still until noon",
    "Parliament passes the budget for 2027",
    "Final: the national team wins 2:1",
)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
