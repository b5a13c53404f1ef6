"""Two plots of ``bench networks --json``: python -m benchmarks.networks.plots FOLDER FILE…

``network-rate.svg``: a cold and a warm campaign over time. ``network-rows.svg``: each row warm, beside what was
possible.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

HEADLINE = "60ms/65535/lognormal/250"
_WINDOW = 0.5
"""Seconds over which the rate is averaged."""


def rate(rows: Sequence[dict[str, Any]]) -> Figure:
    """The headline row over time."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for row in rows:
        points = [(0.0, 0), *row["rate"]]
        seconds, pushes = [], []
        for at, settled in points:
            since, before = next((point for point in points if at - point[0] <= _WINDOW), points[0])
            if at > since:
                seconds.append(at)
                pushes.append((settled - before) / (at - since) / 1_000)
        axes.plot(seconds, pushes, label=f"{row['state']}, over {row['opened']} connections")
    settled = rows[0]["rate"][-1][1]
    axes.set_title(f"{settled:,} subscribers, a provider 60 ms away, two cores for both")
    axes.set_xlabel("seconds after Fire")
    axes.set_ylabel("thousand pushes settled a second")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def bars(rows: Sequence[dict[str, Any]]) -> Figure:
    """Each row's warm campaign, and its bound."""
    figure = Figure(figsize=(8, 0.8 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    names = [row["network"] for row in rows]
    axes.barh(names, [row["bound"] / 1_000 for row in rows], color="C7", alpha=0.35, label="possible")
    axes.barh(names, [row["flow"] / 1_000 for row in rows], height=0.5, color="C0", label="measured")
    axes.set_xlabel("thousand pushes a second in full flow: round trip/window/answers/octets of a body")
    axes.invert_yaxis()
    axes.grid(alpha=0.3, axis="x")
    axes.legend()
    return figure


def main() -> None:
    """Read the files, and draw."""
    folder, *files = map(Path, sys.argv[1:])
    rows = [row for file in files for row in json.loads(file.read_text())]
    rate([row for row in rows if row["network"] == HEADLINE]).savefig(
        folder / "network-rate.svg", metadata={"Date": None}
    )
    bars([row for row in rows if row["state"] == "warm"]).savefig(folder / "network-rows.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
