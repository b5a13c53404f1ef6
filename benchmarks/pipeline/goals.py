"""The goals of the whole pipeline, judged by the rows of one run."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.pipeline.rig import Row

SECONDS_FOR_2M = 30.0


def judge(rows: list[Row]) -> Iterator[tuple[bool, str]]:
    """(met, sentence) for each goal."""
    largest = max(row.subscribers for row in rows)
    for row in rows:
        if row.subscribers == largest:
            allowed = SECONDS_FOR_2M * largest / 2_000_000
            what = f"{largest:,} to {row.sink}"
            yield row.seconds <= allowed, f"{what}: <= {allowed:g} s: {row.seconds:.1f} s"
            each, most = row.cpu_us_per_push, 7 if row.sink == "counting" else 10
            yield each <= most, f"{what}: workers and Tarantool <= {most} µs of CPU a push: {each:.1f} µs"
            if row.h2load_us is not None:
                ratio = each / row.h2load_us
                yield ratio <= 2.5, f"{what}: <= 2.5 times h2load's CPU ({row.h2load_us:.2f} µs): {ratio:.2f}"
            small = next((r for r in rows if r.sink == row.sink and r.subscribers < largest), None)
            if small is not None:
                ratio = each / small.cpu_us_per_push
                yield ratio < 1.15, f"{what}: cost a push, beside {small.subscribers:,}: < 1.15 times: {ratio:.2f}"
    for row in rows:
        if row.first_ms is not None:
            yield row.first_ms <= 200, f"{row.subscribers:,}: first push accepted <= 200 ms: {row.first_ms} ms"
    worst = max(row.rss_mb for row in rows)
    yield worst <= 200, f"a worker's memory <= 200 MB: {worst:.0f} MB"
    lost, twice = sum(row.lost for row in rows), sum(row.duplicates for row in rows)
    yield lost == 0, f"lost 0: {lost}"
    yield twice == 0, f"duplicates 0: {twice}"
