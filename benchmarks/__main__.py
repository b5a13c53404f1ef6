"""``./dev bench NAME``: run one bench, or with ``--against COMMIT`` measure this tree against a commit."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.against import command
from benchmarks.against.trees import benches

_USAGE = """\
usage: ./dev bench NAME [--json] [ARGUMENTS]                       run one bench
       ./dev bench NAME --against COMMIT [--rounds N] [--json] …   measure this tree against a commit

NAME: {names}
ARGUMENTS: the bench's own, see ./dev bench NAME --help and docs/benchmarks.md
--against: the commit gets a worktree and an environment of its own under var/bench, kept for the next time. Both trees
run the bench in turns, 5 rounds each (--rounds). The table has both medians with their spread, and the ratio; a ratio
no further from 1 than its spread is equal. ./dev bench NAME --against COMMIT --help says more.
"""


def main() -> int:
    """Find the bench, and replace this process with it."""
    root = Path(__file__).resolve().parent.parent
    names = benches(root)
    usage = _USAGE.format(names="|".join(names))
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(usage, end="")
        return 0
    if any(each == "--against" or each.startswith("--against=") for each in arguments):
        return command.main(name, arguments, root)
    if name in names:
        os.execv(sys.executable, [sys.executable, "-m", f"benchmarks.bench_{name}", *arguments])
    print(f'bench: there is no bench "{name}" here; the benches are {", ".join(names)}', file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
