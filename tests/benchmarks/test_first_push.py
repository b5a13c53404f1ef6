"""The bench of lanes finds the first breaking push in a ledger that grows."""

from __future__ import annotations

from pathlib import Path

from benchmarks.bench_lanes import FirstPush
from simulators.ledger import Entry, Ledger

LINE = Entry(time=7, token="a", id="1", app="x", collapse="digest")


def ledger(path: Path, *entries: Entry) -> None:
    writer = Ledger(path)
    for entry in entries:
        writer.add(entry)
    writer.close()


def test_the_first_push_is_found_in_each_ledger_also_behind_half_a_line(tmp_path: Path) -> None:
    names = [tmp_path / "apns.ledger", tmp_path / "fcm.ledger"]
    breaking = [Entry(time=time, token="b", id="2", app="x", collapse="news") for time in (11, 12)]
    for name in names:
        ledger(name, LINE)
    first = FirstPush({name: name.stat().st_size for name in names}, "news")
    ledger(names[0], LINE, *breaking)
    assert not first.everywhere()
    whole = tmp_path / "whole"
    ledger(whole, LINE, breaking[1])
    content = whole.read_bytes()
    for part in (content[:-5], content[-5:]):
        assert not first.everywhere()
        with names[1].open("ab") as file:
            file.write(part)
    assert first.everywhere()
    assert sorted(first.times.values()) == [11, 12]
