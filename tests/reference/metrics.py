"""The metrics that broadside/console/metrics.py makes, read from its source."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import NamedTuple

from broadside.console import metrics as source

_FAMILY = "MetricFamily"


class Metric(NamedTuple):
    """A family of time series."""

    name: str
    kind: str
    """``counter``, ``gauge``, ``histogram`` or ``info``."""
    text: str
    labels: list[str]


def metrics() -> list[Metric]:
    """All of them, in the order of the source."""
    return list(_found(ast.parse(inspect.getsource(source))))


def _found(tree: ast.Module) -> Iterator[Metric]:
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id.endswith(_FAMILY)]
    for call in sorted(made, key=lambda call: call.lineno):
        assert isinstance(call.func, ast.Name)
        name, text = map(_text, call.args)
        labels = [
            each for keyword in call.keywords if keyword.arg == "labels" for each in ast.literal_eval(keyword.value)
        ]
        yield Metric(name, call.func.id.removesuffix(_FAMILY).lower(), text, labels)


def _text(node: ast.expr) -> str:
    """A text, or an f-string of the source's constants."""
    if not isinstance(node, ast.JoinedStr):
        return str(ast.literal_eval(node))
    return "".join(
        str(getattr(source, ast.unparse(part.value)))
        if isinstance(part, ast.FormattedValue)
        else ast.literal_eval(part)
        for part in node.values
    )
