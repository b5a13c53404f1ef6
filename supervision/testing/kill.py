"""kill -9 at every step: a child process that ends itself, is started again, and must have lost nothing.

The child runs Trio with a `kill_switch`; the parent runs `kill_at_every_step`, which sets in its environment
the step at which it sends itself SIGKILL. Nothing of it runs after that: no `finally`, no flush, no goodbye.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from supervision.testing.injection import Injection
from supervision.testing.report import Fired, LawBroken, PlannedFault, Report
from supervision.testing.sweep import NEVER_ENDING

VARIABLE = "SUPERVISION_TESTING_KILL"


def kill_switch() -> Injection:
    """The child's side, harmless without a parent: use its `installed()` around all that the process runs."""
    order = os.environ.get(VARIABLE)
    if not order:
        return Injection([])
    step, actor, witness = order.split(":", 2)

    def end(fired: Fired) -> None:
        Path(witness).write_text(fired.where)
        os.kill(os.getpid(), signal.SIGKILL)

    return Injection([PlannedFault(actor, int(step))], end)


def kill_at_every_step(
    argv: Sequence[str | os.PathLike[str]],
    *,
    actor: str,
    prepare: Callable[[], None],
    law: Callable[[], None],
    first: int = 1,
    every: int = 1,
    env: Mapping[str, str] | None = None,
    within: float = 30.0,
) -> Report:
    """Start `argv` so that it kills itself at step N of `actor`, start it again to recover, then ask the `law`.

    `prepare` makes a blank state before each N. The process must exit with 0 when its work is done, and go on
    where an earlier one stopped; `law` checks what both left behind and raises `AssertionError`. `within`: seconds for
    each process.
    """
    report = Report(f"kill -9 at every step of {actor}")
    with tempfile.TemporaryDirectory() as folder:
        witness = Path(folder) / "witness"

        def life(step: int | None) -> int:
            order = {} if step is None else {VARIABLE: f"{step}:{actor}:{witness}"}
            environment = {**os.environ, **(env or {}), **order}
            done = subprocess.run(argv, env=environment, timeout=within, capture_output=True, text=True, check=False)
            if done.returncode not in (0, -signal.SIGKILL if order else 0):
                last = done.stderr.strip().splitlines()[-1:] or ["no output"]
                raise AssertionError(f"the process ended with {done.returncode}: {last[0]}")
            return done.returncode

        for n in range(first, NEVER_ENDING, every):
            prepare()
            fired: list[Fired] = []
            broken: str | None = None
            try:
                if life(n) == -signal.SIGKILL:
                    fired.append(Fired(PlannedFault(actor, n), witness.read_text()))
                    life(None)
                law()
            except AssertionError as error:
                broken = (str(error).splitlines() or ["the law"])[0]
            except subprocess.TimeoutExpired:
                broken = f"no end within {within:g} s"
            report.add(fired, broken)
            if not fired:
                return report
    raise LawBroken(f"{report.name}: still steps after {NEVER_ENDING}; let the process end")
