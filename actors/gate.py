"""The gate: pauses the consumer while settlements fail, and while the provider asks for less."""

from __future__ import annotations

import trio

from transports.contract import LONGEST_PAUSE

PROBE = 30.0
"""Seconds that the others wait for the fate of the batch that goes first after a pause."""
LOOK_EVERY = 0.25
"""Seconds between two looks of a consumer that waits: what it waits for may end early."""


class Gate:
    """Shut while a settlement has failed; slow for as long as a provider asks for less, five minutes at most.

    After such a pause one batch goes first. Until its fate is known (``passed``, or ``slow`` again) the others wait.
    """

    def __init__(self) -> None:
        self.moved_at = 0.0
        """When a batch was last taken up, or came back from the provider."""
        self.shut_since: float | None = None
        """On ``trio.current_time()``, as all times here; None: open."""
        self.slow_since: float | None = None
        """Since when the provider asks for less; None: it does not."""
        self.slow_until = 0.0
        self.reason = ""
        """Why it is slow: a word as in ``ChannelState.reason``."""
        self.sentence = ""
        self._open = trio.Event()
        self._open.set()
        self._probing = False

    def shut(self) -> None:
        """Hold the consumer: settlements fail."""
        if self.shut_since is None:
            self.shut_since = trio.current_time()
            self._open = trio.Event()

    def open(self) -> None:
        """Let the consumer go on: settlements succeed."""
        self.shut_since = None
        self._open.set()

    def slow(self, seconds: float, reason: str = "quota", sentence: str = "the provider asks for less") -> None:
        """Let nothing pass for so long, :data:`LONGEST_PAUSE` at most, and then one batch."""
        now = trio.current_time()
        before = 0.0 if self.slow_since is None or self._probing else self.slow_until
        if self.slow_since is None:
            self.slow_since = now
        self.slow_until = max(before, now + min(seconds, LONGEST_PAUSE))
        self.reason, self.sentence, self._probing = reason, sentence, False

    def probe(self) -> None:
        """A batch goes out. After a pause it is the first, and the others wait for its fate."""
        self.moved()
        if self.slow_since is not None:
            self.slow_until, self._probing = trio.current_time() + PROBE, True

    def moved(self) -> None:
        """A batch goes out, or has come back."""
        self.moved_at = trio.current_time()

    def passed(self) -> None:
        """The provider took a batch. What was begun before the pause says nothing about its end."""
        if self._probing:
            self.slow_since, self._probing = None, False

    async def wait(self) -> None:
        """Return when open."""
        await self._open.wait()
        while self.slow_since is not None and (pause := self.slow_until - trio.current_time()) > 0:  # noqa: ASYNC110
            await trio.sleep(min(pause, LOOK_EVERY))
