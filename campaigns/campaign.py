"""A campaign: a message, whom it is for, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from campaigns.drill import DRILL, drill_channel
from campaigns.herd import Herd, batch_at, read_herd
from campaigns.lane import Lane
from campaigns.message import Message
from campaigns.windows import Windows

State = Literal[
    "draft", "scheduled", "armed", "firing", "pausing", "paused", "done", "cancelling", "cancelled", "missed"
]
ENDED: tuple[State, ...] = ("done", "cancelled", "missed")
"""Nothing more happens to a campaign in one of these states."""
UNDER_WAY: tuple[State, ...] = ("firing", "pausing", "paused", "cancelling")
"""A campaign in one of these states has begun, and has not ended."""

ADAPTED = "adapted"
"""The entry of a campaign's policy with the messages that Fire adapted as the editor asked: a list of ``channels``,
``message`` (JSON) and ``notes`` (sentences for the editor)."""
STORY = "story"
"""The entry of the policy of a campaign that is an update of a story: the story's id, which all its updates share."""
_MESSAGE = msgspec.json.Decoder(Message)


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign with the sums of its ledger."""

    id: int
    version: int
    state: State
    message: Message
    audience: list[str] | None
    """Channel names; None: all."""
    policy: dict[str, Any]
    created_at: int
    fired_at: int | None
    finished_at: int | None
    walked: bool
    """Every segment has been walked to its end."""
    tallies: dict[str, dict[str, int]] = field(default_factory=dict)
    """channel -> word -> count: see ``campaigns.tally``."""
    reasons: dict[str, dict[str, int]] = field(default_factory=dict)
    removed_before: dict[str, int] = field(default_factory=dict)
    """channel -> how many subscribers had ever left it when the campaign was fired."""
    unserved: dict[str, int] = field(default_factory=dict)
    """channel -> subscribers that were left out at Fire, because no node served their channel."""
    windows: Windows | None = None
    """When it may reach whom; read by ``Store.campaign_timed`` only."""
    held: dict[str, int] = field(default_factory=dict)
    """The moment (ms UTC) and a time zone with people who wait for it -> how many; read by ``campaign_waits``, too."""
    active_ms: int | None = None
    """Milliseconds in which something of it could be sent; read with ``held``."""
    put: bool = False
    """Whether the walk has ended and all its pages are on the tubes; read with ``held``."""

    texts: int = 0
    """The version of its texts: how often they were corrected."""
    correction: int | None = None
    """The campaign that brings the corrected texts to those who had got the earlier ones."""
    corrected: bool = True
    """False: the last correction was interrupted, and has to be repeated before the campaign may go on."""
    former: list[tuple[int, Message]] = field(default_factory=list)
    """The earlier texts, each with the moment (ms UTC) at which it was corrected."""

    where: dict[str, Any] | None = None
    """The audience's conditions (``campaigns.where``); None: it goes to whole channels."""
    estimate: dict[str, int] = field(default_factory=dict)
    """channel -> about how many were in the audience at Fire, where it has conditions."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ENDED

    @property
    def windowed(self) -> bool:
        """Whether quiet hours hold for this campaign: then it has window classes."""
        return "ends_at" in self.policy

    @property
    def planned(self) -> bool:
        """Whether the store looks at each row when it reads a page: for its window class, or for the audience."""
        return self.windowed or self.where is not None

    @property
    def drill(self) -> bool:
        """Whether it goes to simulators alone (``campaigns.drill``)."""
        return DRILL in self.policy

    def channel_of(self, channel: str) -> str:
        """The channel that takes its pushes to subscribers of ``channel``. Of a drill it is never a real one."""
        return drill_channel(channel) if self.drill else channel

    @property
    def channels(self) -> frozenset[str]:
        """The channels that a fired campaign goes to: those of its audience, fixed by Fire."""
        return frozenset(self.audience or ())

    def message_to(self, channel: str) -> Message:
        """The message as it goes to a channel: its own, or one that Fire adapted to the channel's platform."""
        for entry in self.policy.get(ADAPTED, ()):
            if channel in entry["channels"]:
                return _MESSAGE.decode(entry["message"])
        return self.message

    @property
    def lane(self) -> Lane:
        """Which campaigns it overtakes, or is overtaken by: fixed by Fire."""
        return Lane.named(self.policy.get("lane"))

    @property
    def herd(self) -> Herd | None:
        """How fast it reaches people; None: as fast as the providers take it."""
        return read_herd(self.policy)

    @property
    def batch(self) -> int | None:
        """Recipients of a batch at most, where its rate wants fewer than usual."""
        return None if self.herd is None else batch_at(self.herd.rate)

    @property
    def corrects(self) -> int | None:
        """The campaign whose texts this one corrects; None: it stands for itself."""
        return self.policy.get("corrects")

    @property
    def replaces(self) -> int | None:
        """The campaign or the story whose push its own ones replace on a phone; None: they stand for themselves."""
        return self.policy.get(STORY, self.corrects)

    @property
    def collapse(self) -> int:
        """What stands for the place on the screen: itself, or what it replaces."""
        return self.id if self.replaces is None else self.replaces

    def is_asleep(self, channel: str) -> bool:
        """Whether its pushes are shown asleep on a channel at any hour."""
        return channel in self.policy.get("asleep", ())

    @property
    def start(self) -> int | None:
        """When the editor has said that it starts, ms UTC; None: at Fire."""
        return self.policy.get("start")

    @property
    def expires_at(self) -> int:
        """Milliseconds UTC after which nobody wants its pushes any more."""
        return int(self.policy.get("ends_at") or self.wanted_until())

    @property
    def begun_at(self) -> int:
        """When it starts, or was to start, for people who may get it at once, ms UTC."""
        return self.start or self.fired_at or self.created_at

    def wanted_until(self, due: int | None = None) -> int:
        """Milliseconds UTC until which its push is wanted by people who may first get it at ``due``; None: at once."""
        instant = self.policy.get("expires_at")
        if due is None and instant is not None:
            return int(instant)
        until = (self.begun_at if due is None else due) + int(self.policy["ttl_ms"])
        return until if instant is None else min(until, int(instant))
