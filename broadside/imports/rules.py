"""Turns a record of a file into a subscriber, by the map, the record's own rules, and the platform's for its token."""

from __future__ import annotations

from collections.abc import Sequence

from broadside.api import strict_json, subscriber
from broadside.api.attributes.changes import Changes
from broadside.api.served_channels import unserved
from broadside.api.subscriber import FIELDS, Subscriber
from broadside.api.token_rules import DeviceTokens
from broadside.errors import Problem, RecordError, UsageError, shown
from broadside.imports.mapping import Mapping, Skipped


class Rules:
    """The rules that a row must keep before it is sent, and the sums of what was changed or left out.

    ``served``: the channels that the ring serves; None: no node has joined yet, so every channel is accepted.
    ``channels``: those that a row without a channel may be of. ``strict``: refuse a row rather than drop an attribute.
    """

    def __init__(
        self,
        device_tokens: DeviceTokens,
        served: frozenset[str] | None = None,
        *,
        mapping: Mapping | None = None,
        channels: Sequence[str] = (),
        strict: bool = False,
    ) -> None:
        """Raises ``UsageError`` for one of ``channels`` that the node does not have."""
        self.mapping = mapping or Mapping()
        self.strict = strict
        self.changes = Changes()
        self.skipped: dict[str, int] = {}
        """Reason → rows that were left out as the map says."""
        self.fills_channel = bool(channels) or self.mapping.mapped
        """Whether rows may come without a channel."""
        self._device_tokens = device_tokens
        self._served = served
        self._latest = subscriber.latest_registration()
        for name in channels:
            if name not in device_tokens.channels:
                raise UsageError(f"--channel: {unserved(name, device_tokens.channels)}")
        self._channels = list(channels or sorted(device_tokens.channels))

    def read(self, record: dict[str, object]) -> Subscriber | None:
        """Return the record's subscriber; None: it is left out. Raises ``RecordError``. The token is checked later."""
        if self.strict and (name := next((name for name in record if self.mapping.column(name) is None), None)):
            raise RecordError(strict_json.unknown(name[:64], name, FIELDS))
        try:
            named = self.mapping.apply(record)
            platform = named.pop("platform", None)
            if self.fills_channel and not named.get("channel"):
                self._fill_channel(named, platform)
        except Skipped as reason:
            said = str(reason) if len(self.skipped) < 100 else "other reasons"
            self.skipped[said] = self.skipped.get(said, 0) + 1
            return None
        row, changes = subscriber.read_subscriber(named, self._latest)
        if self._served is not None and row.channel not in self._served:
            raise RecordError(unserved(row.channel, self._served))
        if changes:
            if self.strict and (problem := subscriber.refused(changes)):
                raise RecordError(problem)
            self.changes.add(changes)
        return row

    def tokens_good(self, rows: list[Subscriber]) -> bool:
        """Whether every row's token is one of its channel's platform."""
        return not rows or self._device_tokens.all_good(rows)

    def token_problem(self, row: Subscriber) -> Problem | None:
        """Return the problem with a row's token."""
        token = self._device_tokens.one(row.channel, row.kind, row.token)
        return token if isinstance(token, Problem) else None

    def _fill_channel(self, named: dict[str, object], platform: object) -> None:
        platforms = self._device_tokens.channels
        if platform:
            found = [name for name in self._channels if platforms[name] == platform]
            if not found:
                raise Skipped(f"no channel of platform {shown(platform, 40)} is here")
        elif len(self._channels) == 1:
            found = self._channels
        else:
            token, kind = str(named.get("token", "")), str(named.get("kind") or "token")
            found = [name for name in self._channels if isinstance(self._device_tokens.one(name, kind, token), str)]
        if len(found) > 1:
            raise UsageError(f"which channel do these rows belong to? {' or '.join(found)} (name it: --channel NAME)")
        if found:
            named["channel"] = found[0]
        elif platform is None:
            what = "no channel here has tokens of this form"
            raise RecordError(Problem("token", what, f"channels: {', '.join(self._channels) or 'none'}"))
