"""Kinds of news: read from the configuration, and fixed in a campaign by Fire."""

from __future__ import annotations

from pathlib import Path

import pytest

from broadside.config.config import Config, load
from broadside.errors import ConfigError
from campaigns.kind import BUILT_IN
from campaigns.lane import Lane

CHANNEL = '[channels.ios]\nplatform = "apns"\napp = "com.example.news"\ntwin = true\n'


def read(folder: Path, text: str) -> Config:
    path = folder / "broadside.toml"
    path.write_text(CHANNEL + text)
    return load(path)


def test_three_kinds_are_built_in(tmp_path: Path) -> None:
    """21.3: what a node without [kinds] can fire."""
    kinds = read(tmp_path, "").kinds
    assert {name: kind.lane for name, kind in kinds.items()} == {
        "breaking": Lane.UPPER,
        "news": Lane.MIDDLE,
        "digest": Lane.LOWER,
    }
    assert kinds["news"].ttl == 4 * 3600


def test_a_kind_is_changed_key_by_key_and_new_ones_begin_as_news(tmp_path: Path) -> None:
    """21.3: [kinds.NAME] names only what differs."""
    kinds = read(
        tmp_path,
        '[kinds.breaking]\nttl = "1h"\n[kinds.sport]\nlane = "upper"\nquiet = "drop"\nurgency = "low"\n'
        '[kinds.early]\nquiet_hours = "20:00-10:00"\n[kinds.alarm]\nquiet_hours = "off"\n',
    ).kinds
    assert kinds["breaking"].ttl == 3600
    assert (kinds["breaking"].lane, kinds["breaking"].urgency) == (Lane.UPPER, "high")
    sport = kinds["sport"]
    assert (sport.lane, sport.quiet, sport.urgency, sport.ttl) == (Lane.UPPER, "drop", "low", BUILT_IN["news"].ttl)
    assert [kinds[name].quiet_hours for name in ("sport", "early", "alarm")] == [None, "20:00-10:00", "off"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('[kinds.x]\nlane = "top"', 'kinds.x.lane: "top" is unknown (upper overtakes middle, middle overtakes lower)'),
        ('[kinds.x]\nquiet = "loud"', 'kinds.x.quiet: "loud" is unknown (hold, silent, drop or break_through)'),
        (
            '[kinds.x]\nquiet_hours = "22-8"',
            'kinds.x.quiet_hours: "22-8" is not two times of the day, as in "23:00-07:00"',
        ),
        ('[kinds.x]\nquiet_hours = "7:00"', '(write the hours of the night, or "off" if there are none)'),
        ("[kinds.x]\nquiet_hours = false", "kinds.x.quiet_hours: false is not text in quotes"),
        ('[kinds.x]\nurgency = "now"', 'kinds.x.urgency: "now" is unknown (high, normal or low)'),
        ('[kinds.x]\nttl = "soon"', 'kinds.x.ttl: "soon" is not a duration'),
        ('[kinds.x]\nttl = "31d"', 'kinds.x.ttl: "31d" is too long'),
        ("[kinds.x]\nttl = 60", "kinds.x.ttl: 60 is not text in quotes"),
        (
            "[kinds.x]\nlimit = 5",
            "kinds.x.limit: unknown key (known here: budget, lane, quiet, quiet_hours, ramp, rate, ttl, urgency)",
        ),
        ('[kinds."a b"]\nlane = "upper"', "cannot be a kind's name"),
        ("kinds = 5", "kinds: 5 where tables belong (write each kind as [kinds.NAME])"),
    ],
)
def test_a_kind_that_cannot_be_is_refused_with_what_would_be_right(tmp_path: Path, text: str, problem: str) -> None:
    """21.3: no rule is accepted in silence."""
    path = tmp_path / "broadside.toml"
    path.write_text(text + "\n" + CHANNEL)
    with pytest.raises(ConfigError) as failed:
        load(path)
    assert problem in str(failed.value)
