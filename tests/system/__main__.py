"""``./dev system``: run plans one after the other, tell how each went, and write the report."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import trio

from tests.system import channels
from tests.system.faults import FAULTS
from tests.system.judge import Judgement
from tests.system.pair import Pair
from tests.system.plan import Plan, draw
from tests.system.processes import Failed
from tests.system.reaper import reaped
from tests.system.report import table, write
from tests.system.run import Run, kept


def run_plan(plan: Plan, folder: Path, keep: bool = False) -> Judgement:
    """One run, from nothing to its judgement. Its folder stays when a law is broken."""
    found: list[Judgement] = []
    with kept(folder, lambda: keep or not found or bool(found[0].broken)):
        run = Pair(plan, folder) if plan.kind().pair else Run(plan, folder)
        try:
            with reaped(folder):
                found.append(trio.run(run.go))
        except* Failed as failed:
            error: BaseException = failed
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            laws = [*run.laws, ("the run comes to its end", False, str(error))]
            found.append(Judgement(plan.shown(), 0.0, 0, 0, 0, 0, run.bound, 0, None, run.notes, laws))
    return found[0]


def line(judgement: Judgement) -> str:
    """One run in one line."""
    plan, notes = judgement.plan, judgement.notes
    values = " ".join(f"{key}={value}" for key, value in plan["values"].items())
    parts = [
        f"seed {plan['seed']}: {plan['fault']}{' (' + values + ')' if values else ''},",
        f"{plan['subscribers']} phones, {plan['workers']} workers, at {plan['at']:.0%}: {judgement.seconds:.1f} s,",
        f"lost {judgement.lost}, harmed {judgement.harmed},",
        f"duplicates {judgement.duplicates} (bound {judgement.bound})",
    ]
    if "serving_s" in notes:
        parts.append(f", serving after {notes['serving_s']} s")
    if judgement.ratio is not None:
        parts.append(f", its rate at {judgement.ratio:.0%} of the undisturbed")
    return " ".join(parts).replace(" ,", ",")


def tell(judgement: Judgement) -> None:
    """Print how one run went."""
    print(f"  {'BROKEN' if judgement.broken else 'ok'}  {line(judgement)}", file=sys.stderr, flush=True)
    for broken in judgement.broken:
        print(f"    {broken}", file=sys.stderr, flush=True)
    for trouble in judgement.notes.get("trouble", []):
        print(f"    log: {trouble}", file=sys.stderr, flush=True)


def main() -> int:
    """The command. Ctrl-C ends it with what was run by then."""
    parser = argparse.ArgumentParser(prog="./dev system", description="Whole nodes against faults, counted in ledgers.")
    parser.add_argument("--seed", type=int, help="the first plan's seed (default: the time)")
    parser.add_argument("--runs", type=int, default=1, help="so many plans, of seeds that follow each other")
    parser.add_argument("--fault", choices=list(FAULTS), help="this fault only")
    parser.add_argument("--each", action="store_true", help="every fault, --runs times each")
    parser.add_argument("--subscribers", type=int, help="phones (default: 12,000 to 72,000, by fault and seed)")
    parser.add_argument(
        "--platforms",
        type=lambda text: tuple(text.split(",")),
        default=(),
        metavar="A,B,…",
        help=f"a channel for each of these ({', '.join(channels.NAMES)}) in place of the fault's own",
    )
    parser.add_argument("--quick", action="store_true", help="only faults that end within seconds and need no root")
    parser.add_argument("--keep", action="store_true", help="keep every run's folder, not only the broken ones'")
    parser.add_argument("--report", type=Path, help="folder for report.md and report.json (default: var/system/SEED)")
    parser.add_argument("--json", action="store_true", help="the results as JSON on stdout; progress goes to stderr")
    given = parser.parse_args()
    for name in given.platforms:
        if name not in channels.NAMES:
            parser.error(f"--platforms: {name!r} is not one of {', '.join(channels.NAMES)}")
    seed = int(time.time()) if given.seed is None else given.seed
    each = [name for name, kind in FAULTS.items() if kind.drawn and (kind.anywhere or not given.quick)]
    names = each if given.each else [given.fault]
    Path("var").mkdir(mode=0o700, exist_ok=True)  # a node refuses a data folder that is open to others
    folder = (given.report or Path("var/system") / str(seed)).absolute()
    plans = [
        draw(seed + n, name, given.subscribers, given.quick, given.platforms)
        for n in range(given.runs)
        for name in names
    ]
    for plan in plans:
        if (sick := plan.values.get("platform")) is not None and sick not in plan.platforms:
            parser.error(
                f"--platforms: seed {plan.seed} makes {sick} sick ({plan.fault}): name it too, or another seed"
            )
        if plan.kind().pair and given.platforms:
            parser.error(f"--platforms: {plan.fault} has two nodes with channels of their own: leave it out")
    found: list[Judgement] = []
    stopped = 0
    try:
        for number, plan in enumerate(plans, 1):
            print(f"[{number}/{len(plans)}] plan {json.dumps(plan.shown())}", file=sys.stderr, flush=True)
            judgement = run_plan(plan, folder / f"run-{plan.seed}-{plan.fault}", given.keep)
            found.append(judgement)
            tell(judgement)
            write(folder, found)
    except* KeyboardInterrupt:
        stopped = 130
        print(f"stopped: {len(found)} of {len(plans)} plans were run to their end", file=sys.stderr)
    if given.json:
        print(json.dumps([judgement.plain() for judgement in found]))
    elif found:
        print(table(found))
    if found:
        print(f"report: {folder}/report.md", file=sys.stderr)
    return stopped or int(any(judgement.broken for judgement in found))


if __name__ == "__main__":
    sys.exit(main())
