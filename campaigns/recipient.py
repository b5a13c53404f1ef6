"""One push target of a campaign, and the encoding in which a task carries many of them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

NEW_APP = "1"
"""The last value of a recipient whose app has a version that its channel's ``android_v2`` names. The same in
page_read.lua."""


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


class PersonalRecipient(Recipient, array_like=True, frozen=True, gc=False):
    """The same with values, for the campaign's personal fields and the app's version: only where there are any."""

    values: tuple[str, ...]
    """In the order of ``campaigns.personal.fields``; empty: the subscriber has none. On a channel that treats apps by
    their version there is one more: :data:`NEW_APP`, or an empty text."""


def unpack_recipients(packed: bytes) -> list[Recipient]:
    """Decode a task's recipients (raises ``msgspec.ValidationError`` for anything else).

    They are all personal, or none is: the first one's head says which.
    """
    head = packed[:1]
    first = 1 if head < b"\xdc" else 3 if head == b"\xdc" else 5
    return _PERSONAL.decode(packed) if packed[first : first + 1] == _SIX else _PLAIN.decode(packed)  # type: ignore[return-value]


def pack_recipients(recipients: Sequence[Recipient]) -> bytes:
    """Encode recipients as a task carries them."""
    return _ENCODER.encode(recipients)


_PLAIN = msgspec.msgpack.Decoder(list[Recipient])
_PERSONAL = msgspec.msgpack.Decoder(list[PersonalRecipient])
_SIX = b"\x96"
"""The first octet of an array of six."""
_ENCODER = msgspec.msgpack.Encoder()
