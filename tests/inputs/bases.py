"""Files of subscribers: what of them is imported, and what is said about the rest."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from tests.inputs.lab import Input, Labs, must


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A file of a base, imported by ``broadside subscribers import``.

    ``taken``: rows that are stored; ``phones``: the subscribers that they are, if fewer; ``rejected``: bad rows;
    ``left_out``: rows that the preset leaves out; ``dropped``: attributes that cannot be read; ``says``: words about
    the bad rows.
    """

    row: str
    taken: int
    phones: int | None = None
    rejected: int = 0
    left_out: int = 0
    dropped: dict[str, int] = field(default_factory=dict)
    preset: str | None = None
    says: tuple[str, ...] = ()

    async def run(self, file: Input, labs: Labs) -> str:
        """Import the file and compare; returns the figures."""
        lab = await labs.shared()
        rejected = lab.folder / f"{file.path.name}.rejected"
        words = ["subscribers", "import", str(file.path), "--json", "--rejected", str(rejected)]
        if self.preset is not None:
            words += ["--preset", self.preset, "--channel", "ios-news", "--channel", "android-news"]
        said = await lab.cli(*words)
        must(said.out, f"exit {said.code}: {said.err[:200]}")
        summary: dict[str, Any] = json.loads(said.out)
        found = {
            "taken": summary["inserted"] + summary["updated"],
            "rejected": summary["rejected"],
            "left out": sum(summary["skipped"].values()),
            "dropped": {name: entry["count"] for name, entry in summary["changes"].get("dropped", {}).items()},
        }
        right = {"taken": self.taken, "rejected": self.rejected, "left out": self.left_out, "dropped": self.dropped}
        must(found == right, f"{found} where {right} is right; {said.err[:200]}")
        most = self.taken if self.phones is None else self.phones
        must(summary["inserted"] <= most, f"{summary['inserted']} new phones where there are {most}")
        must(said.code == (1 if self.rejected else 0), f"exit code {said.code}")
        kept = rejected.stat().st_size if rejected.exists() else 0
        must(bool(kept) == bool(self.rejected), f"the file of rejected rows has {kept} bytes")
        for words_ in self.says:
            must(words_ in said.err, f"nobody says {words_!r}: {said.err[:200]}")
        figures = [f"{count:,} {name}" for name, count in found.items() if isinstance(count, int) and count]
        if self.phones is not None:
            figures.append(f"{self.phones:,} phones")
        return ", ".join([*figures, *(f"{count} {name} dropped" for name, count in self.dropped.items())])
