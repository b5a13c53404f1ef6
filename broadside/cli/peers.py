"""``broadside peers``: lists the nodes of the ring, and forgets one."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import say, say_json, table

_EPILOGUE = """\
Examples:
    broadside peers list
    broadside peers forget node-2

Forget a node if its server is lost, or if you take it out of the ring: the
others then walk its unfinished pages again. A node that only restarts need not
be forgotten: it continues by itself."""


def register(app: App) -> None:
    """Add the group."""
    group = App(name="peers", help="List the nodes of the ring, and forget a lost one.", help_epilogue=_EPILOGUE)
    group.command(list_, name="list")
    group.command(forget)
    app.command(group)


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """List every node that has ever joined."""
    with client(config, data) as node:
        peers = node.call(routes.PEERS).items
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
            "may run" if peer.leased else "run out",
            peer.unsettled_pages,
        ]
        for peer in peers
    ]
    table(columns, rows)
    return 0


def forget(
    name: Annotated[str, Parameter(help="The node's name, as `peers list` shows it.")],
    /,
    *,
    force: Annotated[bool, Parameter(help="Forget it even if it was seen in the last 10 seconds.")] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Take a node out of the ring: the others walk its unfinished pages again. It may join again later."""
    with client(config, data) as node:
        answer = node.call(routes.FORGET, query=routes.ForgetQuery(force=force), name=name)
    if json:
        say_json(answer)
    else:
        say(answer.message)
    return 0
