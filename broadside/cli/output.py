"""Output: results to stdout, progress and messages to stderr; colours and progress bars only on a terminal.

Whatever is printed goes through `harmless` first: titles, reasons and names come from outside.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from broadside.outlet import harmless


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
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(names):
        numeric = bool(cells) and all(line[index].replace(",", "").replace(".", "").isdigit() for line in cells)
        drawn.add_column(name, justify="right" if numeric else "left")
    for line in cells:
        drawn.add_row(*line)
    # markup off: [brackets] in a title are not a style
    Console(markup=False, highlight=False).print(drawn)


def bars(*, counted: bool = True, eta: bool = False) -> Progress:
    """Make progress bars on stderr, shown only if stderr is a terminal. ``eta``: with the time that is left."""
    count = [MofNCompleteColumn()] if counted else []
    return Progress(
        _Words("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        *count,
        _Words("{task.fields[note]}", markup=False),
        *([TimeRemainingColumn()] if eta else []),
        console=Console(stderr=True),
        transient=not counted,
        disable=not sys.stderr.isatty(),
    )


class _Words(TextColumn):
    def render(self, task: Task) -> Text:
        return Text(harmless(self.text_format.format(task=task)))


def _cell(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "-" if value is None else harmless(" ".join(str(value).split()))
    return f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"
