"""Reads ``[receipts]``: whose phones say by an address in the push that it has come, and by which."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from broadside.config.strict_toml import Reader
from broadside.errors import shown
from campaigns.receipt import Receipts

SHORTEST_KEY = 32
"""Octets."""
_REMEDIES = {
    "receipts.url": "an address on a host of your own, as in https://news.example.com/r/",
    "receipts.one_in": "1 phone in so many, 1 to 1000000; 1000 is usual",
    "receipts.key_file": "a file of mode 0600 with at least 32 characters, the same on each node",
}


class ReceiptTable(msgspec.Struct, frozen=True, kw_only=True):
    """``[receipts]``. All nodes need the same table, and the same key."""

    url: Annotated[str, Meta(max_length=200)]
    """What stands before each receipt. Nothing need be there: the access log is what counts."""
    key_file: Path
    """A file with the secret that addresses are signed with."""
    one_in: Annotated[int, Meta(ge=1, le=1_000_000)] = 1_000
    """How many phones there are for each that gets an address."""


def read_receipts(reader: Reader, table: object) -> Receipts | None:
    """Return the settings, with the key; None: the table is wrong."""
    found = reader.table(ReceiptTable, table, "receipts", _REMEDIES)
    if found is None:
        return None
    before = len(reader.problems)
    try:
        parts = urlsplit(found.url)
        host = parts.hostname
    except ValueError:
        parts, host = urlsplit(""), None
    if (
        parts.scheme != "https"
        or not host
        or not found.url.isascii()
        or not found.url.isprintable()
        or " " in found.url
    ):
        reader.problem("receipts.url", f"{shown(found.url)} is no https address", _REMEDIES["receipts.url"], found.url)
    path = reader.file("receipts.key_file", found.key_file, secret=True)
    if len(reader.problems) > before:
        return None
    key = path.read_bytes().strip()
    if len(key) < SHORTEST_KEY:
        remedy = "write at least 32 characters into it, as of `openssl rand -hex 32`"
        reader.problem("receipts.key_file", f"the key has {len(key)} characters", remedy)
        return None
    return Receipts(url=found.url, one_in=found.one_in, key=key)
