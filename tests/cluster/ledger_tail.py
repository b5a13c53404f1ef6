"""Reads the twins' ledgers of a ring as they grow: what was read once is not read again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import msgspec

from simulators.ledger import Entry


class LedgerTail:
    """The pushes that were delivered, by campaign. ``folders``: where the twins write."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._folders = list(folders)
        self._read: dict[Path, int] = {}
        self._entries: defaultdict[str | None, list[Entry]] = defaultdict(list)
        self._decoder = msgspec.json.Decoder(Entry)

    def entries(self, campaign: str) -> list[Entry]:
        """All pushes of a campaign until now, under its collapse id."""
        for folder in self._folders:
            for path in folder.glob("*.ledger"):
                self._follow(path)
        return self._entries[campaign]

    def _follow(self, path: Path) -> None:
        before = self._read.get(path, 0)
        with path.open("rb") as file:
            file.seek(before)
            whole, newline, _ = file.read().rpartition(b"\n")  # the twin may be writing the next line
        for line in whole.splitlines():
            entry = self._decoder.decode(line)
            self._entries[entry.collapse].append(entry)
        self._read[path] = before + len(whole) + len(newline)
