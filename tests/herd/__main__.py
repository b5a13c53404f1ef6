"""``python -m tests.herd [--first SEED] [--sites N]``: the governor beside the best constant rate, on drawn sites."""

from __future__ import annotations

import argparse
import statistics

from campaigns.herd import Governor
from tests.herd.world import best_constant, drawn, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--sites", type=int, default=20)
    parser.add_argument("--target", type=float, default=0.85)
    asked = parser.parse_args()
    speeds, peaks = [], []
    print("seed  bears  opens  median  ceiling÷best  best s  governed s  speed  peak load")
    for seed in range(asked.first, asked.first + asked.sites):
        site = drawn(seed)
        best, found = best_constant(site), run(site, site.ceiling, Governor(asked.target, site.lag))
        speeds.append(best.seconds / found.seconds)
        peaks.append(found.peak)
        times = site.ceiling * best.seconds / site.people
        print(
            f"{seed:4}  {site.bears:5.0f}  {site.opens:5.0%}  {site.median:4.0f} s  {times:12.1f}  {best.seconds:6.0f}"
            f"  {found.seconds:10.0f}  {speeds[-1]:5.2f}  {found.peak:9.2f}",
            flush=True,
        )
    print(f"speed: least {min(speeds):.2f}, median {statistics.median(speeds):.2f}; highest load {max(peaks):.2f}")


if __name__ == "__main__":
    main()
