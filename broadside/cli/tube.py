"""``broadside tube``: what lies on a node's tubes."""

from __future__ import annotations

import sys
from typing import Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import complain, say, say_json, table
from campaigns.identity import campaign_text
from storage.records import REFUSALS, TASK_FIELDS

_EPILOGUE = """\
Examples:
    broadside tube list
    broadside tube buried ios-news
    broadside tube kick ios-news --count 10
    broadside tube bury --end ios-news

A batch is buried when nobody can read it, when three crashes were blamed on
it, when its result cannot be written, or when five takes of it ended in
nothing: `tube buried` says why, and whom it may have reached. `tube kick`
puts it back on its tube once the cause is mended; what may have been sent is
then sent again. `tube bury --end` rejects its recipients, so that their
campaigns can be done; when the news expires this happens by itself."""

_STATES = ("ready", "taken", "delayed", "buried", "total")
ChannelName: TypeAlias = Annotated[str, Parameter(help="A channel of this node, as in ios-news.")]


def register(app: App) -> None:
    """Add the group."""
    group = App(name="tube", help="Look at the node's tubes, and decide about what is buried.", help_epilogue=_EPILOGUE)
    group.command(list_, name="list")
    group.command(buried)
    group.command(kick)
    group.command(bury)
    app.command(group)


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """List the tubes with their tasks by state."""
    with client(config, data) as node:
        found = node.tubes()
    if json:
        say_json(found)
        return 0
    tubes: dict[str, dict[str, int]] = found["tubes"]
    table(
        ("tube", *_STATES),
        [[name, *(tasks.get(state, 0) for state in _STATES)] for name, tasks in sorted(tubes.items())],
    )
    say(f"\n{found['parked']:,} batches parked for paused campaigns, {found['outbox']:,} lines owed to the store")
    return 0


def buried(
    channel: ChannelName,
    /,
    *,
    limit: Annotated[int, Parameter(help="Show at most so many.")] = 100,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Show a channel's buried batches."""
    with client(config, data) as node:
        tasks = node.buried(channel, limit)
    if json:
        say_json({"buried": tasks})
    elif tasks:
        head = ("task", "campaign", "segment", "page", "attempt", "crashes", "maybe sent", "why")
        table(head, [_row(task) for task in tasks])
    else:
        complain(f"nothing is buried on {channel}")
    return 0


def kick(
    channel: ChannelName,
    /,
    *,
    count: Annotated[int, Parameter(help="Bring back at most so many, the oldest first.")] = 1,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask, even if phones may get their push again.")] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Put buried batches back onto their tube."""
    if json and not yes:
        complain("with --json nobody is asked: say --yes, and what may have been sent is sent again")
        return 2
    with client(config, data) as node:
        again = 0 if yes else sum(task["maybe_sent"] for task in node.buried(channel, min(max(count, 0), 1000)))
        if again and not _agreed(f"up to {again:,} phones may have this push already, and would get it again"):
            complain("nothing was brought back")
            return 1
        kicked = node.kick(channel, count)
    if json:
        say_json({"kicked": kicked})
    else:
        say(f"{kicked:,} of {channel}'s buried batches are back on the tube")
    return 0


def bury(
    channel: ChannelName,
    /,
    *,
    end: Annotated[bool, Parameter(negative="", help="Reject the recipients of all that is buried.")] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """End a channel's buried batches now: their recipients are rejected, and their campaigns can be done."""
    if not end:
        complain("say --end: batches are buried by themselves, and this ends them")
        return 2
    ended = {"batches": 0, "recipients": 0}
    with client(config, data) as node:
        while (more := node.end_buried(channel))["batches"]:
            ended = {name: ended[name] + more[name] for name in ended}
    if json:
        say_json(ended)
    else:
        say(f"{ended['batches']:,} of {channel}'s buried batches are over, {ended['recipients']:,} recipients rejected")
    return 0


def _agreed(warning: str) -> bool:
    """Ask a person on the terminal. Nobody there: no."""
    if not sys.stdin.isatty():
        complain(f"{warning} (say --yes)")
        return False
    return input(f"{warning}. Bring them back all the same? [y/N] ").strip().lower() in ("y", "yes")


def _row(task: dict[str, Any]) -> list[object]:
    data, end = task["data"], [task["crashes"], task["maybe_sent"], task["why"]]
    if isinstance(data, list) and len(data) == TASK_FIELDS - 1 and isinstance(data[1], int):
        return [task["id"], campaign_text(data[1]), data[3], data[4], data[6] % REFUSALS, *end]
    return [task["id"], "-", "-", "-", "-", *end]
