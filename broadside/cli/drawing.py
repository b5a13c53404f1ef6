"""Tables, colours and progress bars: loaded only where there is a terminal to draw on."""

from __future__ import annotations

from collections.abc import Sequence

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


def draw_table(names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Print a table with aligned columns: numbers to the right."""
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for index, name in enumerate(names):
        numeric = bool(cells) and all(line[index].replace(",", "").replace(".", "").isdigit() for line in cells)
        drawn.add_column(name, justify="right" if numeric else "left")
    for line in cells:
        drawn.add_row(*line)
    # markup off: [brackets] in a title are not a style
    Console(markup=False, highlight=False).print(drawn)


def draw_line(text: str, style: str) -> None:
    """Print one line in a colour."""
    Console(markup=False, highlight=False).print(Text(text, style=style))


def progress_bars(*, counted: bool, eta: bool, shown: bool) -> Progress:
    """Make progress bars on stderr."""
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
        disable=not shown,
    )


class _Words(TextColumn):
    def render(self, task: Task) -> Text:
        return Text(harmless(self.text_format.format(task=task)))
