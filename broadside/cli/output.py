"""Output: results to stdout, progress and messages to stderr; colours and progress bars only on a terminal.

Whatever is printed goes through `harmless` first: titles, reasons and names come from outside.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from broadside.outlet import harmless

if TYPE_CHECKING:
    from rich.progress import Progress


def accept_any_text() -> None:
    """From now on write a character that the terminal's encoding lacks as its escape, and never fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def say(text: str) -> None:
    """Print a result."""
    sys.stdout.write(harmless(text) + "\n")
    sys.stdout.flush()


def say_json(value: object) -> None:
    """Print a result as one line of JSON."""
    say(msgspec.json.encode(value).decode())


class Results:
    """Standard output for a result that is a file: exact in a file or a pipe, harmless on a terminal."""

    def write(self, data: bytes, /) -> int:
        """Write whole characters in UTF-8."""
        if sys.stdout.isatty():
            sys.stdout.write(harmless(data.decode(errors="replace")))
        else:
            sys.stdout.buffer.write(data)
        return len(data)

    def flush(self) -> None:
        """Hand all of it over."""
        sys.stdout.flush()


def complain(text: str) -> None:
    """Print an error, a warning or a hint."""
    sys.stderr.write(harmless(text) + "\n")
    sys.stderr.flush()


def agreed(question: str) -> bool:
    """Ask for a yes on the terminal. Without a terminal nothing is asked, and the answer is no."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(harmless(f"{question} [y/N] "))  # `input` would write it into a result that goes to a file
    sys.stderr.flush()
    return input().strip().lower() in ("y", "yes")


def table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Print a table: aligned columns on a terminal, tab-separated lines with a header elsewhere."""
    names = list(columns)
    cells = [[_cell(value) for value in row] for row in rows]
    if not sys.stdout.isatty():
        say("\n".join("\t".join(line) for line in [names, *cells]))
        return
    from broadside.cli.drawing import draw_table

    draw_table(names, cells)


def say_in(style: str, text: str) -> None:
    """Print one line of a result; on a terminal in a colour."""
    if not sys.stdout.isatty():
        say(text)
        return
    from broadside.cli.drawing import draw_line

    draw_line(harmless(text), style)


def bars(*, counted: bool = True, eta: bool = False) -> Progress:
    """Make progress bars on stderr, shown only if stderr is a terminal. ``eta``: with the time that is left."""
    from broadside.cli.drawing import progress_bars

    return progress_bars(counted=counted, eta=eta, shown=sys.stderr.isatty())


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else harmless(" ".join(str(value).split()))
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
