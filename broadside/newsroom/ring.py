"""The ring for its operator: lists the nodes, shows what runs in them, and forgets one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from broadside.api.node_status import MemoryUse
from broadside.api.operations import Forgotten, PeerReport
from broadside.api.ring_state import NodeState, RingNode, RingState, read_state
from broadside.errors import Conflict, shown
from campaigns.channel_state import LONGEST
from campaigns.clock import Clock, wall_clock
from storage.errors import StorageError
from storage.records import NodeRow
from storage.store import Store

RECENTLY = 10.0
"""A node may not be forgotten for this many seconds after its last heartbeat, unless that is insisted on."""
AWAY = 15.0
"""Seconds without a heartbeat after which a node is away: its lease of 10 s has run out by then."""


class Ring:
    """Lists and forgets nodes. ``node``: the name of this node; ``own``: what runs in it."""

    def __init__(
        self,
        *,
        store: Store,
        node: str,
        clock: Clock = wall_clock,
        own: Callable[[], Awaitable[NodeState]] | None = None,
    ) -> None:
        self._store = store
        self._node = node
        self._clock = clock
        self._own = own

    async def peers(self) -> list[PeerReport]:
        """Return every node that has ever joined."""
        now = self._clock()
        return [self._report(row, now) for row in await self._store.node_list()]

    async def state(self, *, quietly: bool = False) -> RingState:
        """Return what runs in every node. While the store is away, only this node is known.

        ``quietly``: without what costs something to count.
        """
        own = None if self._own is None else await self._own()
        try:
            rows = await self._store.node_list()
            written = {each.name: each for each in await self._store.node_states(quietly=quietly)}
            standing = await self._store.channel_states()
            memory = await self._store.memory()
        except StorageError as error:
            alone = RingNode(name=self._node, this=True, status="alive", state=own, told_at=self._clock())
            return RingState(store=str(error)[:LONGEST], nodes=[alone])
        now = self._clock()
        nodes = []
        for row in sorted(rows, key=lambda row: row.name):
            this, words = row.name == self._node, written.get(row.name)
            node = RingNode(
                name=row.name,
                this=this,
                status=self._status(row, now),
                epoch=row.epoch,
                seen_at=row.seen_at,
                leased=row.leased,
                unsettled_pages=row.unsettled,
                state=own if this else read_state(words.text) if words else None,
                told_at=now if this and own else words.at if words else None,
                standing=[each for each in standing if each.node == row.name],
            )
            nodes.append(node)
        return RingState(nodes=nodes, memory={"store": MemoryUse(memory.used, memory.size)})

    def _status(self, row: NodeRow, now: int) -> str:
        if row.status != "current":
            return row.status
        return "away" if now - row.seen_at > 1000 * AWAY and row.name != self._node else "alive"

    def _report(self, row: NodeRow, now: int) -> PeerReport:
        return PeerReport(
            name=row.name,
            queue=row.uuid,
            epoch=row.epoch,
            status=row.status,
            seen_at=row.seen_at,
            seconds_ago=max(0, now - row.seen_at) / 1000,
            leased=row.leased,
            unsettled_pages=row.unsettled,
            this=row.name == self._node,
        )

    async def forget(self, name: str, force: bool = False) -> Forgotten:
        """Fence a node and give its unfinished pages to the others. Raises ``Conflict`` if that is likely a mistake."""
        peers = {peer.name: peer for peer in await self.peers()}
        peer = peers.get(name)
        if peer is None:
            known = ", ".join(sorted(peers)) or "none"
            raise Conflict(f"no node {shown(name)} has ever joined", f"known: {known}", missing=True)
        others = [other for other in peers.values() if other.name != name and other.status == "current"]
        if peer.this and not others:
            raise Conflict(f"{name} is the only node: nobody could go on with its pages", "start another one first")
        if peer.status == "current" and peer.seconds_ago < RECENTLY and not force:
            what = f"{name} was seen {peer.seconds_ago:.0f} s ago: it is probably alive"
            raise Conflict(what, "stop it first, or forget it anyway with --force")
        status = await self._store.node_forget(name)
        return Forgotten(
            name=name,
            status=str(status),
            epoch=peer.epoch,
            unsettled_pages=peer.unsettled_pages,
            message=_consequence(name, str(status), peer.unsettled_pages),
        )


def _consequence(name: str, status: str, pages: int) -> str:
    """Describe what now happens to the node's unfinished pages."""
    back = f"If {name} comes back it empties its tubes and joins again."
    if not pages:
        return f"{name} is {status}; it has no unfinished pages. {back}"
    what = f"{pages:,} unfinished page{'' if pages == 1 else 's'}"
    whose = "is walked again by the other nodes" if pages == 1 else "are walked again by the other nodes"
    again = "Recipients whose outcome it had not reported get the push again, under the same collapse id."
    if status == "fenced":
        return (
            f"{name} is fenced: it claims nothing more. Within about 11 s its last lease ends; then its {what} "
            f"{whose}, except for batches it has reported as settled. {again} {back}"
        )
    return f"{name} is forgotten: its {what} {whose}, except for batches it had reported as settled. {again} {back}"
