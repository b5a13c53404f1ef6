"""RuStore's answers, and what each of them means for us.

Source: rustore.ru/help/en/sdk/push-notifications/send-push-notifications (its table of errors: INVALID_ARGUMENT,
INTERNAL, TOO_MANY_REQUESTS, PERMISSION_DENIED, NOT_FOUND). Nothing was tried against RuStore itself; the actions are
ours.
"""

from __future__ import annotations

from campaigns.outcome import Death, Fault, Outcome
from transports.decision import Decision, by_status, later, stop
from transports.json_texts.rpc_error import RpcError

_LEAST = 10.0
"""Seconds until the next try after a fault of RuStore's own."""
_QUOTA = 60.0
"""Seconds for which the channel sends nothing after 429 without Retry-After."""


def decide(status: int, error: RpcError, attempt: int = 1, retry_after: float | None = None) -> Decision:
    """What an answer other than 2xx means. ``attempt``: 1 for the first; ``retry_after``: seconds."""
    reason = error.status or f"HTTP {status}"
    match status, error.status:
        case 400, _:  # INVALID_ARGUMENT: "the request's parameters are wrong", of which the token is one
            if "token" in error.message.lower():
                return Decision(Outcome.REJECTED, reason, token_doubtful=True)
            why = f": {error.message[:100]}" if error.message else ""
            return Decision(
                Outcome.REJECTED, reason, repeated=f"RuStore refuses the message ({reason}{why}): correct the campaign"
            )
        case 401 | 403, _:  # PERMISSION_DENIED: "the service token is wrong"
            remedy = "check the service token, and the channel's app (project id), in the RuStore console"
            return stop(reason, f"RuStore refuses the service token ({reason}): {remedy}")
        case 404, "NOT_FOUND":  # "the user's push token is wrong"
            return Decision(Outcome.DEAD, reason, death=Death.LIKELY)
        case 404, _:
            return stop(reason, f"RuStore does not know this address ({reason}): check the channel's app (project id)")
        case 429, _:  # TOO_MANY_REQUESTS
            waits = later(Fault.CHANNEL, reason, _QUOTA, attempt, retry_after)
            return waits._replace(slow=max(_QUOTA, waits.slow))
        case _:  # INTERNAL, and what is not documented
            return by_status(status, reason, _LEAST, attempt, retry_after)
