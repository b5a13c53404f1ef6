"""The verbs that a Tarantool role publishes, read from its Lua: their names, arguments and comments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

LUA = Path(__file__).parents[2] / "storage" / "lua"
ROLES = {
    "store": "Subscribers, campaigns and the ledger: one store for a ring.",
    "tubes": "A node's own queue: batches and batons on their tubes, the lease, and reports on their way to the store.",
}
"""Role → what it is."""
_REQUIRED = re.compile(r"^local (\w+) = require\('([\w.]+)'\)", re.MULTILINE)
_PUBLISHED = re.compile(
    r"^ +(?:verbs\.)?(\w+) = (?:replicas\.\w+\((\w[\w.]*)\)|(\w[\w.]*)|function\([^\n]*\)\n(.*?)^ +end)(?:,| -- .*)$",
    re.MULTILINE | re.DOTALL,
)
_PEERS = re.compile(r"^ +\}, \{(.*)\}\)", re.MULTILINE)
_CALLED = re.compile(r"(\w+\.\w+)\([\w., ]*\)$", re.MULTILINE)


class Verb(NamedTuple):
    """A function that Broadside may call."""

    name: str
    arguments: str
    text: str
    """Its comment."""
    peer: bool
    """Whether other nodes may call it."""


def verbs(role: str) -> list[Verb]:
    """All verbs of a role, sorted. Raises ``LookupError`` for one without a comment."""
    text = (LUA / "roles" / role / "init.lua").read_text(encoding="utf-8")
    modules = dict(_REQUIRED.findall(text))
    found = _PEERS.search(text)
    peers = set(re.findall(r"\w+", found[1])) if found else set()
    published = text[text.index("\nfunction ") :]
    return sorted(Verb(name, *_said(modules, target), name in peers) for name, target in _published(published))


def _published(text: str) -> Iterator[tuple[str, str]]:
    for name, positioned, plain, body in _PUBLISHED.findall(text):
        yield name, positioned or plain or _CALLED.findall(body)[-1]


def _said(modules: dict[str, str], target: str) -> tuple[str, str]:
    module, _, function = target.partition(".")
    text = (LUA / (modules[module].replace(".", "/") + ".lua")).read_text(encoding="utf-8")
    head = rf"function (?:\w+\.)?{function}" if function else "return function"
    found = re.search(rf"((?:^--.*\n)+)^(?:local )?{head}\(([^)]*)\)", text, re.MULTILINE)
    if found is None:
        raise LookupError(f"{target} has no comment")
    lines = (line.removeprefix("--").strip() for line in found[1].splitlines())
    return " ".join(found[2].split()), "\n".join(lines)
