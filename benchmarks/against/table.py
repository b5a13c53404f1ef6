"""The table of a comparison, for people."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.against.compare import Compared, Comparison, Side
from benchmarks.against.figures import Figure


def table(compared: Compared, this: str, that: str) -> Iterator[str]:
    """One line a figure; then what only one of the trees has."""
    labels = [_label(each.figure) for each in compared.both]
    width = max([len(label) for label in labels], default=0)
    yield f"{'':{width}} {'this tree':>18} {that:>18} {'ratio':>14}"
    for label, each in zip(labels, compared.both, strict=True):
        yield f"{label:{width}} {_side(each.this)} {_side(each.that)} {_ratio(each):>14}  {each.verdict}"
    for name, figures in ((this, compared.only_this), (that, compared.only_that)):
        if figures:
            yield f"only {name}: {'; '.join(_label(figure) for figure in figures)}"


def _label(figure: Figure) -> str:
    name = "" if figure.name in ("value", "supervision") else f"  {figure.name}"
    return f"{figure.row}{name}" + (f" ({figure.unit})" if figure.unit else "")


def _side(side: Side) -> str:
    median = side.median
    text = f"{median:,.0f}" if abs(median) >= 100 else f"{median:,.2f}"
    return f"{text:>12} ±{side.spread / abs(median):>4.0%}" if median else f"{text:>12} {'':5}"


def _ratio(each: Comparison) -> str:
    return "" if each.ratio is None else f"{each.ratio:.2f} ±{each.spread:.2f}"
