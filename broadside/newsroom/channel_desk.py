"""Channels that come and go while the node runs: what the API is asked for becomes tables beside broadside.toml."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
import trio

from broadside.api.base_records import NodeChannel
from broadside.api.channel_records import ChannelChanged, ChannelCredentials, ChannelRecord, ChannelSettings
from broadside.config.config import Config
from broadside.config.put_channels import PutChannels
from broadside.errors import ChannelInUse, ConfigError, Conflict, Problem, RecordError

MOST = 200
"""Channels that the API adds to a node: each has connections and a tube of its own."""
WITHIN = 120.0
"""Seconds for a change: a channel that is renewed settles what it has in hand."""

Edit: TypeAlias = Callable[[dict[str, dict[str, Any]]], dict[str, dict[str, Any]]]
"""From the tables that were put to those that are wanted."""
_FIELD = re.compile(r"([a-z_]+(?:\.[a-z_]+)?): (.+)", re.DOTALL)
"""A transport's refusal: it begins with the field."""


class ChannelDesk:
    """Adds, changes and removes channels of one node."""

    def __init__(
        self, put: PutChannels, config: Callable[[], Config], change: Callable[[Edit], Awaitable[list[str]]]
    ) -> None:
        """``config``: what applies now. ``change`` takes up an edit, and returns what has changed, as lines.

        It raises ``ConfigError`` if nothing has changed because something is wrong.
        """
        self._put = put
        self._config = config
        self._change = change

    def listed(self) -> dict[str, NodeChannel]:
        """The node's channels."""
        put = self._put.read()
        channels = sorted(self._config().channels.items())
        return {name: NodeChannel(each.platform, each.app, name in put) for name, each in channels}

    def show(self, name: str) -> ChannelRecord:
        """One channel without its credentials (raises ``Conflict``)."""
        channel = self._config().channels.get(name)
        if channel is None:
            raise _missing(name)
        known = {field: getattr(channel, field) for field in ChannelRecord.__struct_fields__ if hasattr(channel, field)}
        entries = {"credentials": sorted(channel.credentials), "delivery": sorted(channel.delivery)}
        lists = {field: list(value) for field, value in known.items() if isinstance(value, tuple)}
        return ChannelRecord(channel=name, by_api=name in self._put.read(), **(known | lists | entries))

    async def put(self, name: str, settings: ChannelSettings) -> ChannelChanged:
        """Add a channel, or change one that was put."""

        def edit(tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
            self._refuse_the_files(name, tables)
            if name not in tables and len(tables) >= MOST:
                raise Conflict(f"{MOST} channels were added by the API, which is the most", "remove one first")
            return tables | {name: msgspec.to_builtins(settings)}

        return await self._changed(name, edit)

    async def rotate(self, name: str, wanted: ChannelCredentials) -> ChannelChanged:
        """Replace the credentials of a channel that was put, or read their files anew."""

        def edit(tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
            self._refuse_the_files(name, tables)
            if name not in tables:
                raise _missing(name)
            table = tables[name]
            return tables | {name: table | ({"credentials": wanted.credentials} if wanted.credentials else {})}

        return await self._changed(name, edit)

    async def remove(self, name: str) -> ChannelChanged:
        """Remove a channel that was put. A repeat changes nothing."""

        def edit(tables: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
            self._refuse_the_files(name, tables)
            return {other: table for other, table in tables.items() if other != name}

        return await self._changed(name, edit)

    def _refuse_the_files(self, name: str, tables: dict[str, dict[str, Any]]) -> None:
        """Raise ``Conflict`` for a channel of broadside.toml: a name is in one place."""
        if name in self._config().channels and name not in tables:
            what = f"channel {name} is in broadside.toml, where the API changes nothing"
            raise Conflict(what, "change it there, and reload the node (kill -HUP)", field="channel", value=name)

    async def _changed(self, name: str, edit: Edit) -> ChannelChanged:
        try:
            # half a change would be worse than one that its client does not wait for
            with trio.fail_after(WITHIN, shield=True):
                return ChannelChanged(channel=name, changed=await self._change(edit))
        except ChannelInUse as error:
            found = error.problems[0]
            what = f"channel {name} {found.what}"
            raise Conflict(what, found.remedy, field="channel", value=name, campaign=error.campaign) from None
        except ConfigError as error:
            raise RecordError(_about(name, error.problems)) from None


def _missing(name: str) -> Conflict:
    what, remedy = f"this node has no channel {name}", "`broadside channel list` shows the channels"
    return Conflict(what, remedy, missing=True, field="channel", value=name)


def _about(name: str, problems: list[Problem]) -> Problem:
    """The first mistake, about a field of the request; the others are counted."""
    first = next((each for each in problems if each.where.startswith(f"channels.{name}")), problems[0])
    where, what = first.where.removeprefix(f"channels.{name}").removeprefix("."), first.what
    if not where:
        found = _FIELD.fullmatch(what)
        where, what = (found[1], found[2]) if found else ("channel", what)
    more = f"; and {len(problems) - 1} more" if len(problems) > 1 else ""
    return Problem(where, what + more, first.remedy, first.value)
