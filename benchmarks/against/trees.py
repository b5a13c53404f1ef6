"""The two trees: the one that is checked out, and a worktree of the commit with an environment of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.against.errors import AgainstError

KEPT = Path("var", "bench")
"""Where worktrees are kept for the next time; Git does not look into ``var``."""
_NAMED = 3
"""How many changed files are named; the others are only counted."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One version of the code, ready to run its benches."""

    name: str
    root: Path
    python: Path


def benches(root: Path) -> list[str]:
    """Names of the benches of this tree."""
    return sorted(path.stem.removeprefix("bench_") for path in (root / "benchmarks").glob("bench_*.py"))


def resolve(root: Path, commit: str) -> str:
    """Return the whole hash of a commit, branch or tag."""
    try:
        found = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{commit}^{{commit}}")
    except FileNotFoundError:
        raise AgainstError("git is not installed; --against needs it for the commit's worktree") from None
    if found.returncode:
        raise AgainstError(f'"{commit}" is no commit of {root}; name a commit, a branch or a tag (git log --oneline)')
    return found.stdout.strip()


def check_bench(root: Path, commit: str, bench: str) -> None:
    """Raise ``AgainstError`` if the commit lacks the bench."""
    listed = _git(root, "ls-tree", "--name-only", commit, "benchmarks/").stdout.split()
    names = [Path(path).stem.removeprefix("bench_") for path in listed if Path(path).name.startswith("bench_")]
    if bench not in names:
        there = ", ".join(names) or "none"
        raise AgainstError(f'commit {commit[:8]} has no bench "{bench}"; its benches: {there}')


def this_tree(root: Path) -> tuple[Tree, list[str]]:
    """The tree at ``root``, and its files that differ from its last commit."""
    head = _git(root, "rev-parse", "--short=8", "HEAD").stdout.strip()
    status = _git(root, "status", "--porcelain", "--untracked-files=all").stdout.splitlines()
    changed = [line[3:] for line in status]
    name = f"this tree ({head}"
    if changed:
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        name += f", uncommitted: {', '.join(changed[:_NAMED])}{more}"
    return Tree(f"{name})", root, Path(sys.executable)), changed


def worktree(root: Path, commit: str, say: Callable[[str], None]) -> Tree:
    """Check the commit out under ``var/bench`` and set it up, or use the one from the last time."""
    short = commit[:8]
    path = root / KEPT / short
    if not _is_whole(path, commit):
        say(f"checking {short} out into {path}")
        if path.exists():
            shutil.rmtree(path)
        (root / KEPT).parent.mkdir(mode=0o700, exist_ok=True)  # a node refuses a data folder that is open to others
        _git(root, "worktree", "prune")
        made = _git(root, "worktree", "add", "--detach", "--force", str(path), commit)
        if made.returncode:
            raise AgainstError(f"no worktree of {short} at {path}: {_last(made.stderr)}")
    say(f"setting {short} up (./dev setup; the first time takes a minute or more)")
    try:
        done = subprocess.run(
            ["./dev", "setup"], cwd=path, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
    except OSError as error:
        raise AgainstError(f"commit {short} has no ./dev that could set it up ({error.strerror})") from None
    python = path / ".venv" / "bin" / "python"
    if done.returncode or not python.exists():
        raise AgainstError(f"./dev setup of {short} failed in {path}: {_last(done.stdout)}")
    return Tree(short, path, python)


def clean_environment() -> dict[str, str]:
    """The environment, without variables that would make one tree import the other."""
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in ours}


def _is_whole(path: Path, commit: str) -> bool:
    """Whether the commit is checked out there, with no file changed since."""
    if not (path / ".git").exists():
        return False
    head = _git(path, "rev-parse", "HEAD")
    status = _git(path, "status", "--porcelain")
    return head.returncode == status.returncode == 0 and head.stdout.strip() == commit and not status.stdout.strip()


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)


def _last(text: str) -> str:
    """The last line of a program's output."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
