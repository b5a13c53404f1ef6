"""OTP's rules as pure functions: which children are restarted after an exit."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import TypeVar

from supervision.child import PERMANENT, TRANSIENT, Restart
from supervision.events import ExitKind, ExitReason

T = TypeVar("T")


class Strategy(enum.Enum):
    """Which children are restarted together with a child: none, all, those started after it."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE = Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE


def wants_restart(restart: Restart, reason: ExitReason) -> bool:
    """Whether a child that exited by itself is restarted."""
    if restart is PERMANENT:
        return True
    return restart is TRANSIENT and reason.kind not in (ExitKind.NORMAL, ExitKind.SHUTDOWN)


def restart_group(strategy: Strategy, order: Sequence[T], failed: T) -> list[T]:
    """The children to stop (in reverse) and start again (in this order) when `failed` is restarted."""
    if strategy is Strategy.ONE_FOR_ONE:
        return [failed]
    if strategy is Strategy.ONE_FOR_ALL:
        return list(order)
    return list(order[order.index(failed) :])
