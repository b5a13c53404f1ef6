"""The subscribers in the body of one ``POST /v1/subscribers/bulk``."""

from __future__ import annotations

import json
from typing import Any

from broadside.api.attributes.changes import Changes
from broadside.api.subscriber import Subscriber, decode_lines
from broadside.errors import Problem, RecordError


def sent(body: bytes, changes: Changes | None = None) -> list[Subscriber]:
    """Read the lines as the node does (raises ``RecordError`` for the first that it would refuse)."""
    rows = []
    for row in decode_lines(body.splitlines(), changes or Changes()):
        if isinstance(row, Problem):
            raise RecordError(row)
        rows.append(row)
    return rows


def plain(body: bytes) -> list[Any]:
    """Read the lines as JSON."""
    return [json.loads(line) for line in body.splitlines()]
