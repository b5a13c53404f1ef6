"""Turns a record of a file into a subscriber, by the map, the record's own rules, and the platform's for its token."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from broadside.api import strict_json, subscriber
from broadside.api.attributes.changes import Change, Changes
from broadside.api.served_channels import unserved
from broadside.api.subscriber import FIELDS, Subscriber
from broadside.api.token_rules import DeviceTokens
from broadside.errors import Problem, RecordError, UsageError, shown
from broadside.imports.mapping import MapFile, Mapping, Skipped


class Settings(msgspec.Struct, frozen=True):
    """What rules are made of, to make the same ones in another process."""

    platforms: dict[str, str]
    """Channel → platform."""
    served: frozenset[str] | None
    map_file: MapFile | None
    channels: list[str]
    strict: bool
    latest: int


class Rules:
    """The rules that a row must keep before it is sent, and the sums of what was changed or left out.

    ``served``: the channels that the ring serves; None: no node has joined yet, so every channel is accepted.
    ``channels``: those that a row without a channel may be of. ``strict``: refuse a row rather than drop an attribute.
    ``latest``: milliseconds after which a registration lies in the future; 0: a day from now.
    """

    def __init__(
        self,
        device_tokens: DeviceTokens,
        served: frozenset[str] | None = None,
        *,
        mapping: Mapping | None = None,
        channels: Sequence[str] = (),
        strict: bool = False,
        latest: int = 0,
    ) -> None:
        """Raises ``UsageError`` for one of ``channels`` that the node does not have."""
        self.mapping = mapping or Mapping()
        self.strict = strict
        self.fills_channel = bool(channels) or self.mapping.mapped
        """Whether rows may come without a channel."""
        self.device_tokens = device_tokens
        self.latest = latest or subscriber.latest_registration()
        self._served = served
        for name in channels:
            if name not in device_tokens.channels:
                raise UsageError(f"--channel: {unserved(name, device_tokens.channels)}")
        self._given = list(channels)
        self._channels = self._given or sorted(device_tokens.channels)
        self.begin()

    @classmethod
    def of(cls, settings: Settings) -> Rules:
        """Make the rules that have ``settings``."""
        return cls(
            DeviceTokens(settings.platforms),
            settings.served,
            mapping=Mapping(settings.map_file),
            channels=settings.channels,
            strict=settings.strict,
            latest=settings.latest,
        )

    @property
    def settings(self) -> Settings:
        """What these rules are made of."""
        map_file = self.mapping.map_file if self.mapping.mapped else None
        platforms = self.device_tokens.channels
        return Settings(platforms, self._served, map_file, self._given, self.strict, self.latest)

    def begin(self) -> None:
        """Begin all sums again."""
        self.changes = Changes()
        self.skipped: dict[str, int] = {}
        """Reason → rows that were left out as the map says."""
        self.mapping.unknown = {}

    def read(self, record: dict[str, object], changes: list[Change]) -> Subscriber | None:
        """Return the record's subscriber, and add what was changed to ``changes``; None: the row is left out.

        Raises ``RecordError``. The token is checked later.
        """
        if self.strict and (name := next((name for name in record if self.mapping.column(name) is None), None)):
            raise RecordError(strict_json.unknown(name[:64], name, FIELDS))
        try:
            named = self.mapping.apply(record)
            platform = named.pop("platform", None)
            if self.fills_channel and not named.get("channel"):
                self._fill_channel(named, platform)
        except Skipped as reason:
            self.skipped[str(reason)] = self.skipped.get(str(reason), 0) + 1
            return None
        row, changed = subscriber.read_subscriber(named, self.latest)
        if self._served is not None and row.channel not in self._served:
            raise RecordError(unserved(row.channel, self._served))
        if self.strict and (problem := subscriber.refused(changed)):
            raise RecordError(problem)
        changes += changed
        return row

    def token_problem(self, row: Subscriber) -> Problem | None:
        """Return the problem with a row's token."""
        token = self.device_tokens.one(row.channel, row.kind, row.token)
        return token if isinstance(token, Problem) else None

    def channel_good(self, channel: str) -> bool:
        """Whether a row may be of ``channel``."""
        return subscriber.is_channel(channel) and (self._served is None or channel in self._served)

    def only_channel(self, platform: object) -> str | None:
        """Return the channel of rows that name none, if the ``platform`` decides it alone."""
        platforms = self.device_tokens.channels
        found = [name for name in self._channels if not platform or platforms[name] == platform]
        return found[0] if self.fills_channel and len(found) == 1 else None

    def _fill_channel(self, named: dict[str, object], platform: object) -> None:
        platforms = self.device_tokens.channels
        if platform:
            found = [name for name in self._channels if platforms[name] == platform]
            if not found:
                raise Skipped(f"no channel of platform {shown(platform, 40)} is here")
        elif len(self._channels) == 1:
            found = self._channels
        else:
            token, kind = str(named.get("token", "")), str(named.get("kind") or "token")
            found = [name for name in self._channels if isinstance(self.device_tokens.one(name, kind, token), str)]
        if len(found) > 1:
            raise UsageError(f"which channel do these rows belong to? {' or '.join(found)} (name it: --channel NAME)")
        if found:
            named["channel"] = found[0]
        elif platform is None:
            what = "no channel here has tokens of this form"
            raise RecordError(Problem("token", what, f"channels: {', '.join(self._channels) or 'none'}"))
