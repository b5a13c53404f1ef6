"""Teaches schemathesis to send lines of JSON, and to read only the first event of a stream that has no end."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines_serializer(ctx: Any, value: Any) -> bytes:
    """A body that is an array is sent as that many lines."""
    rows = value if isinstance(value, list) else [value]
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@schemathesis.hook
def before_call(ctx: Any, case: Any, kwargs: Any) -> None:
    """A stream without a limit, or with a large one, would not end. A wrong limit stays: it is refused."""
    if case.operation.path == "/v1/events":
        limit = str(case.query.get("limit", "1"))
        if limit.isdecimal() and 1 <= int(limit) <= 10_000:
            case.query["limit"] = 1
