"""The records of the event stream, and how an event is written as text."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType

import msgspec

from broadside.api.alarm import Alarm
from broadside.api.campaign_report import CampaignLine
from broadside.api.ring_state import RingState
from campaigns.channel_state import ChannelState

EVENT_STREAM = "text/event-stream"
PING = b": ping\n\n"
"""A comment: clients leave it out."""
PING_EVERY = 15.0
"""Seconds of silence, after which a ping keeps proxies from closing the connection."""
HELLO = b"retry: 2000\n\n"
"""Milliseconds after which a client that has lost the connection connects again."""


class EventName(Enum):
    """The kinds of events."""

    CAMPAIGN = "campaign"
    CHANNELS = "channels"
    ALARMS = "alarms"
    RING = "ring"


class ChannelsNow(msgspec.Struct, frozen=True):
    """Why channels of the ring send nothing, or less than they could. A channel that is not listed goes on."""

    items: list[ChannelState]


class AlarmsNow(msgspec.Struct, frozen=True):
    """Everything that is wrong, the worst first."""

    items: list[Alarm]


EVENTS: Mapping[str, type[msgspec.Struct]] = MappingProxyType(
    {
        EventName.CAMPAIGN.value: CampaignLine,
        EventName.CHANNELS.value: ChannelsNow,
        EventName.ALARMS.value: AlarmsNow,
        EventName.RING.value: RingState,
    }
)
"""Kind of event → the record in its ``data``."""


def written(name: EventName, id: str, data: msgspec.Struct) -> bytes:
    """Write an event. JSON of this encoder has no line breaks, which would end the ``data``."""
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.value.encode(), id.encode(), msgspec.json.encode(data))
