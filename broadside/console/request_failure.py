"""A request that failed in the node: one line in the log, and an answer, under the same id."""

from __future__ import annotations

import secrets
from typing import Any

import structlog

from broadside.api.problem_details import ProblemDetails, problem

log = structlog.get_logger(__name__)

FAILURE = "failure"
"""The entry of ``scope["state"]`` with the id of a failure that is in the log already."""


def logged(path: str, error: BaseException) -> str:
    """Log the error with its traceback; returns the id of the line."""
    id = secrets.token_hex(4)
    log.error("a request failed", id=id, path=path[:200], why=repr(error)[:500], exc_info=error)
    return id


def failure(id: str, detail: str, remedy: str = "", **more: Any) -> ProblemDetails:
    """Return the answer. ``more``: as of :func:`problem`."""
    remedy = "; ".join(filter(None, (remedy, f"the node's log has the reason under the id {id}")))
    return problem(500, detail, remedy=remedy, id=id, **more)
