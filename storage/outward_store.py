"""The store's verbs about what the newsroom's other systems hear: the feed and the webhooks, typed."""

from __future__ import annotations

from typing import Any, NamedTuple

from storage.link import Link


class FeedRow(NamedTuple):
    """What became of some subscribers of one channel in one call."""

    number: int
    sum: int
    """How many subscribers the feed has had, up to and with this row."""
    at: int
    """Ms UTC."""
    kind: str
    """``dead``, ``replaced``, ``restored``; ``gap``: the memory was used up, and nobody knows any more who they are."""
    channel: str
    campaign: int
    """0: of none."""
    subscribers: int
    entries: list[list[Any]]
    """(subscriber, token, other) each; ``other``: the new token of one that was replaced, the reason of a dead one."""


class StateChange(NamedTuple):
    """A campaign has got another state. ``at``: ms UTC."""

    number: int
    at: int
    campaign: int
    state: str


class WebhookDue(NamedTuple):
    """What a webhook's receiver has not heard."""

    changes: list[StateChange]
    cursor: int
    """The last change that it has heard."""
    missed: int
    """Changes before these that have left the store unheard."""
    failing_since: int
    """Ms UTC; 0: the last call has worked."""


class WebhookRow(NamedTuple):
    """How far a webhook's receiver has heard the changes. Times: ms UTC, 0 for never."""

    name: str
    cursor: int
    heard_at: int
    failing_since: int
    tries: int
    """Calls that have failed since then."""
    error: str
    missed: int
    waiting: int
    """Changes that it has yet to hear."""


class OutwardStore:
    """The feed and the webhooks' cursors in the store."""

    def __init__(self, link: Link, where: str = "store") -> None:
        self._link = link
        self._where = where

    async def feed(self, after: int, limit: int) -> tuple[list[FeedRow], int, int]:
        """Rows behind number ``after``, and the numbers of the first and the last row that is kept; 0: none."""
        rows, first, last = await self._call("feed_page", after, limit)
        return [FeedRow(*row) for row in rows], int(first), int(last)

    async def due(self, name: str, limit: int) -> WebhookDue:
        """What the webhook ``name`` is to hear next. The first call for a name: nothing of what was before it."""
        changes, cursor, missed, since = await self._call("webhook_due", name, limit)
        return WebhookDue([StateChange(*change) for change in changes], int(cursor), int(missed), int(since))

    async def heard(self, name: str, number: int, missed: int, now: int) -> None:
        """The receiver has heard all changes up to ``number``."""
        await self._call("webhook_heard", name, number, missed, now)

    async def failed(self, name: str, error: str, now: int) -> int:
        """A call has failed. Returns since when they fail, ms UTC."""
        return int((await self._call("webhook_failed", name, error, now))[0])

    async def webhooks(self) -> list[WebhookRow]:
        """How far each webhook's receiver is."""
        return [WebhookRow(*row) for row in (await self._call("webhook_list"))[0]]

    async def _call(self, verb: str, *arguments: Any) -> list[Any]:
        return list(await self._link.call(self._where, f"store.{verb}", *arguments))
