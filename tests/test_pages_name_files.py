"""README and docs name only files that exist: by path, by link, or by their name alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = sorted(
    entry.name for entry in ROOT.iterdir() if entry.is_dir() and not entry.name.startswith(".") and entry.name != "var"
)
PATH = re.compile(rf"(?<![\w./:-])(?:{'|'.join(FOLDERS)})/[\w./*-]*[\w*/]")
NAME = re.compile(r"(?<![\w./*-])\w+\.(?:py|lua)\b")
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def missing(page: Path, text: str) -> list[str]:
    """Paths, file names and links in the page's text that lead nowhere. `docs/adr/0012` is short for its file."""
    paths = [path for path in PATH.findall(text) if not [*ROOT.glob(path.rstrip("/")), *ROOT.glob(f"{path}-*")]]
    names = [name for name in NAME.findall(text) if not any(any(ROOT.glob(f"{top}/**/{name}")) for top in FOLDERS)]
    links = [link for link in LINK.findall(text) if not (page.parent / link).exists()]
    return paths + names + links


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    assert missing(page, page.read_text()) == []


def test_a_file_that_is_gone_is_noticed() -> None:
    text = "actors/walker.py, `actors/gone.py`, actors/, transports/gone/, `gone_too.py`, docs/adr/0001, [x](gone.md)"
    assert missing(ROOT / "README.md", text) == ["actors/gone.py", "transports/gone/", "gone_too.py", "gone.md"]
