"""The API's records about a story's web page: what it says of itself."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from broadside.api.bounds import LONGEST_URL


class LinkRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A page to read."""

    url: Annotated[str, Meta(min_length=1, max_length=LONGEST_URL)]


class LinkMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """What a page says of itself. A text that it does not say is empty."""

    url: str
    """Its canonical address, else the one that was read."""
    title: str
    description: str
    image: str
    """The address of its picture."""
