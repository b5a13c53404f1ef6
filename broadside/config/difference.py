"""Compares two configurations: what a running node takes up, and what waits for its next start."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import msgspec

from broadside.config.config import Channel, Config
from broadside.config.tarantool import OwnQueue
from broadside.errors import shown

LIVE = (
    "channels", "kinds", "newsroom", "guards", "herd", "hooks", "webhooks", "peers", "proxy", "keep_days",
    "receipts",
)  # fmt: skip
"""Fields of a ``Config`` that a running node takes up. Of others: ``http.names`` and its own ``queue.hosts``."""
_WRITTEN = {"proxy": "network", "keep_days": "store.keep"}
"""Field of a ``Config`` → how it is written in the file, where that differs."""
_READ = ("source", "warnings")
"""Fields that are not written in the file."""
_PRIVATE = re.compile(r"url|network|receipts|credentials")
"""Keys whose values may hold a secret: they are not shown."""


class Difference(NamedTuple):
    """What a new configuration changes, each as a line: ``channels.ios-news.rate: 5000 → 2000``."""

    config: Config
    """What applies from now on: the old one, but for what can be taken up."""
    live: list[str]
    later: list[str]
    """What waits for the next start."""


def difference(old: Config, new: Config, waits: Callable[[Channel], bool]) -> Difference:
    """Compare. ``waits``: whether a channel needs a process that does not run (a simulator)."""
    channels = {
        name: old.channels.get(name) if old.channels.get(name) != channel and waits(channel) else channel
        for name, channel in new.channels.items()
    }
    config = msgspec.structs.replace(
        old,
        **{field: getattr(new, field) for field in LIVE},
        http=msgspec.structs.replace(old.http, names=new.http.names),
        queue=_queue(old, new),
        warnings=new.warnings,
    )
    config = msgspec.structs.replace(config, channels={name: each for name, each in channels.items() if each})
    return Difference(config, list(changes(old, config)), list(changes(config, new)))


def _queue(old: Config, new: Config) -> Any:
    if isinstance(old.queue, OwnQueue) and isinstance(new.queue, OwnQueue):
        return msgspec.structs.replace(old.queue, hosts=new.queue.hosts)
    return old.queue


def changes(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """Each difference of two records as a line, by the keys of the file."""
    before, after = _parts(old), _parts(new)
    if old == new:
        return
    if before is None or after is None:
        yield f"{key}: changed" if _PRIVATE.search(key) else f"{key}: {_words(old)} → {_words(new)}"
        return
    for name in dict.fromkeys([*before, *after]):
        inner = f"{key}.{name}" if key else _WRITTEN.get(name, name)
        if name not in after:
            yield f"{inner}: removed"
        elif name not in before:
            yield f"{inner}: added"
        else:
            yield from changes(before[name], after[name], inner)


def _parts(value: Any) -> dict[str, Any] | None:
    """The named parts of a value; None: it has none."""
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__ if name not in _READ}
    if isinstance(value, dict):
        return value
    if isinstance(value, tuple) and value and all(hasattr(each, "name") for each in value):
        return {each.name: each for each in value}
    return {} if value == () else None


def _words(value: Any) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(_words, value))
    return shown(value if isinstance(value, bool | int | float | str) else str(value))
