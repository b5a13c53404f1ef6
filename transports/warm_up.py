"""The first request over a new connection, before any batch.

Once it is answered, the provider has accepted the credential and raised its limits (Apple allows one stream until
then). A wrong key shows in the log before an editor presses Fire.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from transports.decision import Decision
from transports.http2.messages import Answer, Row, Template
from transports.http2.submission import Submission

_log = structlog.get_logger(__name__)


class FirstRequest(Submission):
    """One request whose answer only goes to the log."""

    def __init__(self, row: Row, template: Template, decide: Callable[[Answer, int], Decision], channel: str) -> None:
        """``decide`` is the platform's table."""
        super().__init__([row], lambda: template)
        self._decide = decide
        self._channel = channel

    def answer(self, answer: Answer) -> str | None:
        """Log why the request was not accepted. The connection is used in any case."""
        if answer.status <= 0:
            _log.warning("the warm-up push was not answered", channel=self._channel)
        else:
            decision = self._decide(answer, 1)
            _log.warning("the warm-up push was refused", channel=self._channel, why=decision.stop or decision.reason)
        return super().answer(answer)
