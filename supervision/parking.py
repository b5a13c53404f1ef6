"""Parking: an actor that crashes too often is tried again every minute, for ever; its siblings never notice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from supervision import events
from supervision.actor import Actor, HasSnapshot
from supervision.crash import Crash
from supervision.snapshot import PARKED, Snapshot

PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Parked:
    """Why an actor waits for its next try. Times are ``trio.current_time()``."""

    why: str
    """The crash itself in one line, not that a supervisor gave up because of it."""
    since: float
    """When it was parked first: tries that fail at once do not change it."""
    until: float
    """When it is tried again."""


class Parking:
    """Runs the actor that ``start`` makes, usually a supervisor; when that raises, parks it instead of raising itself.

    After ``pause`` seconds ``start(True)`` makes the next one, on trial: it should give up at its first crash. One
    that was on trial and ran for longer than ``pause`` is replaced at once by ``start(False)``. A start that fails is a
    crash like any other, even the very first, so that the siblings start anyway. With ``first_counts`` an error that
    ends the actor before it was ever ready is raised instead, so that the person who starts the tree reads why.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[bool], Actor],
        *,
        pause: float = PAUSE,
        first_counts: bool = False,
        observe: Callable[[events.SupervisionEvent], None] = events.log_event,
    ) -> None:
        self.name = name
        self.parked: Parked | None = None
        """None while the actor serves, and before its first start."""
        self._since: float | None = None
        self._crash: Crash | None = None
        self._start = start
        self._pause = pause
        self._must_start = first_counts
        self._observe = observe
        self._actor: Actor | None = None
        self._stopping = trio.Event()
        self._wake = trio.Event()
        """Ends the wait of a parked actor."""
        self._renewals: list[trio.Event] = []
        """One for each `renew` under way."""
        self._renewing = False

    async def run(self, ready: Callable[[], None]) -> None:
        """Run until stopped, or until the actor returns. Raises a cancel, and the errors of ``first_counts``."""
        trial = False
        try:
            while not self._stopping.is_set():
                self._wake, self._renewing = trio.Event(), False
                began = trio.current_time()
                try:
                    self._actor = self._start(trial)
                    await self._actor.run(partial(self._serving, ready))
                    if not self._renewing:
                        return
                    trial, self._since = False, None
                    continue
                except Exception as error:
                    if self._must_start:
                        raise
                    if trial and trio.current_time() - began >= self._pause:
                        trial, self._since = False, None
                        continue
                    trial = True
                    self._park(error)
                finally:
                    self._actor = None
                ready()
                if not self._renewing:
                    self._renewed()
                    with trio.move_on_after(self._pause):
                        await self._wake.wait()
        finally:
            self._renewed()

    async def renew(self) -> None:
        """Stop the actor as `stop` does, and start the next one. One that is parked is tried at once.

        Returns when the next one serves or is parked, or when the parking ends.
        """
        if self._stopping.is_set():
            await trio.lowlevel.checkpoint()
            return
        done = trio.Event()
        self._renewals.append(done)
        self._renewing = True
        self._wake.set()
        if self._actor is not None:
            self._actor.stop()
        await done.wait()

    def _renewed(self) -> None:
        for done in self._renewals:
            done.set()
        self._renewals.clear()

    def _serving(self, ready: Callable[[], None]) -> None:
        self.parked = None
        self._must_start = False
        if not self._renewing:
            self._renewed()
        ready()

    def _park(self, error: Exception) -> None:
        now = trio.current_time()
        self._since = now if self._since is None else self._since
        self._crash = Crash.of(error)
        self.parked = Parked(self._crash.words, self._since, now + self._pause)
        self._observe(events.ActorParked(self.name, now, error, self.parked.why, self._pause))

    def stop(self) -> None:
        """Stop the actor; a parked one is not tried any more."""
        self._stopping.set()
        self._wake.set()
        if self._actor is not None:
            self._actor.stop()

    def snapshot(self) -> Snapshot:
        """The actor's tree, with the crash that parked it last; without children while it is parked."""
        actor = self._actor
        if actor is not None and isinstance(actor, HasSnapshot):
            shot = actor.snapshot()
        else:
            shot = {"id": self.name, "kind": "supervisor", "state": PARKED, "incarnation": 1, "uptime": 0.0}
        if self._crash is not None:
            shot["crash"], shot["crashed_at"] = self._crash.words, self._crash.at
        return shot
