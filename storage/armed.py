"""The store's verbs about armed campaigns, typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from campaigns.baton import Baton
from campaigns.windows import Windows
from storage.errors import Repeats
from storage.link import Link
from storage.records import TextGuard, given_windows


class Unapproved(NamedTuple):
    """Why an armed campaign stays armed."""

    why: Literal["unapproved", "expired"]


class Arming(NamedTuple):
    """How a campaign is armed."""

    approval: dict[str, Any] | None
    """What it needs an approval for: ``phones``, ``asked`` (the owner of the key), ``asked_by`` (its name); None: it
    needs none."""
    draft: str | None = None
    """The draft that it has become of."""


class ArmedStore:
    """Armed campaigns in the store."""

    def __init__(self, link: Link, where: str = "store") -> None:
        self._link = link
        self._where = where

    async def arm(self, id: int, arming: Arming, now: int) -> str | None:
        """Arm a draft; return its state, unchanged if it was armed or fired before. None: no such campaign."""
        (state,) = await self._call("campaign_arm", id, arming.approval, arming.draft, now)
        return None if state is None else str(state)

    async def approve(self, id: int, key: str, name: str, until: int, now: int) -> str | None:
        """Approve; return ``approved``, ``own`` (the key has asked itself), ``needless``, or the state of a campaign
        that is not armed. None: no such campaign. ``key``: the key's owner; ``until``: ms UTC.
        """
        (word,) = await self._call("campaign_approve", id, key, name, until, now)
        return None if word is None else str(word)

    async def disarm(self, id: int, now: int) -> str | None:
        """Take back an armed campaign; return its state, unchanged if it is not armed. None: no such campaign."""
        (state,) = await self._call("campaign_disarm", id, now)
        return None if state is None else str(state)

    async def fire(
        self,
        id: int,
        segments: int,
        now: int,
        windows: Windows | None,
        guard: TextGuard | None,
        more: Mapping[str, Any],
        *,
        alone: bool,
    ) -> list[Baton] | Unapproved | None:
        """Let an armed campaign go. Returns the batons to put, none if it was fired before. None: no such campaign.

        ``more``: further entries of its policy; ``alone``: without an approval.

        Raises ``Repeats`` if ``guard`` knows its text: it stays armed.
        """
        batons, *why = await self._call(
            "campaign_fire_armed",
            id,
            segments,
            now,
            given_windows(windows),
            None if guard is None else guard.wire(),
            alone,
            dict(more),
        )
        if why and why[0] is not None:
            if isinstance(why[0], str):
                return Unapproved("expired" if why[0] == "expired" else "unapproved")
            raise Repeats(*why[0])
        return None if batons is None else [Baton(*baton) for baton in batons]

    async def _call(self, verb: str, *arguments: Any) -> list[Any]:
        return list(await self._link.call(self._where, f"store.{verb}", *arguments))
