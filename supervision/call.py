"""A message that wants an answer."""

from __future__ import annotations

from typing import Generic, TypeVar

import trio

R = TypeVar("R")


class Slot:
    """Where one answer arrives: a value or an error, once; what comes later is dropped."""

    __slots__ = ("abandoned", "done", "error", "scope", "value")

    def __init__(self, scope: trio.CancelScope) -> None:
        self.done = trio.Event()
        self.scope = scope
        self.abandoned = False
        self.value: object = None
        self.error: Exception | None = None

    def settle(self, value: object, error: Exception | None = None) -> None:
        """Answer, unless that has been done or nobody waits any more."""
        if self.done.is_set() or self.abandoned:
            return
        self.value, self.error = value, error
        self.done.set()
        if error is not None:
            self.scope.cancel()  # the caller may still wait for room in the mailbox


class Request(Generic[R]):
    """The base of messages for `Ref.call`; `R` is the answer's type. One object serves one call.

    ```
    @dataclass
    class Depth(Request[int]):
        tube: str
    ```
    """

    __slots__ = ("_slot",)

    def reply(self, value: R) -> None:
        """Answer the caller. Does nothing when it has given up, or when the message was merely sent."""
        slot = self.slot
        if slot is not None:
            slot.settle(value)

    def fail(self, error: Exception) -> None:
        """Raise `error` in the caller."""
        slot = self.slot
        if slot is not None:
            slot.settle(None, error)

    def attach(self, slot: Slot) -> None:
        """Bind the message to a call. Raises `ValueError` when it was used in one before."""
        if self.slot is not None:
            raise ValueError(f"{type(self).__name__}: one request object serves one call; make a new one")
        object.__setattr__(self, "_slot", slot)  # subclasses may be frozen

    @property
    def slot(self) -> Slot | None:
        """Where the answer goes, if anybody waits for one."""
        slot = getattr(self, "_slot", None)
        return slot if isinstance(slot, Slot) else None

    @property
    def abandoned(self) -> bool:
        """Whether the caller has given up; such a request is not delivered any more."""
        slot = self.slot
        return slot is not None and (slot.abandoned or slot.done.is_set())
