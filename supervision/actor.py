"""What an actor is: something that runs, says when it can serve, and can be asked to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from supervision.snapshot import Snapshot


class Actor(Protocol):
    """One incarnation of a supervised piece of work. A restart makes a new object."""

    async def run(self, ready: Callable[[], None]) -> None:
        """Work until done, stopped or broken.

        Returning is a normal exit, an `Exception` is a crash. `ready` is called once the actor can serve; until
        then its supervisor starts nothing that comes after it. Calling it again does nothing.
        """
        ...

    def stop(self) -> None:
        """Ask `run` to close the intake, finish what is in hand and return. It must not block or raise."""
        ...


@runtime_checkable
class HasSnapshot(Protocol):
    """An actor with a tree of its own: a nested supervisor, or one that speaks for another process's tree."""

    def snapshot(self) -> Snapshot:
        """The current tree, as plain data."""
        ...
