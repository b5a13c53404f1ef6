"""What became of this phone: the answers equal what the twins delivered, what was done to the base, and the reports."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.cluster.explained import FATES, Story, tell

pytestmark = [pytest.mark.tarantool, pytest.mark.xdist_group("cluster")]


def fates(folder: Path, seed: int, people: int, draws: int, everybody: bool) -> Counter[str]:
    """Tell a story with crashes, ask about drawn people, and return how many had which fate."""
    story = Story(folder, seed, people)
    try:
        story.ring.start()
        found = tell(story, people // 40, briefly=not everybody) + story.draw(draws)
        for fired in story.fired if everybody else story.fired[:1]:
            found += story.all_of(fired)
    finally:
        story.ring.end()
    return found


@pytest.mark.timeout(400)
def test_drawn_people_are_told_what_became_of_them(tmp_path: Path) -> None:
    found = fates(tmp_path, 7, 400, 150, everybody=False)
    assert set(found) >= FATES, found


@pytest.mark.sweep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", [7, 25])
def test_a_thousand_drawn_people_are_told_what_became_of_them(tmp_path: Path, seed: int) -> None:
    found = fates(tmp_path, seed, 2400, 1000, everybody=True)
    assert set(found) >= FATES, found
    print(dict(found.most_common()))
