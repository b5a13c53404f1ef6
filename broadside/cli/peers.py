"""``broadside peers``: the nodes of the ring."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import say, say_json, table

_EPILOGUE = """\
Examples:
    broadside peers list
    broadside peers forget node-2

Forget a node whose server is lost, or that is taken out of the ring: its
unfinished pages are walked again by the others. A node that only restarts
needs none of this: it goes on by itself."""


def register(app: App) -> None:
    """Add the group."""
    group = App(name="peers", help="Show the nodes of the ring, and forget one that is lost.", help_epilogue=_EPILOGUE)
    group.command(list_, name="list")
    group.command(forget)
    app.command(group)


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """List every node that ever joined."""
    with client(config, data) as node:
        peers = node.peers()
    if json:
        say_json({"peers": peers})
        return 0
    columns = ("node", "queue", "epoch", "status", "seen", "lease", "unsettled pages")
    rows = [
        [
            peer.name + (" (this)" if peer.this else ""),
            peer.queue,
            peer.epoch,
            peer.status,
            f"{peer.seconds_ago:,.0f} s ago",
            "may hold" if peer.leased else "run out",
            peer.unsettled_pages,
        ]
        for peer in peers
    ]
    table(columns, rows)
    return 0


def forget(
    name: Annotated[str, Parameter(help="The node's name, as peers list shows it.")],
    /,
    *,
    force: Annotated[bool, Parameter(help="Also a node that was seen within the last seconds.")] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Take a node out of the ring: the others walk its unfinished pages again. It may join anew."""
    with client(config, data) as node:
        answer = node.forget(name, force)
    if json:
        say_json(answer)
    else:
        say(answer.message)
    return 0
