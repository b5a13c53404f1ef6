"""The report of some runs: a table by fault, and what was broken, as Markdown and JSON."""

from __future__ import annotations

import json
from pathlib import Path

from tests.system.judge import Judgement


def table(found: list[Judgement]) -> str:
    """Fault × runs × lost × duplicates (bound) × recovery, in Markdown."""
    head = (
        "fault", "runs", "lost", "harmed", "unexpected", "duplicates (bound)", "most in a run",
        "serving after, median / most (s)", "a push after, most (s)", "rate kept, least", "broken",
    )  # fmt: skip
    rows = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for fault in sorted({each.plan["fault"] for each in found}):
        runs = [each for each in found if each.plan["fault"] == fault]
        serving = sorted(run.notes["serving_s"] for run in runs if "serving_s" in run.notes)
        progress = [run.notes["progress_s"] for run in runs if "progress_s" in run.notes]
        ratios = [run.ratio for run in runs if run.ratio is not None]
        cells = [
            fault,
            len(runs),
            sum(run.lost for run in runs),
            sum(run.harmed for run in runs),
            sum(run.unexpected for run in runs),
            f"{sum(run.duplicates for run in runs):,} ({sum(run.bound for run in runs):,})",
            max(run.duplicates for run in runs),
            f"{serving[len(serving) // 2]:.1f} / {serving[-1]:.1f}" if serving else "–",
            f"{max(progress):.1f}" if progress else "–",
            f"{min(ratios):.2f}" if ratios else "–",
            sum(bool(run.broken) for run in runs),
        ]
        rows.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(rows)


def write(folder: Path, found: list[Judgement]) -> None:
    """``report.md`` and ``report.json`` in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"# {len(found)} runs, {sum(bool(run.broken) for run in found)} broken", "", table(found), ""]
    for run in found:
        if run.broken:
            plan = run.plan
            lines += [
                f"## `./dev system --seed {plan['seed']} --fault {plan['fault']}`",
                "",
                f"```\n{json.dumps(plan)}\n```",
                "",
            ]
            lines += [f"- {text}" for text in run.broken] + [f"- log: {t}" for t in run.notes.get("trouble", [])] + [""]
    (folder / "report.md").write_text("\n".join(lines))
    (folder / "report.json").write_text(json.dumps([run.plain() for run in found], indent=1))
