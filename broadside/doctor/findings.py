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
    warning: bool = False
    """Nothing is wrong, but it may not be meant so."""

    def __str__(self) -> str:
        """Write one line: ``ok name: text``, ``?? name: text (what to do)`` or ``!! name: text (what to do)``."""
        mark = "!!" if not self.ok else "??" if self.warning else "ok"
        return f"{mark} {self.name}: {self.text}" + (f" ({self.remedy})" if self.remedy else "")


def reason(error: OSError) -> str:
    """Why a connection failed, in a few words."""
    return "no answer in time" if isinstance(error, TimeoutError) else (error.strerror or str(error)).lower()
