"""Which figures of a bench two trees are compared by, and where the bench's JSON has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

RATE: Final = "1/s"
"""With this unit, more is better; with every other unit, less is better."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Where one bench's JSON has its rows and their figures.

    Attributes:
        names: the fields that name a row.
        figures: field → unit; ``costs.walk`` is the field ``walk`` of the row's ``costs``.
        unit: the field that has the unit, where a bench's rows have one each; else the units in ``figures`` are used.
        rows: the member that lists the rows, where the JSON is an object and not a list.
        only: use only rows of these names: the others measure programs that are not ours.
        arguments: what the bench is started with besides the user's own arguments.
    """

    names: tuple[str, ...]
    figures: Mapping[str, str]
    unit: str | None = None
    rows: str | None = None
    only: frozenset[str] = frozenset()
    arguments: tuple[str, ...] = ()


_PUSH: Final = {"pushes_per_second": RATE, "cpu_us_per_push": "µs"}
_COSTS: Final = dict.fromkeys(
    ("costs.walk", "costs.send", "costs.queue", "costs.read", "costs.ledger", "costs.other"), "µs"
)
PLAIN: Final = Shape(("what",), {"value": ""}, unit="unit")
"""Rows of ``what``, ``value`` and ``unit``: a bench that prints these needs no line in the table."""
SHAPES: Final[Mapping[str, Shape]] = {
    "armed": PLAIN,
    "backup": PLAIN,
    "bottleneck": Shape(("number", "limit"), {"remaining": ""}),
    "choices": Shape(("choice", "value"), {**_PUSH, "rss_mb": "MB"}, arguments=("--rounds", "1")),
    "classes": PLAIN,
    "events": PLAIN,
    "failover": Shape(("failover",), {"pushes_per_second": RATE, "leader": "µs", "replicas": "µs"}),
    "forecast": Shape(("number",), {"error": ""}),
    "import": PLAIN,
    "lanes": Shape(("rate", "walked"), {"first_ms": "ms"}),
    "networks": Shape(("network", "state"), {**_PUSH, "rss_mb": "MB"}),
    "peers": Shape(("client",), _PUSH, only=frozenset({"broadside"})),
    "pipeline": Shape(("subscribers", "sink"), {**_PUSH, "first_ms": "ms", "rss_mb": "MB"}),
    "ring": Shape(("nodes",), {"seconds": "s", **_COSTS, "node_us": "µs"}, rows="measured"),
    "storage": PLAIN,
    "stories": PLAIN,
    "supervision": Shape(("what",), {"supervision": ""}, unit="unit"),
    "transport": Shape(
        ("client", "streams", "connections", "latency_ms", "sink", "texts"),
        _PUSH,
        only=frozenset({"encryption", "engine", "apns", "fcm", "huawei", "rustore", "webpush"}),
    ),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one row."""

    row: str
    name: str
    unit: str


def read(shape: Shape, found: Any) -> dict[Figure, float]:
    """Return the figures in a bench's JSON; values that are no number (a failed row, a missing time) are left out.

    Raises ``ValueError`` for JSON of another form.
    """
    if shape.rows is not None:
        found = found.get(shape.rows) if isinstance(found, dict) else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError("a list of rows" if shape.rows is None else f'an object with a list "{shape.rows}"')
    return dict(_figures(shape, found))


def _figures(shape: Shape, rows: list[dict[str, Any]]) -> Iterator[tuple[Figure, float]]:
    seen: Counter[str] = Counter()
    for row in rows:
        words = [_text(row.get(name)) for name in shape.names]
        if shape.only and shape.only.isdisjoint(words):
            continue
        name = " ".join(word for word in words if word)
        seen[name] += 1
        if seen[name] > 1:
            name = f"{name} ({seen[name]})"
        for figure, unit in shape.figures.items():
            value = _member(row, figure)
            if isinstance(value, int | float) and not isinstance(value, bool):
                yield Figure(name, figure, str(row.get(shape.unit, "")) if shape.unit else unit), float(value)


def _member(row: dict[str, Any], path: str) -> Any:
    value: Any = row
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value).strip()
