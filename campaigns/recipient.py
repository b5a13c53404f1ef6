"""One push target of a campaign, and the encoding in which a task carries many of them."""

from __future__ import annotations

import msgspec


class Recipient(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One push target, as a task stores it: ``[id, token, kind, registered_at, locale]``, in MessagePack."""

    id: int
    """The subscriber's id (uint64)."""
    token: str
    kind: str
    """The kind of ``token``, one of its platform's kinds (``token``; ``fid``, a Firebase installation id)."""
    registered_at: int
    """Milliseconds UTC at which this token was last registered."""
    locale: str
    """BCP 47; empty: the campaign's default text."""


def unpack_recipients(packed: bytes) -> list[Recipient]:
    """Decode a task's recipients (raises ``msgspec.ValidationError`` for anything else)."""
    return _DECODER.decode(packed)


def pack_recipients(recipients: list[Recipient]) -> bytes:
    """Encode recipients as a task carries them."""
    return _ENCODER.encode(recipients)


_DECODER = msgspec.msgpack.Decoder(list[Recipient])
_ENCODER = msgspec.msgpack.Encoder()
