"""Two plots of a run: the rate over time, and the CPU of a push by stage."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.pipeline.rig import Row
from broadside.machine_limits import cores

_STAGES = ["walk", "batch", "take", "send", "settle", "link", "rest", "loop", "node", "tarantool"]
_WINDOW = 0.5
"""Seconds over which the rate is averaged."""


def draw(rows: list[Row], folder: Path) -> None:
    """Write ``rate.svg`` and ``stages.svg`` for the largest base."""
    folder.mkdir(parents=True, exist_ok=True)
    largest = max(row.subscribers for row in rows)
    shown = [row for row in rows if row.subscribers == largest]
    _rate(shown).savefig(folder / "rate.svg", metadata={"Date": None})
    _stages(shown).savefig(folder / "stages.svg", metadata={"Date": None})


def _rate(rows: Iterable[Row]) -> Figure:
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        points = [(0.0, 0), *row.rate]
        seconds, pushes = [], []
        for at, settled in points:
            before = next((point for point in points if at - point[0] <= _WINDOW), points[0])
            if at > before[0]:
                seconds.append(at)
                pushes.append((settled - before[1]) / (at - before[0]) / 1_000)
        axes.plot(seconds, pushes, label=f"{row.sink} ({row.seconds:.1f} s)")
        axes.set_title(f"{row.subscribers:,} subscribers on {cores()} cores, the sink among them")
    axes.set_xlabel("seconds after Fire")
    axes.set_ylabel("thousand pushes settled a second")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _stages(rows: Iterable[Row]) -> Figure:
    figure = Figure(figsize=(8, 2.8), layout="constrained")
    axes = figure.subplots()
    names = []
    for row in rows:
        names.append(row.sink)
        left = 0.0
        for number, stage in enumerate(_STAGES):
            width = max(0.0, row.stages.get(stage, 0.0))
            axes.barh(row.sink, width, left=left, color=f"C{number}", label=stage if len(names) == 1 else None)
            left += width
        axes.set_title(f"CPU of a push by stage, {row.subscribers:,} subscribers")
    axes.set_xlabel("µs of CPU a push, without the sink")
    axes.invert_yaxis()
    figure.legend(ncols=5, loc="outside lower center")
    return figure
