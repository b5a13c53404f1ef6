"""Reads an error in the form of Google's APIs (AIP-193), which others took over: ``{"error": {"status": …}}``."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from transports import foreign


class RpcError(NamedTuple):
    """The parts of an error's body that matter."""

    status: str = ""
    """The status word (``UNAUTHENTICATED``)."""
    message: str = ""
    details: tuple[dict[str, object], ...] = ()


def parse(body: bytes) -> RpcError:
    """Read an error's body; parts that are not as documented count as absent."""
    try:
        document = msgspec.json.decode(body)
    except foreign.UNREADABLE:
        return RpcError(message=body[:100].decode(errors="replace").strip())
    error = document.get("error", document) if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return RpcError()
    found = tuple(objects(error.get("details")))
    return RpcError(foreign.word(error.get("status")), text(error.get("message"))[:200], found)


def objects(value: object) -> list[dict[str, object]]:
    """The objects in a list; nothing of anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def text(value: object) -> str:
    """A text, or an empty one in place of anything else."""
    return value if isinstance(value, str) else ""
