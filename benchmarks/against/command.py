"""``./dev bench NAME --against COMMIT``: this tree and a commit, measured in turns."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.against.compare import compare
from benchmarks.against.errors import AgainstError
from benchmarks.against.figures import PLAIN, SHAPES
from benchmarks.against.table import table
from benchmarks.against.trees import benches, check_bench, resolve, this_tree, worktree
from benchmarks.against.turns import take_turns

ROUNDS = 5
_DESCRIPTION = """\
Measure this tree against a commit. The commit gets a worktree and an
environment of its own under var/bench, kept for the next time. Both trees run
the bench in turns. For each figure the table has both medians (± half of the
range) and the median of the rounds' ratios, this tree / commit, with its own
spread: a ratio no further from 1 than its spread is equal.
"""
_EPILOG = """\
Every other argument goes to the bench of both trees, as in
    ./dev bench storage --against main --subscribers 200000
"""


def main(bench: str, arguments: Sequence[str], root: Path) -> int:
    """Compare, print, and return the exit code: 0, or 2 for a user's mistake and for a bench that fails."""
    parser = argparse.ArgumentParser(
        prog=f"bench {bench}", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--against", metavar="COMMIT", required=True, help="a commit, a branch or a tag")
    parser.add_argument(
        "--rounds", type=_rounds, default=ROUNDS, metavar="N", help=f"turns of each, 2 or more ({ROUNDS})"
    )
    parser.add_argument("--json", action="store_true", help="one line of JSON for scripts")
    options, others = parser.parse_known_args(arguments)
    # A node that is left behind by kill would disturb the next measurement: SIGTERM ends a bench like Ctrl-C does.
    before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        return _compare(bench, options, others, root)
    except AgainstError as error:
        _say(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        signal.signal(signal.SIGTERM, before)


def _compare(bench: str, options: argparse.Namespace, others: list[str], root: Path) -> int:
    if bench not in (there := benches(root)):
        raise AgainstError(f'there is no bench "{bench}" here; the benches are {", ".join(there)}')
    commit = resolve(root, options.against)
    check_bench(root, commit, bench)
    this, changed = this_tree(root)
    that = worktree(root, commit, _say)
    _say(f"{this.name} against {that.name}, {options.rounds} rounds")
    shape = SHAPES.get(bench, PLAIN)
    compared = compare(*take_turns((this, that), bench, shape, options.rounds, others, _say))
    if options.json:
        found = {
            "bench": bench, "against": commit, "uncommitted": changed, "rounds": options.rounds,
            "figures": [each.plain() for each in compared.both],
            "only_this": [[figure.row, figure.name] for figure in compared.only_this],
            "only_against": [[figure.row, figure.name] for figure in compared.only_that],
        }  # fmt: skip
        print(json.dumps(found, ensure_ascii=False))
    else:
        print(f"bench {bench}: {this.name} against {that.name}; medians of {options.rounds} rounds in turns")
        print("\n".join(table(compared, "this tree", that.name)))
    return 0


def _rounds(text: str) -> int:
    rounds = int(text)
    if rounds < 2:
        raise argparse.ArgumentTypeError(f"{rounds}: it is 2 or more, because one round has no spread")
    return rounds


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
