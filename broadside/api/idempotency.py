"""Idempotency keys: checks a key, and compares a request with the one that the key was used for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from broadside.api.campaign_report import FireRequest
from broadside.api.instants import read_instant
from broadside.errors import Problem, RecordError, shown
from campaigns.duration import parse_duration

HEADER = "Idempotency-Key"
LONGEST_KEY = 255
NODE_KEY = "api.key"
"""The owner of an idempotency key that came with a node's API key. Each node has another API key, but all of them fire
for the same newsroom: a repeat at another node must find the first request's campaign."""


def check_key(text: str, where: str = HEADER) -> str:
    """Return ``text`` if it is a valid idempotency key (else raises ``RecordError``, naming ``where``)."""
    if not 1 <= len(text) <= LONGEST_KEY or not text.isascii() or not text.isprintable():
        what = f"{shown(text, 40)} is not a key" if len(text) <= LONGEST_KEY else f"has {len(text)} characters"
        raise RecordError(Problem(where, what, f"1 to {LONGEST_KEY} printable ASCII characters", text[:40]))
    return text


def digest(request: FireRequest) -> dict[str, str]:
    """Field → digest of its value, for all fields that the request sets. The order of channels does not matter."""
    return {name: hashlib.sha256(_ENCODER.encode(value)).hexdigest()[:16] for name, value in _fields(request)}


def differing(first: Mapping[str, str], again: Mapping[str, str]) -> list[str]:
    """Return the fields in which two requests differ, by their digests."""
    found = {name for name in {*first, *again} if first.get(name) != again.get(name)}
    return sorted("when" if name == _WHEN else name for name in found)


def _time(text: str) -> int | str:
    """The same time has the same digest, however it is written."""
    if (at := read_instant(text)) is not None:
        return at
    return text if (seconds := parse_duration(text)) is None else f"{seconds} s"


_WHEN = "start"
"""The name of the field ``when`` in digests: they were kept before the API had that name."""
_ENCODER = msgspec.json.Encoder(order="deterministic")


def _fields(request: FireRequest) -> Iterator[tuple[str, Any]]:
    plain = msgspec.to_builtins(request)
    message = plain.pop("message")
    if "when" in plain:
        plain[_WHEN] = plain.pop("when")
    plain["channels"] = None if request.channels is None else sorted(set(request.channels))
    plain |= {name: _time(plain[name]) for name in ("start", "expires") if name in plain}
    for name, value in [*plain.items(), *((f"message.{name}", value) for name, value in message.items())]:
        # empty fields are left out: a field that a later version adds then changes no existing digest
        if value is not None and value is not False and value not in ({}, [], ""):
            yield name, value
