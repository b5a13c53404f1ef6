"""What a platform with broadcast channels can do: one request, and one card changes on every lock screen.

Only some platforms have them; :class:`Broadcasting` is an optional interface of a transport. Failures are exceptions
here, unlike in ``contract.py``: a request is about everybody who follows a channel, so there is nobody else to spare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

from campaigns.message import Message
from transports.errors import TransportError

Event: TypeAlias = Literal["update", "end"]


class BroadcastRefused(TransportError):
    """The provider refuses the request, and would refuse it again. The text is a sentence with the remedy.

    ``gone``: there is no such channel (any more).
    """

    def __init__(self, sentence: str, *, gone: bool = False) -> None:
        """Keep what was refused."""
        self.gone = gone
        super().__init__(sentence)


class BroadcastLater(TransportError):
    """The provider did not carry the request out for now. ``after``: seconds to wait before the next try."""

    def __init__(self, sentence: str, after: float) -> None:
        """Keep why, and the wait."""
        self.after = after
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class CardState:
    """What a card shows from now on."""

    event: Event
    timestamp: int
    """Seconds UTC. A phone drops what is older than what it shows."""
    state: Mapping[str, Any]
    """What the app's own code draws the card from."""
    alert: Message | None = None
    """Title and body that the phone tells with the change; None: the card changes silently."""
    stale_at: int | None = None
    """Seconds UTC after which the phone shows the card as out of date."""
    dismiss_at: int | None = None
    """Seconds UTC at which an ended card leaves the lock screen; None: as the phone likes, within four hours."""
    data: Mapping[str, str] = field(default_factory=dict)


class Broadcasts(Protocol):
    """The broadcast channels of one app in one of the provider's environments."""

    @property
    def place(self) -> str:
        """The app and the environment: transports with the same place share its channels."""

    @property
    def limit(self) -> int:
        """The most channels that the provider keeps for a place."""

    def body(self, card: CardState) -> bytes:
        """Render a broadcast (raises ``PayloadError``)."""

    async def create(self, *, stored: bool) -> str:
        """Make a channel and return its id. ``stored``: the provider keeps the last broadcast for who is offline.

        Raises ``BroadcastRefused``: none was made; ``BroadcastLater``, ``ConnectionLost``: one may have been made.
        """

    async def channels(self) -> list[str]:
        """Return the ids of all channels of the place (raises as :meth:`create`)."""

    async def delete(self, channel: str) -> None:
        """Delete a channel; it does not matter whether it was there (raises as :meth:`create`)."""

    async def send(self, channel: str, body: bytes, *, urgent: bool, kept_until: int) -> None:
        """Broadcast a body (raises as :meth:`create`). A repeat of the same body does no harm.

        ``kept_until``: seconds UTC; 0: the channel keeps nothing.
        """


@runtime_checkable
class Broadcasting(Protocol):
    """Optional interface of a transport: its platform has broadcast channels."""

    def broadcasts(self) -> Broadcasts:
        """Return its channels (raises ``CredentialsError`` if its credentials do not allow them)."""
