"""The goals of the transports, judged by the rows of one run."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.transport.meter import Row

_ENCRYPTED = 0.8  # share of a browser's push that nobody can make cheaper (docs/adr/0053)
_CPU_BOUND = 0.85  # share of its core at which a client counts as bound by it


def judge(rows: list[Row]) -> Iterator[tuple[bool | None, str]]:
    """(met, sentence) for each goal; None where a row that it needs is missing."""

    def find(client: str, streams: int, sink: str, connections: int = 1, latency: int = 0) -> Row | None:
        key = (client, streams, sink, connections, latency)
        for row in rows:
            if key == (row.client, row.streams, row.sink, row.connections, row.latency_ms) and row.pushes:
                return row
        return None

    def ratio(ours: str, other: str, sink: str, streams: int) -> float | None:
        a, b = find(ours, streams, sink), find(other, streams, sink)
        return b.cpu_us_per_push / a.cpu_us_per_push if a and b else None

    for streams in (100, 1_000):
        for ours, other, sink, wanted in (
            ("apns", "aioapns", "echoing", 40.0),
            ("apns", "go", "nginx", 5.0),
            ("apns", "h2load", "nginx", 0.5),
            ("fcm", "httpx", "nginx", 100.0),
        ):
            times = ratio(ours, other, sink, streams)
            said = "not measured" if times is None else f"{times:.3g} times"
            met = None if times is None else times >= wanted
            yield met, f"pushes a CPU second, {streams:,} streams: {ours} / {other} >= {wanted:g}: {said}"
    for row in rows:
        if row.latency_ms and row.connections < 10 and row.pushes:
            most = row.streams * row.connections * 1_000 / row.latency_ms
            share, busy = row.pushes_per_second / most, row.pushes_per_second * row.cpu_us_per_push / 1e6
            what = f"{row.client} at {row.latency_ms} ms, {row.connections} x {row.streams:,} streams"
            said = f"{what}: >= 0.9 of {most:,.0f}/s: {share:.2f} at {busy:.0%} of its core"
            yield share >= 0.9 or busy >= _CPU_BOUND, said
        if row.client == "webpush" and row.pushes:
            what, rate = f"webpush, {row.streams:,} streams", 1e6 / row.cpu_us_per_push
            yield rate >= 8_000, f"{what}: >= 8,000/s a core, encrypted: {rate:,.0f}/s"
            alone = find("encryption", 1_000, "none")
            of_it = None if alone is None else alone.cpu_us_per_push / row.cpu_us_per_push
            said = "not measured" if of_it is None else f"{of_it:.0%}: the processor is the bound"
            met = None if of_it is None else of_it >= _ENCRYPTED
            yield met, f"{what}: encryption is >= {_ENCRYPTED:.0%} of a push's CPU: {said}"
    ten = find("apns", 1_000, "counting", 10, 50)
    if ten:
        yield ten.pushes_per_second >= 150_000, f"ten connections >= 150,000/s: {ten.pushes_per_second:,.0f}/s"
    for row in rows:
        if row.note.startswith("RSS"):
            grown = row.rss_mb - row.rss_start_mb
            yield grown < 2, f"RSS over {row.pushes:,} pushes on one connection grows < 2 MB: {grown:+.1f} MB"
