"""The normaliser: rewrites the tokens of rows that were written before their platform had a rule for them.

Once a channel and rule: the store remembers how far it is. A little at a time, and never while a campaign fires, which
needs Tarantool more. Two rows that come to one token are one phone, which would show the news twice: they become one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog
import trio

from actors.messages import Clock
from storage.errors import LinkDown, LinkLost, VerbRefused
from storage.store import Store
from transports.contract import Platform
from transports.errors import TokenError

log = structlog.get_logger(__name__)

ROWS = 400
"""Looked at in one call: 1 ms of Tarantool's thread."""
REWRITTEN = 100
"""Rewritten in one call at most: 2 to 4 ms of Tarantool's thread."""
WRITE_EVERY = 50
"""Pages without a rewritten row after which it is written down how far the walk is."""
PACE = 0.01
"""Seconds between two pages: 2 million rows take a minute or two."""
WAIT = 2.0
"""Seconds until the next look while a campaign fires, another node is at it, or the store is away."""
REFUSED = 60.0
"""Seconds until the next look when the store refuses: its memory is full, or it is older than this node."""


class Normaliser:
    """Looks through ``channels`` (name → (platform's name, platform)), and ends when all are done."""

    def __init__(self, *, store: Store, node: str, channels: Mapping[str, tuple[str, Platform]], clock: Clock) -> None:
        self._store = store
        self._node = node
        self._channels = channels
        self._clock = clock
        self._stopping = trio.CancelScope()

    async def run(self, ready: Callable[[], None]) -> None:
        """Look through one channel after the other."""
        ready()
        with self._stopping:
            for channel, (name, platform) in self._channels.items():
                await self._finish(channel, f"{name} {platform.rule}", platform)

    def stop(self) -> None:
        """End. What is written down stands, and the next start goes on from there."""
        self._stopping.cancel()

    async def _finish(self, channel: str, rule: str, platform: Platform) -> None:
        """Look through a channel until it is done, as far as it goes at a time."""
        done = False
        while not done:
            pause = WAIT
            try:
                done = await self._look_through(channel, rule, platform)
            except (LinkLost, LinkDown) as error:
                log.debug("tokens are looked through later", channel=channel, error=str(error))
            except VerbRefused as error:
                pause = REFUSED
                log.warning("tokens are looked through later", channel=channel, error=error.text)
            if not done:
                await trio.sleep(pause)

    async def _look_through(self, channel: str, rule: str, platform: Platform) -> bool:
        after: str | None = None
        strange = pages = 0
        looked = False
        while True:
            page = await self._store.tokens_page(channel, rule, self._node, after, ROWS, self._clock())
            if page.state != "page":
                if page.state == "done" and looked:
                    await self._say(channel)
                return page.state == "done"
            looked = True
            changes, bad = rewritten(page.rows, platform)
            ended = len(page.rows) < ROWS
            strange += bad
            pages += 1
            upto = page.rows[-1][1] if page.rows else after or page.since
            if changes or ended or pages >= WRITE_EVERY:
                if not await self._write(channel, rule, (page.since, upto, ended), changes, strange):
                    return False
                strange = pages = 0
            after = upto
            await trio.sleep(PACE)

    async def _write(
        self,
        channel: str,
        rule: str,
        span: tuple[str, str, bool],
        changes: Sequence[tuple[int, str, str]],
        strange: int,
    ) -> bool:
        """Rewrite some in a call; with the last it is written down how far the walk is. False: not now, or not ours."""
        while True:
            some, changes = changes[:REWRITTEN], changes[REWRITTEN:]
            reached, found = ((span[0], span[0], False), 0) if changes else (span, strange)
            now = self._clock()
            if await self._store.tokens_write(channel, rule, self._node, reached, some, found, now) != "written":
                return False
            if not changes:
                return True
            await trio.sleep(PACE)

    async def _say(self, channel: str) -> None:
        found = (await self._store.tokens_report())[channel]
        log.info(
            "the tokens of a channel are in one form",
            channel=channel,
            rewritten=found.normalised,
            merged=found.merged,
            no_tokens=found.strange,
        )


def rewritten(rows: Sequence[tuple[int, str, str]], platform: Platform) -> tuple[list[tuple[int, str, str]], int]:
    """Which of these (id, token, kind) are to be rewritten: (id, old, new); and how many hold no token at all. Pure."""
    changes: list[tuple[int, str, str]] = []
    strange = 0
    for kind in {row[2] for row in rows}:
        some = [row for row in rows if row[2] == kind]
        old = [row[1] for row in some]
        if platform.tokens(kind, old) is old:
            continue
        for id, text, _ in some:
            try:
                new = platform.token(kind, text)
            except TokenError:
                strange += 1
                continue
            if new != text:
                changes.append((id, text, new))
    return changes, strange
