"""The results of the doctor's checks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    name: str
    ok: bool
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        """Write one line: ``ok name: text`` or ``!! name: text: what to do``."""
        return f"{'ok' if self.ok else '!!'} {self.name}: {self.text}" + (f" ({self.remedy})" if self.remedy else "")


def reason(error: OSError) -> str:
    """Why a connection failed, in a few words."""
    return "no answer in time" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
