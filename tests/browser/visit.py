"""A visit of the node's pages in a real browser, which fails on everything that a page may never do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, Page, Request, Response

from tests.browser.ring_with_pages import PATIENCE, RingWithPages, session

AXE = Path(__file__).parent / "vendored" / "axe-core" / "axe.min.js"
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
DESK = {"viewport": {"width": 1280, "height": 860}}
REPORTS_BREACHES = """
document.addEventListener("securitypolicyviolation", (breach) =>
    console.error(`CSP: ${breach.violatedDirective} forbids ${breach.blockedURI} at ${breach.sourceFile}`));
"""
ABORTED = "net::ERR_ABORTED"
"""What a browser says of a stream that its own page has closed, and of a request that a new page has made needless."""


class Visit:
    """A browser of one person: its pages share a session. It collects what was wrong, until ``judge``."""

    def __init__(self, browser: Browser, ring: RingWithPages, node: int = 1, **look: Any) -> None:
        self.ring = ring
        self.url = ring.url(node)
        self.context: BrowserContext = browser.new_context(base_url=self.url, locale="en-GB", **(DESK | look))
        self.context.set_default_timeout(PATIENCE * 1000)
        self.context.add_init_script(REPORTS_BREACHES)
        self.wrong: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        self.context.on("console", lambda said: self._told(said.type, said.text, said.location.get("url", "")))
        self.context.on("weberror", lambda error: self._fault(f"script: {error.error}"))
        self.context.on("request", self._asked)
        self.context.on("requestfailed", self._failed)
        self.context.on("response", self._answered)

    def log_in(self, key: str) -> Visit:
        """Give the browser the session that the log-in page would give it."""
        name, value = session(self.url, key)
        self.context.add_cookies([{"name": name, "value": value, "url": self.url}])
        return self

    def page(self, path: str = "") -> Page:
        """Open a new tab, at ``path``."""
        page = self.context.new_page()
        if path:
            page.goto(path)
        return page

    def slow(self, page: Page, seconds: float) -> None:
        """Let each answer to a page take ``seconds`` longer, as over a long line."""
        wire = self.context.new_cdp_session(page)
        wire.send("Network.enable")
        conditions = {"offline": False, "latency": seconds * 1000, "downloadThroughput": -1, "uploadThroughput": -1}
        wire.send("Network.emulateNetworkConditions", conditions)

    @contextmanager
    def expecting(self, *patterns: str) -> Iterator[None]:
        """Let faults pass that a pattern matches: those that the test itself brings about."""
        before = self._expected
        self._expected = [*before, *map(re.compile, patterns)]
        try:
            yield
        finally:
            self._expected = before

    def judge(self) -> None:
        """Close the browser, and fail if anything was wrong."""
        self.context.close()
        assert not self.wrong, "\n".join(self.wrong)

    def _fault(self, text: str) -> None:
        if not any(pattern.search(text) for pattern in self._expected):
            self.wrong.append(text)

    def _told(self, kind: str, text: str, url: str) -> None:
        if kind in ("error", "warning"):
            self._fault(f"console: {text} {url}".strip())

    def _asked(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme != "data" and f"{parts.scheme}://{parts.netloc}" != self.url:
            self._fault(f"another host: {request.url}")

    def _failed(self, request: Request) -> None:
        if request.failure != ABORTED:
            self._fault(f"failed: {request.method} {request.url}: {request.failure}")

    def _answered(self, response: Response) -> None:
        if response.status >= 400:
            self._fault(f"answer: {response.status} to {response.request.method} {response.url}")


def axe(page: Page) -> list[str]:
    """What axe-core objects to: each rule with the first elements that break it."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{rule['id']} ({rule['impact']}): {rule['help']}: "
        + "; ".join(f"{node['target'][0]}: {node['failureSummary']}" for node in rule["nodes"][:5])
        for rule in found["violations"]
    ]
