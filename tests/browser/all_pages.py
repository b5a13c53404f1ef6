"""Finds all pages, for what must hold on each."""

from __future__ import annotations

from collections.abc import Iterable

from playwright.sync_api import Page

from broadside.pages.pages import PAGES
from tests.browser.visit import Visit


def whole_pages(visitor: Visit, ids: Iterable[str] = ()) -> list[str]:
    """The paths of all pages that there are, those of a campaign for each of ``ids``: a new page is found by itself."""
    paths = {page.path for page in PAGES if page.method == "GET"}
    filled = [path for path in paths if "{" not in path]
    filled += [path.replace("{id}", id) for path in paths if "/campaigns/{id}" in path for id in ids]
    filled = [path for path in filled if not path.endswith("/certificate")]  # a file, which there is once all is over
    answers = [(path, visitor.context.request.get(path)) for path in sorted(filled)]
    return ["/login", *(path for path, answer in answers if "<!doctype html>" in answer.text())]


def settle(page: Page) -> None:
    """Wait until the page's own first requests are answered (its event stream never ends: `networkidle` is no use)."""
    page.wait_for_load_state("load")
    page.wait_for_function("() => !document.querySelector('.htmx-request')")
