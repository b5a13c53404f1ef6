"""A drill: the whole base is walked and sent to simulators, over channels of their own, and no phone hears of it.

A drill's channels have other names than those of the base, and all follows from that: a node that knows no drills walks
none of it, no real channel's transport ever gets its batches, and no refusal of a simulator deletes a subscriber.
"""

from __future__ import annotations

DRILL = "drill"
"""A campaign's kind, and the entry of its policy that makes it one."""
PREFIX = "drill-"
"""No channel of a configuration has a name that begins so. The same in the store's campaigns.lua."""


def drill_channel(channel: str) -> str:
    """The drill's channel in place of a real one."""
    return PREFIX + channel


def is_drill_channel(channel: str) -> bool:
    """Whether its pushes go to a simulator of a drill."""
    return channel.startswith(PREFIX)
