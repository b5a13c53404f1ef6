"""Starts Debian's Chromium under Playwright, which brings no browser of its own here."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, while the block runs. CHROMIUM names its program; without it: the first of ``PROGRAMS``."""
    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, f"none of {', '.join(PROGRAMS)} is here (./dev browser installs one), and CHROMIUM names none"
    # Chromium's own sandbox refuses to run as root; --disable-dev-shm-usage: containers have little shared memory
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    asyncio.set_event_loop_policy(asyncio.DefaultEventLoopPolicy())  # trio-asyncio has put its own in its place
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()
