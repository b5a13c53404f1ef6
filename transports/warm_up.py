"""The one request that goes first over a new connection, before any batch does.

With it the provider has accepted the credential and raised its limits (Apple allows one stream until then), and a wrong
key is told in the log before an editor presses Fire.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from transports.contract import Exceptional
from transports.decision import Decision
from transports.http2.messages import Answer, Row, Template
from transports.http2.submission import Job

_log = structlog.get_logger(__name__)


def first_request(row: Row, template: Template, decide: Callable[[Answer, int], Decision], channel: str) -> Job:
    """A job of this one request. Nobody is told of its fate but the log; ``decide`` is the platform's table."""

    def judge(answer: Answer) -> Exceptional | None:
        if answer.status <= 0:
            _log.warning("the warm-up push was not answered", channel=channel)
        else:
            decision = decide(answer, 1)
            _log.warning("the warm-up push was refused", channel=channel, why=decision.stop or decision.reason)
        return None

    return Job([row], lambda: template, judge, expires_at=0)
