"""The test send: a message goes to a few devices that are named, marked as a test.

It reaches no audience, by construction: it knows no campaign, no tube and no predicate, and hands at most
``MOST_DEVICES`` recipients, each looked up by its own name, to a transport of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import trio

from broadside.api.device_send_records import MOST_DEVICES, DeviceAnswer, DeviceSend, DeviceSendReport
from broadside.api.served_channels import meant
from broadside.api.token_rules import DeviceTokens
from broadside.errors import Problem, RecordError, shown
from broadside.newsroom.dry_run import DryRun
from broadside.newsroom.firing import new_id
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from campaigns.message import Message, Text
from storage.records import Row
from storage.store import Store

MARK = "[TEST]"
TTL = 3600
"""Seconds for which a provider keeps a test for a device that is off."""
_ELSEWHERE = ("title_loc_key", "title-loc-key")


class DeviceSender:
    """Sends tests. ``open``: the transports of a dry run; ``device_tokens``: this node's channels and their tokens."""

    def __init__(self, store: Store, dry_run: DryRun, device_tokens: DeviceTokens, clock: Clock) -> None:
        self._store = store
        self._dry_run = dry_run
        self._device_tokens = device_tokens
        self._clock = clock
        self._sending = trio.Lock()

    async def send(self, request: DeviceSend) -> DeviceSendReport:
        """Send a test, and return what became of it. Takes 20 s at most.

        Raises ``RecordError`` for devices that are not there, a message that a platform cannot carry, and while another
        test is under way.
        """
        message, rows, id = as_test(request.message), await self.devices(request), new_id(self._clock())
        by_channel: dict[str, list[Row]] = {}
        for row in rows:
            by_channel.setdefault(row.channel, []).append(row)
        for channel in by_channel:
            self._dry_run.check(channel, message)
        answers: dict[str, list[tuple[str, str]]] = {}

        async def to(channel: str) -> None:
            answers[channel] = await self._dry_run.send(channel, message, by_channel[channel], id, TTL)

        try:
            self._sending.acquire_nowait()
        except trio.WouldBlock:
            raise RecordError(Problem("message", "another test is under way", "try again in a moment")) from None
        try:
            async with trio.open_nursery() as nursery:
                for channel in by_channel:
                    nursery.start_soon(to, channel)
        finally:
            self._sending.release()
        return DeviceSendReport(
            id=campaign_text(id),
            title=message.title,
            devices=[
                msgspec.convert(
                    {"subscriber": row.id or None, "channel": channel, "outcome": outcome, "text": text}, DeviceAnswer
                )
                for channel, some in by_channel.items()
                for row, (outcome, text) in zip(some, answers[channel], strict=True)
            ],
        )

    async def devices(self, request: DeviceSend) -> list[Row]:
        """Look up the devices of a request, each once (raises ``RecordError``)."""
        own = self._device_tokens.channels
        if request.channel is not None and request.channel not in own:
            raise RecordError(
                Problem("channel", f"unknown channel {shown(request.channel)}", meant(request.channel, own))
            )
        many = len(request.subscribers) + len(request.tokens)
        if not 1 <= many <= MOST_DEVICES:
            what = "names no device" if not many else f"has {many} devices with its tokens"
            raise RecordError(Problem("subscribers", what, f"1 to {MOST_DEVICES} subscribers and tokens"))
        found: dict[tuple[str, str], Row] = {}
        for number, id in enumerate(request.subscribers):
            row = await self._row(id)
            if row is None:
                raise RecordError(
                    Problem(f"subscribers[{number}]", f"there is no subscriber {id}", "leave it out", str(id))
                )
            found[row.channel, row.token] = row
        for number, token in enumerate(request.tokens):
            for row in await self._of_token(token, f"tokens[{number}]", request.channel):
                found[row.channel, row.token] = row
        for row in found.values():
            if row.channel not in own:
                what = f"subscriber {row.id} is on {shown(row.channel)}, which this node does not serve"
                raise RecordError(Problem("subscribers", what, "ask a node that serves it", str(row.id)))
        return sorted(found.values())[:MOST_DEVICES]

    async def _row(self, id: int) -> Row | None:
        rows = await self._store.subscribers_page(id - 1, 1)
        return rows[0] if rows and rows[0].id == id else None

    async def _of_token(self, token: str, where: str, channel: str | None) -> list[Row]:
        """The subscribers of a token; a row of nobody's, if its channel is named and nobody has it."""
        rows = []
        for name in self._device_tokens.channels if channel is None else [channel]:
            ids, _ = await self._store.subscribers_find([name], [], [self._device_tokens.stored(name, token)])
            rows += [row for id in ids if (row := await self._row(id)) is not None]
        if rows:
            return rows
        value = shown(token, 12)
        if channel is None:
            remedy = "name its channel, or register it"
            raise RecordError(Problem(where, f"nobody has registered {value} on a channel of this node", remedy, value))
        for kind in self._device_tokens.kinds(channel):
            good = self._device_tokens.one(channel, kind, token)
            if isinstance(good, str):
                return [Row(0, channel, good, kind, self._clock(), "", "", "", "", "", None, [], {})]
        raise RecordError(Problem(where, f"{value} is no token of {channel}", "is the channel right?", value))


def as_test(message: Message) -> Message:
    """Write ``[TEST]`` before each title of a message, whatever sets it (raises ``RecordError`` where nobody can)."""
    platforms = {
        name: msgspec.structs.replace(
            _marked(each),
            # a text without a title has that of the same language for all platforms, or none
            texts={at: (_marked if at in message.texts else _headed)(text) for at, text in each.texts.items()},
        )
        for name, each in message.platforms.items()
    }
    return msgspec.structs.replace(
        message,
        title=f"{MARK} {message.title}".strip(),
        texts={at: _headed(text) for at, text in message.texts.items()},
        platforms=platforms,
        options={name: _in_options(each, f"message.options.{name}") for name, each in message.options.items()},
    )


def _headed(text: Text) -> Text:
    """A text for all platforms: without a title it would show none, so the mark becomes its title."""
    return msgspec.structs.replace(text, title=f"{MARK} {text.title or ''}".strip())


def _marked(text: Any) -> Any:
    """A platform's text, whose title another text has where it has none."""
    return text if text.title is None else msgspec.structs.replace(text, title=f"{MARK} {text.title}".strip())


def _in_options(value: Any, where: str) -> Any:
    """The same for titles among a platform's own options."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_in_options(each, where) for each in value]
    if not isinstance(value, Mapping):
        return value
    found = {}
    for name, each in value.items():
        here = f"{where}.{name}"
        if name in _ELSEWHERE or (name == "title" and not isinstance(each, str)):
            remedy = "leave it out of a test: the app itself writes this title, so that nobody could mark it"
            raise RecordError(Problem(here, "cannot be marked as a test", remedy))
        found[name] = f"{MARK} {each}" if name == "title" else _in_options(each, here)
    return found
