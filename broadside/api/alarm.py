"""The API's record of something that is wrong, with what to do about it."""

from __future__ import annotations

from enum import Enum

import msgspec


class Severity(Enum):
    """How much it matters."""

    CRITICAL = "critical"
    """Pushes, counts or subscribers wait, and a person must act."""
    WARNING = "warning"
    """A person should act before it becomes worse."""
    NOTICE = "notice"
    """It passes by itself."""


class AlarmName(Enum):
    """Everything that can be wrong. Each has a page of its name in docs/runbooks."""

    TARANTOOL_AWAY = "tarantool-away"
    DISK_FULL = "disk-full"
    MEMORY_FULL = "memory-full"
    MEMORY_NEARLY_FULL = "memory-nearly-full"
    REPORTS_OWED = "reports-owed"
    NODE_FORGOTTEN = "node-forgotten"
    PEER_AWAY = "peer-away"
    WORKER_AWAY = "worker-away"
    API_FAILS = "api-fails"
    LOG_UNWRITABLE = "log-unwritable"
    CAMPAIGN_MISSED = "campaign-missed"
    CANARY_STOPPED = "canary-stopped"
    BATCHES_BURIED = "batches-buried"
    SUBSCRIBERS_REFUSED = "subscribers-refused"
    REFUSED_TOKENS = "refused-tokens"
    CHANNEL_PARKED = "channel-parked"
    CHANNEL_REFUSED = "channel-refused"
    CHANNEL_UNSERVED = "channel-unserved"
    PROVIDER_UNREACHABLE = "provider-unreachable"
    PROVIDER_SILENT = "provider-silent"
    PROVIDER_QUOTA = "provider-quota"
    PROVIDER_SLOW = "provider-slow"
    SETTLEMENTS_FAIL = "settlements-fail"
    CHANNEL_RATE = "channel-rate"
    LOAD_SILENT = "load-silent"
    WEBHOOK_FAILS = "webhook-fails"
    DRILL_SLOW = "drill-slow"
    DELIVERY_FIGURES = "delivery-figures"
    BROADCAST_CHANNELS = "broadcast-channels"


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong."""

    name: AlarmName
    """Its page in docs/runbooks."""
    severity: Severity
    text: str
    """What is wrong, in plain words."""
    remedy: str
    about: str = ""
    """The channel, node, worker, server or campaign that it is about."""
    node: str = ""
    """The node that reports it; empty: the node that answers."""
    since: int | None = None
    """Ms UTC; None: not known."""

    def __str__(self) -> str:
        """One line: what is wrong, and the remedy."""
        return f"{self.text}; {self.remedy}" if self.remedy else self.text
