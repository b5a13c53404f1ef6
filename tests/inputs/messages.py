"""Bodies of ``POST /v1/campaigns``, and files of ``fire --options``: fired, or refused with an error that helps."""

from __future__ import annotations

import json
from dataclasses import dataclass

from tests.inputs.lab import CHANNELS, TRIED, Input, Lab, Labs, must


@dataclass(frozen=True, kw_only=True)
class Fired:
    """A message that every phone of its channels gets."""

    row: str

    async def run(self, file: Input, labs: Labs) -> str:
        """Fire it as it is, and wait until it is accepted for every phone."""
        lab = await labs.shared()
        body = file.content
        channels = json.loads(body).get("channels") or list(CHANNELS)
        status, answer = await lab.send(body)
        must(status == 201, f"{status}: {answer}")
        report = await lab.done(answer["id"])
        delivered = {name: tally["delivered"] for name, tally in report["channels"].items()}
        must(delivered.keys() == set(channels), f"goes to {sorted(delivered)}, not to {sorted(channels)}")
        must(min(delivered.values()) >= TRIED, f"is not delivered: {report['channels']}, {report['reasons']}")
        return f"fired, delivered on {', '.join(delivered)}"


@dataclass(frozen=True, kw_only=True)
class Refused:
    """A message that is refused. ``field``: what the error names; ``says``: the value, and words of the remedy."""

    row: str
    field: str
    says: tuple[str, ...]
    status: int = 400
    adapted: tuple[str, ...] = ()
    """The channels to whose platforms the message is adapted if the editor says so; none: that helps nobody."""

    async def run(self, file: Input, labs: Labs) -> str:
        """Fire it as it is, and compare the error."""
        lab = await labs.shared()
        before = len((await lab.get("/v1/campaigns"))["items"])
        status, answer = await lab.send(file.content)
        must(status == self.status, f"{status} where {self.status} is right: {str(answer)[:200]}")
        error = answer
        must(error["field"] == self.field, f"names {error['field']!r}, not {self.field!r}: {error['detail'][:200]}")
        must(error["remedy"], f"gives no remedy: {error['detail'][:200]}")
        for words in self.says:
            must(words in f"{error['detail']} {error['remedy']}", f"does not say {words!r}: {error['detail'][:200]}")
        must(len((await lab.get("/v1/campaigns"))["items"]) == before, "a campaign was made nevertheless")
        if self.adapted:
            return f"{status} {error['detail'][:100]}; {await self._adapted(file, lab)}"
        return f"{status} {error['detail'][:100]}"

    async def _adapted(self, file: Input, lab: Lab) -> str:
        body = json.dumps({**json.loads(file.content), "on_objection": "adapt"})
        status, answer = await lab.send(body.encode())
        must(status == 201, f"cannot be adapted: {answer}")
        report = await lab.done(answer["id"])
        adapted = [note for note in report["notes"] if note.startswith("adapted for ")]
        notes = [note.removeprefix("adapted for ").partition(" (")[0] for note in adapted]
        found = sorted(name for note in notes for name in note.partition(": ")[0].split(", "))
        must(found == sorted(self.adapted), f"is adapted for {found}, by what is said: {report['notes']}")
        delivered = {name: tally["delivered"] for name, tally in report["channels"].items()}
        must(min(delivered.values()) >= TRIED, f"adapted, it is not delivered: {delivered}, {report['reasons']}")
        return f"adapted for {'; '.join(notes)}"


@dataclass(frozen=True, kw_only=True)
class OptionsRefused:
    """A file of ``fire --options`` that is refused."""

    row: str
    says: tuple[str, ...]

    async def run(self, file: Input, labs: Labs) -> str:
        """Fire with the file, and compare what is said."""
        lab = await labs.shared()
        said = await lab.cli("fire", "--title", "T", "--body", "B", "--options", str(file.path))
        must(said.code == 2, f"exit code {said.code}: {said.err[:200]}")
        for words in self.says:
            must(words in said.err, f"does not say {words!r}: {said.err[:200]}")
        return f"exit 2, {said.err.strip()[:100]}"
