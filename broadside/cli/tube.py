"""``broadside tube``: lists a node's tubes, and kicks or ends buried batches."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

from cyclopts import App, Parameter

from broadside.api.api_client import Client
from broadside.api.operations import BuriedBatch, EndedBatches
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import agreed, complain, say, say_json, table

_EPILOGUE = """\
Examples:
    broadside tube list
    broadside tube buried ios-news
    broadside tube kick ios-news --count 10
    broadside tube bury --end ios-news

A batch is buried if it cannot be read, if its result cannot be written, if its
handler crashed three times, or if a worker died or hung five times with the
batch in hand. `tube buried` shows why, and how many phones may have been sent
to. Once the cause is fixed, `tube kick` puts the batch back on its tube; pushes
that may have been sent are then sent again. `tube bury --end` rejects the
batch's recipients, so that their campaigns can finish; this happens by itself
when the news expires."""

_STATES = ("ready", "taken", "delayed", "buried", "total")
ChannelName: TypeAlias = Annotated[str, Parameter(help="A channel of this node, such as ios-news.")]


def register(app: App) -> None:
    """Add the group."""
    group = App(name="tube", help="Show the node's tubes, and kick or end buried batches.", help_epilogue=_EPILOGUE)
    group.command(list_, name="list")
    group.command(buried)
    group.command(kick)
    group.command(bury)
    app.command(group)


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """List the tubes, with the number of tasks in each state."""
    with client(config, data) as node:
        found = node.call(routes.TUBES)
    if json:
        say_json(found)
        return 0
    table(
        ("tube", *_STATES),
        [[name, *(tasks.get(state, 0) for state in _STATES)] for name, tasks in sorted(found.tubes.items())],
    )
    say(f"\n{found.parked:,} batches parked for paused campaigns, {found.outbox:,} reports not yet in the store")
    return 0


def buried(
    channel: ChannelName,
    /,
    *,
    limit: Annotated[int, Parameter(help="Show at most this many.")] = 100,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Show a channel's buried batches."""
    with client(config, data) as node:
        tasks = _buried(node, channel, limit)
    if json:
        say_json({"buried": tasks})
    elif tasks:
        head = ("task", "campaign", "segment", "page", "attempt", "crashes", "maybe sent", "why")
        table(head, [_row(task) for task in tasks])
    else:
        complain(f"no batch is buried on {channel}")
    return 0


def kick(
    channel: ChannelName,
    /,
    *,
    count: Annotated[int, Parameter(help="Put back at most this many, the oldest first.")] = 1,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask, even if phones may get the push again.")] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Put buried batches back on their tube."""
    if json and not yes:
        complain("--json cannot ask: add --yes, and pushes that may have been sent are sent again")
        return 2
    with client(config, data) as node:
        again = 0 if yes else sum(task.maybe_sent for task in _buried(node, channel, min(count, 1000)))
        if again and not _agreed(f"up to {again:,} phones may have this push already, and would get it again"):
            complain("nothing was put back")
            return 1
        kicked = node.call(routes.KICK, query=routes.KickQuery(count=count), channel=channel).kicked
    if json:
        say_json({"kicked": kicked})
    else:
        say(f"{kicked:,} of {channel}'s buried batches are back on the tube")
    return 0


def bury(
    channel: ChannelName,
    /,
    *,
    end: Annotated[bool, Parameter(negative="", help="Reject the recipients of all buried batches.")] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """End a channel's buried batches now: their recipients are rejected, so that their campaigns can finish."""
    if not end:
        complain("add --end: Broadside buries batches by itself, and this command ends them")
        return 2
    ended = EndedBatches(0, 0)
    with client(config, data) as node:
        while (more := node.call(routes.END, channel=channel)).batches:
            ended = EndedBatches(ended.batches + more.batches, ended.recipients + more.recipients)
    if json:
        say_json(ended)
    else:
        say(f"{ended.batches:,} of {channel}'s buried batches ended, {ended.recipients:,} recipients rejected")
    return 0


def _agreed(warning: str) -> bool:
    """Ask for confirmation on the terminal. Without a terminal the answer is no."""
    if not sys.stdin.isatty():
        complain(f"{warning} (add --yes)")
        return False
    return agreed(f"{warning}. Put them back anyway?")


def _buried(node: Client, channel: str, most: int) -> list[BuriedBatch]:
    query = routes.BuriedQuery(limit=max(0, most))
    return node.call(routes.BURIED, query=query, channel=channel).items


def _row(task: BuriedBatch) -> list[object]:
    return [
        task.id,
        task.campaign,
        task.segment,
        task.page,
        task.attempt,
        task.crashes,
        task.maybe_sent,
        task.why,
    ]
