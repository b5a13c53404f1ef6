"""A request that failed in the node: one line in the log, and an answer, under the same id."""

from __future__ import annotations

import secrets
from typing import Any

import structlog

log = structlog.get_logger(__name__)

FAILURE = "failure"
"""The entry of ``scope["state"]`` with the id of a failure that is in the log already."""


def logged(path: str, error: BaseException) -> str:
    """Log the error with its traceback; returns the id of the line."""
    id = secrets.token_hex(4)
    log.error("a request failed", id=id, path=path[:200], why=repr(error)[:500], exc_info=error)
    return id


def failure(id: str, message: str, known: dict[str, Any] | None = None) -> dict[str, Any]:
    """The body of the answer. ``known``: more entries of the error, and its own remedy."""
    error = known or {}
    remedy = "; ".join(filter(None, (error.get("remedy"), f"the node's log has the reason under the id {id}")))
    return {"error": {**error, "message": message, "id": id, "remedy": remedy}}
