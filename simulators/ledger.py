"""The twin's own record of the pushes it accepted: one line of JSON each, on disk before the client gets its answer.

"On disk" means handed to the operating system: a killed twin loses nothing, a machine that loses power may.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from simulators.errors import LedgerError

_LINE_LIMIT = 65_536
_WHY_LIMIT = 200


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One accepted push."""

    time: int
    """Milliseconds UTC of acceptance."""
    token: str
    """The target: device token, registration token, installation id, topic or condition."""
    kind: str = "token"
    """What ``token`` is: ``token``, ``fid``, ``topic``, ``condition`` or ``channel``; ``sealed``: a real browser's
    subscription, whose pushes the twin cannot open."""
    collapse: str | None = None
    """The id under which a repeat replaces the first: Broadside writes the campaign there (FCM: the tag)."""
    id: str
    """APNs: the ``apns-id``. FCM: the message name."""
    app: str
    """APNs: the topic. FCM: the project."""
    answered: int = 200
    """The status that was sent; not 200 if a script delivers the push and still refuses it."""
    expires: int | None = None
    """Milliseconds UTC until which the provider keeps it for a device that is off; 0: not at all; None: as long as the
    provider keeps anything."""
    asleep: bool = False
    """It was shown so that nobody wakes: without a sound, a lit screen or urgency."""
    body: str | None = None
    """The request's body, if the script says ``bodies = true``."""
    timestamp: int | None = None
    """Of a broadcast: the card's, seconds UTC."""
    overtaken: bool = False
    """Of a broadcast: a newer card was broadcast before it."""
    validated: bool = False
    """Judged and found valid, but not delivered: FCM's ``validate_only``."""


class Ledger:
    """Writes entries and keeps the totals. It has one owner and works in batches: :meth:`add` …, :meth:`flush`, answer.

    Args:
        path: appended to (made with mode 0600 if missing); None keeps only the totals.
        remember: pushes that are remembered to count duplicates; further ones are written but not compared.
    """

    def __init__(self, path: Path | None = None, *, remember: int = 5_000_000) -> None:
        self.path = path
        self.accepted = 0
        self.duplicates = 0
        self.refused: Counter[str] = Counter()
        """Refusals by reason."""
        self.whys: dict[str, str] = {}
        """What was wrong the first time, by reason."""
        self.validated = 0
        """Dry runs that were found valid."""
        self.broadcasts = 0
        """Broadcasts: one for all who follow a channel, so they are no pushes."""
        self.overtaken = 0
        """Of these, older cards after newer ones."""
        self._pending: list[Entry] = []
        self._seen: set[int] = set()
        self._remember = remember
        self._encoder = msgspec.json.Encoder()
        self._file = None if path is None else _open(path)

    def add(self, entry: Entry) -> None:
        """Take an accepted push; it is on disk after the next :meth:`flush`."""
        if self._file is not None:
            self._pending.append(entry)
        if entry.validated:
            self.validated += 1
            return
        if entry.timestamp is not None:
            self.broadcasts += 1
            self.overtaken += entry.overtaken
            return
        self.accepted += 1
        if entry.collapse is not None:
            key = hash((entry.collapse, entry.app, entry.token))
            if key in self._seen:
                self.duplicates += 1
            elif len(self._seen) < self._remember:
                self._seen.add(key)

    def refuse(self, reason: str, why: str = "") -> None:
        """Count a refusal; of each reason, the first ``why`` is kept."""
        self.refused[reason] += 1
        if why and reason not in self.whys:
            self.whys[reason] = why[:_WHY_LIMIT]

    def flush(self) -> None:
        """Hand everything added so far to the operating system, in one write."""
        if self._file is None or not self._pending:
            return
        lines = self._encoder.encode_lines(self._pending)
        self._pending.clear()
        view = memoryview(lines)
        while view:
            view = view[os.write(self._file, view) :]

    def close(self) -> None:
        """Flush and close the file. Repeating it does nothing."""
        self.flush()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def summary(self) -> str:
        """One line for people: accepted, duplicates, refusals by reason with the first one's why."""
        told = []
        for reason, count in self.refused.most_common():
            why = self.whys.get(reason)
            told.append(f"{reason} {count}" + (f" ({why})" if why else ""))
        validated = f", validated {self.validated}" if self.validated else ""
        overtaken = f" ({self.overtaken} overtaken)" if self.overtaken else ""
        broadcasts = f", broadcasts {self.broadcasts}{overtaken}" if self.broadcasts else ""
        return (
            f"accepted {self.accepted} (duplicates {self.duplicates}){validated}{broadcasts}, "
            f"refused {self.refused.total()}: {', '.join(told) or 'none'}"
        )


def _open(path: Path) -> int:
    """Open for appending; a line that a killed twin left unfinished (and so never answered) is cut off."""
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    size = os.fstat(file).st_size
    tail = os.pread(file, _LINE_LIMIT, max(0, size - _LINE_LIMIT))
    if tail and not tail.endswith(b"\n"):
        os.ftruncate(file, size - len(tail) + tail.rfind(b"\n") + 1)
    return file


@dataclass(slots=True)
class Counts:
    """The totals of a ledger file."""

    accepted: int = 0
    """Lines, without dry runs."""
    distinct: int = 0
    """Different (collapse, token) pairs."""
    duplicates: int = 0
    """``accepted - distinct``: pushes a device got more than once under one collapse id."""
    torn: bool = False
    """The last line is incomplete: the twin was killed while it wrote."""
    pushes: Counter[tuple[str | None, str]] = field(default_factory=Counter)
    """Acceptances by (collapse, token)."""
    validated: int = 0
    """Dry runs."""
    broadcasts: int = 0

    def tokens(self, collapse: str | None = None) -> set[str]:
        """The accepted tokens, under one collapse id if given."""
        return {token for (campaign, token) in self.pushes if collapse is None or campaign == collapse}

    def lost(self, expected: set[str], collapse: str | None = None) -> set[str]:
        """The tokens in ``expected`` that were never accepted."""
        return expected - self.tokens(collapse)


def read_ledger(path: Path) -> Iterator[Entry]:
    """Yield the entries of a ledger file, in order of acceptance (raises ``LedgerError`` with the line number).

    A last line without its newline was being written when the twin died and is left out.
    """
    decoder = msgspec.json.Decoder(Entry)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                raise LedgerError(f"{path}, line {number}: {error}: this is not a twin's ledger") from None


def count_ledger(path: Path) -> Counts:
    """Add up a ledger file."""
    counts = Counts()
    for entry in read_ledger(path):
        if entry.validated:
            counts.validated += 1
            continue
        if entry.timestamp is not None:
            counts.broadcasts += 1
            continue
        counts.accepted += 1
        counts.pushes[entry.collapse, entry.token] += 1
    counts.distinct = len(counts.pushes)
    counts.duplicates = counts.accepted - counts.distinct
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            counts.torn = file.read(1) != b"\n"
    return counts
