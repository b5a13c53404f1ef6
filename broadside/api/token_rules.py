"""Checks device tokens by their platforms' rules, and normalises them before they are stored.

The node and the import share these rules: the import reports a bad token with its line, and the node refuses it from
any other client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from broadside.api.subscriber import ADVICE, Subscriber
from broadside.errors import Problem, shown
from transports import registry
from transports.contract import Platform
from transports.errors import TokenError

_PLAIN = re.compile(r"[!-~]+").fullmatch
_ADVICE = ADVICE["token"]
_SHOWN = 16


class DeviceTokens:
    """The token rules of a node's channels. For other channels a token must only be printable text."""

    def __init__(self, channels: Mapping[str, str]) -> None:
        """``channels``: name → platform. Raises ``UnknownPlatform``."""
        self.channels = dict(channels)
        self._kinds = registry.kinds()
        self._platforms: dict[str, Platform] = {name: registry.load(name) for name in set(channels.values())}
        self._installed: dict[str, Platform] = {}

    def kinds(self, channel: str) -> tuple[str, ...]:
        """Return the kinds of token that a channel may have."""
        platform = self.channels.get(channel)
        return () if platform is None else self._platforms[platform].kinds

    def normalised(self, rows: Sequence[Subscriber]) -> Sequence[str | Problem]:
        """Return each row's token in its platform's form, or the problem with it."""
        known = self._at_once(rows)
        return [self.one(row.channel, row.kind, row.token) for row in rows] if known is None else known

    def all_good(self, channel: str, kind: str, tokens: list[str]) -> bool:
        """Whether all ``tokens`` of a channel and kind are valid, at a tenth of the cost of ``one`` for each."""
        return self._of_channel(channel, kind, tokens) is not None

    def one(self, channel: str, kind: str, token: str) -> str | Problem:
        """Return a token in its platform's form, or the problem with it or its kind."""
        if kind not in self._kinds:
            return Problem("kind", f"{shown(kind)} is not valid", " or ".join(self._kinds), shown(kind))
        platform = self.channels.get(channel)
        if platform is None:
            good = _PLAIN(token)
            return token if good else Problem("token", f"{_told(token)} is not valid", _ADVICE, _told(token))
        try:
            return self._platforms[platform].token(kind, token)
        except TokenError as error:
            said = f"{_told(token)}, of channel {channel} ({platform}), {error.what}"
            others = [
                name for name, of in self._all().items() if of.distinct and name != platform and _recognised(of, token)
            ]
            remedy = f"this looks like a token of {others[0]}: is the channel right?" if others else error.remedy
            return Problem("token", said, remedy, _told(token))

    def stored(self, channel: str, token: str) -> str:
        """Return the form in which the base would have ``token``, of whichever kind; as given if no kind has it."""
        for kind in self.kinds(channel):
            try:
                return self._platforms[self.channels[channel]].token(kind, token)
            except TokenError:
                continue
        return token

    def _all(self) -> dict[str, Platform]:
        """Every installed platform, loaded once: a file may have a million bad tokens."""
        if not self._installed:
            self._installed = {name: registry.load(name) for name in registry.platforms()}
        return self._installed

    def _at_once(self, rows: Sequence[Subscriber]) -> list[str] | None:
        """Return all tokens, or None if one is invalid or must be checked alone."""
        kinds = {(row.channel, row.kind) for row in rows}
        if len(kinds) == 1:
            ((channel, kind),) = kinds
            return self._of_channel(channel, kind, [row.token for row in rows])
        given: dict[tuple[str, str], list[str]] = {(channel, kind): [] for channel, kind in kinds}
        for row in rows:
            given[row.channel, row.kind].append(row.token)
        taken = {}
        for of, texts in given.items():
            found = self._of_channel(*of, texts)
            if found is None:
                return None
            taken[of] = found
        if all(taken[of] is texts for of, texts in given.items()):  # as they are written already
            return [row.token for row in rows]
        inturn = {of: iter(found) for of, found in taken.items()}
        return [next(inturn[row.channel, row.kind]) for row in rows]

    def _of_channel(self, channel: str, kind: str, texts: list[str]) -> list[str] | None:
        platform = self.channels.get(channel)
        if platform is None:
            return texts if kind in self._kinds and all(texts) and _PLAIN("".join(texts)) else None
        return self._platforms[platform].tokens(kind, texts)


def of_another_channel(token: str, channel: str, other: str) -> Problem:
    """The problem of replacing ``token`` on ``channel``, when the channel ``other`` has it."""
    what = f"{_told(token)} is a token of channel {other}, not of {channel}"
    return Problem("replaces", what, "a token is replaced on its own channel: correct one of the two", _told(token))


def _recognised(platform: Platform, text: str) -> bool:
    for kind in platform.kinds:
        try:
            platform.token(kind, text)
        except TokenError:
            continue
        return True
    return False


def _told(token: str) -> str:
    """Write ``token`` for a message: shortened if it is long enough to be a real token."""
    return shown(token) if len(token) <= _SHOWN else f"{shown(token[:8] + '…')} ({len(token)} characters)"
