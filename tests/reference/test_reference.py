"""The reference pages say what the code says."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reference.pages import PAGES, ROOT
from tests.reference.verbs import ROLES, verbs


@pytest.mark.parametrize(("path", "page"), PAGES.items(), ids=lambda each: getattr(each, "name", ""))
def test_a_page_is_as_it_is_made_now(path: Path, page: Callable[[], str]) -> None:
    assert path.read_text(encoding="utf-8") == page(), "./dev reference writes it anew"


def test_every_verb_that_is_called_is_in_the_reference() -> None:
    known = {f"{role}.{verb.name}" for role in ROLES for verb in verbs(role)}
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "storage").glob("*.py")]
    called = {name for text in sources for name in re.findall(r'"((?:store|tubes)\.[a-z_]+)"', text)}
    assert len(called) > 100
    assert called <= known
