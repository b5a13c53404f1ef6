"""Write the reference pages: ./dev reference."""

from __future__ import annotations

from tests.reference.pages import PAGES

for path, page in PAGES.items():
    path.write_text(page(), encoding="utf-8")
