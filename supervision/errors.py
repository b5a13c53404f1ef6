"""Every error of this folder. An error names the thing, the value, and what to do."""

from __future__ import annotations


class SupervisionError(Exception):
    """The base of all errors raised by `supervision`."""


class StartFailed(SupervisionError):
    """A child did not become ready. The cause is in `__cause__`."""

    def __init__(self, supervisor: str, child: str, why: str) -> None:
        super().__init__(f'supervisor "{supervisor}": child "{child}" did not start: {why}')
        self.supervisor = supervisor
        self.child = child


class StartTimedOut(SupervisionError):
    """A child did not call `ready()` within its spec's `start_timeout`."""


class ExitedBeforeReady(SupervisionError):
    """A child's `run` returned without having called `ready()`."""


class IntensityExceeded(SupervisionError):
    """More restarts than the supervisor's intensity allows. The last crash is in `__cause__`."""

    def __init__(self, supervisor: str, child: str, restarts: int, period: float) -> None:
        super().__init__(
            f'supervisor "{supervisor}": child "{child}" needs another restart, '
            f"but {restarts} in {period:g} s are all that is allowed"
        )
        self.supervisor = supervisor
        self.child = child


class NotRunning(SupervisionError):
    """The supervisor has not started yet, is stopping, or has ended."""


class NoSuchChild(SupervisionError):
    """The supervisor has no child with that id."""


class ChildExists(SupervisionError):
    """The id is taken: by a running child (OTP: `already_started`) or by a stopped one (`already_present`)."""


class ChildRunning(SupervisionError):
    """Only a stopped child can be restarted or deleted by hand (OTP: `running`, `restarting`)."""


class ProcessError(SupervisionError):
    """The base of what a supervised OS process may raise."""


class ProcessDied(ProcessError):
    """An OS process ended without having been asked to, or not as asked.

    `returncode` is negative for a signal; `last_lines` are the last lines of its standard error. If the process
    ended by itself with an error, the first line of the text has its last words.
    """

    def __init__(self, name: str, returncode: int, last_lines: tuple[str, ...]) -> None:
        ended = f"exit code {returncode}" if returncode >= 0 else f"signal {-returncode}"
        if returncode > 0 and (words := last_words(last_lines)):
            ended += f": {words}"
        tail = "".join(f"\n  {line}" for line in last_lines)
        super().__init__(f'process "{name}" ended with {ended}{tail}')
        self.name = name
        self.returncode = returncode
        self.last_lines = last_lines


def last_words(lines: tuple[str, ...]) -> str:
    """The last of `lines` that a person can read: no JSON, and without the frame of an exception group."""
    for line in reversed(lines):
        text = line.strip(" |+-\t")
        if text and not text.startswith("{"):
            return "".join(c if c.isprintable() else "?" for c in text)
    return ""


class HungProcess(ProcessError):
    """An OS process missed its heartbeat and was killed."""


class HandshakeFailed(ProcessError):
    """An OS process did not say what was expected when it started, and was killed."""
