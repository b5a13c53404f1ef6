"""Reads from a campaign's archive what the ledger had about one person."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from broadside.errors import UsageError
from broadside.newsroom.explain.explain_facts import AnswerFact, PageFacts
from broadside.newsroom.explain.fate import EXCEPTIONS
from campaigns.id_set import unpack_ids
from campaigns.windows import Windows
from storage.records import Cursor, LedgerPage

_READ = msgspec.json.Decoder().decode


class ArchivedLedger(msgspec.Struct, kw_only=True):
    """What an archive has about one person."""

    windows: Windows | None = None
    listed: bool | None = None
    last_id: int | None = None
    walked: bool = False
    page: PageFacts | None = None


def read_archive(path: Path, subscriber: int) -> ArchivedLedger:
    """Read an archive (raises ``OSError``; ``UsageError``: it is damaged)."""
    found = ArchivedLedger()
    raw: dict[str, Any] | None = None
    answers: list[AnswerFact] = []
    kept: dict[str, int] = {}
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                record = _READ(line)
                kind = record.pop("kind")
                if kind == "campaign" and record.get("windows") is not None:
                    found.windows = msgspec.convert(record["windows"], Windows)
                elif kind == "listed":
                    found.listed = subscriber in record["ids"]
                elif kind == "segment":
                    found.last_id = max(found.last_id or 0, record["end_id"])
                elif kind == "page" and record["from_id"] < subscriber <= record["to_id"]:
                    raw, found.walked = record, True
                elif kind == "answer" and raw is not None and (raw["segment"], raw["seq"]) == (
                    record["segment"], record["seq"],
                ):  # fmt: skip
                    if (subscriber in _ids(record["ids"])) != record["rest"]:
                        answers.append(AnswerFact(*(record[name] for name in AnswerFact.__struct_fields__)))
                    if record["outcome"] in EXCEPTIONS:
                        kept[record["outcome"]] = kept.get(record["outcome"], 0) + record["recipients"]
    except (EOFError, zlib.error, ValueError, KeyError) as error:
        raise UsageError(f"{path} cannot be read: {error} (restore it from a backup)") from error
    if raw is not None:
        ended = subscriber in _ids(raw.pop("ended", ()))
        found.page = msgspec.convert({**raw, "ended": ended, "kept": kept}, PageFacts)
        found.page = msgspec.structs.replace(found.page, answers=answers)
    return found


def read_pages(path: Path) -> tuple[list[Cursor], list[LedgerPage]]:
    """Read an archive's segments and pages (raises as ``read_archive``)."""
    cursors, pages = [], []
    try:
        with gzip.open(path, "rb") as lines:
            for line in lines:
                record = _READ(line)
                kind = record.pop("kind")
                if kind == "segment":
                    cursors.append(Cursor(**record))
                elif kind == "page":
                    pages.append(LedgerPage(**record))
    except (EOFError, zlib.error, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} cannot be read: {error} (restore it from a backup)") from error
    return cursors, pages


def _ids(packed: Sequence[int | str]) -> frozenset[int]:
    """A set as JSON has it: its octets in base64."""
    return unpack_ids([base64.b64decode(item) if isinstance(item, str) else item for item in packed])
