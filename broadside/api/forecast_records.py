"""The API's records of a campaign's speed: the forecast before Fire, and how far it has come since."""

from __future__ import annotations

from typing import Literal

import msgspec

Limit = Literal[
    "walk",
    "cpu",
    "window",
    "streams",
    "quota",
    "rate",
    "herd",
    "quiet_hours",
    "provider",
    "node",
    "paused",
    "answers",
]
"""What keeps a campaign from being faster: ``walk`` (the base is read more slowly than it could be sent), ``cpu``,
``window`` (the provider takes no more bytes on the connections at a time), ``streams`` (it allows no more pushes in
flight), ``quota`` (of the provider), ``rate`` (the channel's own), ``herd`` (for the sake
of the newsroom's own site), ``quiet_hours``, ``provider`` (out of reach, refuses
the channel, does not answer, or answers late), ``node`` (no node serves the channel, or one of its own parts is away),
``paused``, ``answers`` (only the last answers are awaited)."""


class ChannelForecast(msgspec.Struct, frozen=True, kw_only=True):
    """One channel. Seconds count from Fire."""

    phones: int
    seconds: float | None
    """Until all are reached that may be reached at once; null: nobody knows, ``sentence`` says why."""
    rate: float
    """Pushes a second, on average."""
    bottleneck: Limit
    sentence: str
    """The bottleneck in words."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """How long a campaign will take, and why not less. Seconds count from Fire."""

    phones: int
    """About how many it goes to."""
    seconds: float | None
    """Until all are reached that may be reached at once; null: nobody knows, ``sentence`` says why."""
    bottleneck: Limit
    sentence: str
    """The bottleneck in words."""
    channels: dict[str, ChannelForecast] = {}
    held: int = 0
    """Phones that get it later: when their quiet hours end, or at their own time."""
    until: int | None = None
    """When the last of them may get it, ms UTC; null: there are none."""
    bytes: dict[str, int] = {}
    """Channel → bytes of a push, as the provider gets it."""
    longer: str = ""
    """What a longer text would cost in speed, a sentence."""
    opens: float = 0.0
    """Opens a second that the newsroom's own servers must bear at the most, if one phone in twenty opens it."""
    image_bytes: float = 0.0
    """Bytes of the picture a second that its server must bear at the most, if the picture has 100 KB."""
    careful: list[str] = []
    """Where nothing was learnt yet, so that it rests on careful guesses: sentences."""
    made_at: int = 0
    """Ms UTC."""


class Bottleneck(msgspec.Struct, frozen=True, kw_only=True):
    """What keeps a campaign from being faster now."""

    limit: Limit
    sentence: str
    channel: str = ""
    node: str = ""


class ReachPart(msgspec.Struct, frozen=True, kw_only=True):
    """How far a campaign has come on one channel and node."""

    channel: str
    node: str
    accepted: int
    p50: float | None = None
    """Seconds after Fire until half of them were accepted …"""
    p90: float | None = None
    """… and nine of ten …"""
    p99: float | None = None
    """… and 99 of 100."""
    rate: float = 0.0
    """Pushes that have ended a second, over the last five seconds."""


class Reach(msgspec.Struct, frozen=True, kw_only=True):
    """How far a campaign has come, in the whole ring."""

    accepted: int = 0
    p50: float | None = None
    """Seconds after Fire until half of all were accepted that it goes to (dead and refused tokens not counted); null:
    they are not yet. To ±5 %, for most."""
    p90: float | None = None
    """The same for nine of ten …"""
    p99: float | None = None
    """… and for 99 of 100."""
    rate: float = 0.0
    """Pushes that have ended a second, over the last five seconds."""
    left: float | None = None
    """Seconds until all are reached that may be reached now, at this rate; null: nothing is sent now."""
    parts: list[ReachPart] = []
    bottlenecks: list[Bottleneck] = []
    """What keeps each channel with pushes left from being faster; the first is what the campaign waits for longest."""
