"""Runs one bench in two trees, in turns."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence

from benchmarks.against.errors import AgainstError
from benchmarks.against.figures import Figure, Shape, read
from benchmarks.against.trees import Tree, clean_environment

_CLEAN_UP = 60.0
"""Seconds that an interrupted bench has to end its nodes and sinks."""
_SHOWN = 5
"""Lines of a failed bench's stderr that are shown."""

Rounds = list[dict[Figure, float]]


def take_turns(
    trees: tuple[Tree, Tree],
    bench: str,
    shape: Shape,
    rounds: int,
    arguments: Sequence[str],
    say: Callable[[str], None],
) -> tuple[Rounds, Rounds]:
    """Return the figures of both trees, round after round.

    Each round begins with the tree that ended the last one, so that a drift of the machine affects both alike.
    """
    found: tuple[Rounds, Rounds] = ([], [])
    for number in range(rounds):
        took = [0.0, 0.0]
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            started = time.monotonic()
            found[which].append(run(trees[which], bench, shape, arguments))
            took[which] = time.monotonic() - started
        say(f"round {number + 1} of {rounds}: this tree {took[0]:.1f} s, {trees[1].name} {took[1]:.1f} s")
    return found


def run(tree: Tree, bench: str, shape: Shape, arguments: Sequence[str]) -> dict[Figure, float]:
    """Run the bench once in one tree and return its figures."""
    command = [str(tree.python), "-m", f"benchmarks.bench_{bench}", "--json", *shape.arguments, *arguments]
    with tempfile.TemporaryFile("w+") as words:
        # In a session of its own, the bench gets a Ctrl-C only once, from here, and has time to stop its nodes.
        process = subprocess.Popen(
            command, cwd=tree.root, env=clean_environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=words, text=True, start_new_session=True,
        )  # fmt: skip
        try:
            said, _ = process.communicate()
        except BaseException:
            _interrupt(process)
            raise
        words.seek(0)
        complaint = "\n".join(words.read().strip().splitlines()[-_SHOWN:])
    if process.returncode:
        raise AgainstError(f"bench {bench} of {tree.name} failed with exit code {process.returncode}:\n{complaint}")
    try:
        return read(shape, json.loads(said))
    except json.JSONDecodeError as error:
        raise AgainstError(f"bench {bench} of {tree.name} printed no JSON ({error})") from None
    except ValueError as error:
        raise AgainstError(f"bench {bench} of {tree.name} printed JSON of another form than {error}") from None


def _interrupt(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_CLEAN_UP)
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
