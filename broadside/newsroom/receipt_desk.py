"""Counts the receipts of sampled phones. Files in the data folder have who was counted, as pseudonyms alone."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import trio

from broadside.api.delivery_records import ReceiptsNoted
from broadside.errors import Problem, RecordError
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from campaigns.receipt import Receipts, Seen, genuine
from storage.store import Store
from storage.whole_file import write_whole

KEPT_FOR = 40 * 86_400
"""Seconds for which a campaign's pseudonyms are kept, from the last receipt: access logs are rotated within a month."""
OCTETS = 8
"""Of a pseudonym."""


class ReceiptDesk:
    """``folder``: where pseudonyms are kept; ``receipts``: None: this node is not configured for them."""

    def __init__(self, store: Store, folder: Path | None, receipts: Receipts | None, clock: Clock) -> None:
        self._store = store
        self._folder = folder
        self._receipts = receipts
        self._clock = clock
        self._writing = trio.Lock()

    async def note(self, receipts: Sequence[str]) -> ReceiptsNoted:
        """Count receipts, each phone once. Raises ``RecordError`` if the node has no key for them."""
        if self._receipts is None or self._folder is None:
            remedy = "write [receipts] into broadside.toml, and reload the node"
            raise RecordError(Problem("receipts", "this node has no key for them", remedy))
        found: dict[tuple[int, str, int], set[bytes]] = defaultdict(set)
        forged = again = counted = unknown = 0
        for text in receipts:
            seen = genuine(self._receipts.key, text)
            if seen is None:
                forged += 1
            elif seen.phone in found[_place(seen)]:
                again += 1
            else:
                found[_place(seen)].add(seen.phone)
        async with self._writing:
            for (campaign, channel, one_in), phones in found.items():
                if await self._store.campaign_get(campaign) is None:
                    unknown += len(phones)
                    continue
                file = self._folder / f"{campaign_text(campaign)}.{channel}.{one_in}"
                new, received = await trio.to_thread.run_sync(_unite, file, phones)
                counted, again = counted + new, again + len(phones) - new
                known = {"received": received, "one_in": one_in, "at": self._clock()}
                await self._store.campaign_truth(campaign, channel, receipts=known)
            await trio.to_thread.run_sync(_forget_old, self._folder)
        return ReceiptsNoted(counted=counted, again=again, forged=forged, unknown=unknown)


def _place(seen: Seen) -> tuple[int, str, int]:
    return seen.campaign, seen.channel, seen.one_in


def _unite(file: Path, phones: set[bytes]) -> tuple[int, int]:
    """Add pseudonyms to a file; returns how many are new, and how many there are."""
    file.parent.mkdir(mode=0o700, exist_ok=True)
    raw = file.read_bytes() if file.exists() else b""
    known = {raw[at : at + OCTETS] for at in range(0, len(raw), OCTETS)}
    everything = known | phones
    if everything != known:
        write_whole(file, b"".join(sorted(everything)))
    return len(everything) - len(known), len(everything)


def _forget_old(folder: Path) -> None:
    if folder.exists():
        oldest = time.time() - KEPT_FOR
        for file in folder.iterdir():
            if file.stat().st_mtime < oldest:
                file.unlink(missing_ok=True)
