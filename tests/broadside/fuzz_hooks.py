"""What schemathesis must know of our bodies: lines of JSON."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """One record on one line."""
    return json.dumps(value).encode() + b"\n"
