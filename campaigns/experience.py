"""What a node has learnt of its channels, for the forecast of a campaign. Kept in the store, for the whole ring.

Everything fades as newer pushes come, so that a provider or a network that has changed is known after a campaign.
"""

from __future__ import annotations

import msgspec

WEIGHT = 200_000.0
"""Pushes on which a channel's answer times rest: once there are more, all weigh half."""
LARGEST = 60 * 1024
"""Bytes of a node's experience."""


class ChannelExperience(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One channel on one node."""

    pushes: float = 0.0
    """That it rests on, at most. 0: there is none."""
    answers: list[float] = []
    """Accepted pushes by answer time, in the classes of ``transports.traffic.time_class``; the old ones weigh less."""
    streams: float = 0.0
    """Pushes in flight that the provider allows on a connection."""
    window: int = 0
    """Bytes of a connection's flow-control window."""
    round_trip: float = 0.0
    """Seconds to the provider and back; 0: not known."""
    fit: float = 1.0
    """How fast it was when streams were full, to what streams and answer times would carry."""
    dead: float = 0.0
    """Share of the pushes that ended otherwise than accepted."""
    retried: float = 0.0
    """Attempts that led to another one, to each push that ended."""
    asked_less: float = 0.0
    """Pushes a second that were accepted while the provider asked for less; 0: it has not done so lately."""

    def answered(self, counts: list[int]) -> None:
        """Add accepted pushes by answer time."""
        if len(self.answers) != len(counts):
            self.answers = [0.0] * len(counts)
        self.answers = [known + more for known, more in zip(self.answers, counts, strict=True)]
        self.pushes += sum(counts)
        if self.pushes > WEIGHT:
            self.answers = [round(each / 2, 1) for each in self.answers]
            self.pushes /= 2


class NodeExperience(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One node."""

    channels: dict[str, ChannelExperience] = {}
    cores: int = 0
    """Of its machine that it may use; 0: not known."""
    cost: float = 0.0
    """Seconds of the machine's cores for a push, whoever spent them; 0: not known."""
    background: float = 0.0
    """Cores that are busy while nothing is sent."""
    busy: float = 0.0
    """Seconds in which a worker runs, or waits for a core, for a push."""
    saturated: float = 0.0
    """Pushes a second while the workers had no time to spare; 0: that has not happened."""
    row: float = 0.0
    """Seconds of a walker for a subscriber who gets the push."""
    skipped: float = 0.0
    """Seconds of a walker for a row that is not in the audience."""


_DECODER = msgspec.json.Decoder(NodeExperience)


def write_experience(experience: NodeExperience) -> str:
    """As the store keeps it: the channels with the fewest pushes are left out until it is small enough."""
    channels = sorted(experience.channels.items(), key=lambda item: -item[1].pushes)
    while True:
        text = msgspec.json.encode(msgspec.structs.replace(experience, channels=dict(channels)))
        if len(text) <= LARGEST:
            return text.decode()
        channels = channels[: len(channels) // 2]


def read_experience(text: str) -> NodeExperience | None:
    """Read it; None: another version wrote it otherwise."""
    try:
        return _DECODER.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def faded(known: float, seen: float, weight: float) -> float:
    """What is known, moved towards what was seen: by ``weight``, or all the way if nothing was known."""
    return seen if not known else known + (seen - known) * min(1.0, weight)
