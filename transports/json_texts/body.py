"""A text's JSON, rendered once for many recipients, with a place for the token and a gap for the seconds to keep it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

import msgspec

from campaigns.recipient import Recipient

encode = msgspec.json.Encoder().encode

LATER = secrets.token_hex(16)
"""Stands in a body for the seconds that the provider may keep a push: they are others in each batch, and rendering
takes as long as forty recipients. Nobody knows it, so it stands in no message."""
LATER_NUMBER = msgspec.Raw(LATER.encode("ascii"))
"""The same for a provider that takes the seconds as a number."""


def kept_for(ttl: int, most: int) -> Callable[[bytes], bytes]:
    """Return what fills the gaps in a body, or in a piece of it: the provider keeps the push for ``ttl`` seconds.

    ``most``: seconds for which it keeps one at most.
    """
    gap, seconds = LATER.encode("ascii"), b"%d" % max(0, min(ttl, most))
    return lambda content: content.replace(gap, seconds)


class Body:
    """The JSON of one text, split where the target goes."""

    __slots__ = ("size", "tail")

    def __init__(self, tail: bytes, size: int) -> None:
        """``tail``: what follows the target; ``size``: the octets that count against the provider's limit."""
        self.tail = tail
        self.size = size


def quoted_tokens(recipients: Sequence[Recipient]) -> list[bytes]:
    """Each recipient's token as a JSON text, without its quotes."""
    if not recipients:
        return []
    texts = [recipient.token for recipient in recipients]
    encoded = encode(texts)
    # If nothing was escaped (no real token needs it), quotes stand only around the tokens.
    return [encode(text)[1:-1] for text in texts] if b"\\" in encoded else encoded[2:-2].split(b'","')


def addressed(
    recipients: Sequence[Recipient], tails: Sequence[bytes], heads: Mapping[str, bytes]
) -> list[bytes | None]:
    """Return each one's body; None for a kind of token that the platform does not have.

    ``heads``: by kind of token, what comes before the token, with its opening quote. A tail begins with the other.
    """
    found = [heads.get(recipient.kind) for recipient in recipients]
    return [
        None if head is None else head + token + tail
        for head, token, tail in zip(found, quoted_tokens(recipients), tails, strict=True)
    ]
