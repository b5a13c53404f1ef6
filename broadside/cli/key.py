"""``broadside key``: makes, lists and revokes keys of the API, and links that log a browser in."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import App, Parameter

from broadside.api.access_records import KeyRecord, KeyRequest
from broadside.api.report_text import moment
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import complain, say, say_json, table

_EPILOGUE = """\
Roles:
    viewer     sees campaigns and the node
    editor     the same, and composes, fires and stops
    approver   the same, and approves what is too large for an editor alone
    operator   everything: channels, tubes, nodes, subscribers, keys
    app        registers and unregisters subscribers, and sees nothing

Examples:
    broadside key add Ana --role editor --channel ios-news --kind breaking --days 90
    broadside key add backend --role app
    broadside key list
    broadside key revoke k3xm4taq
    broadside key revoke local    this node's own key (var/api.key) is made anew
    broadside key link            a link that logs a browser in, once
    broadside key certificates    the public key that certificates are verified with

A key is shown once, and stored as a hash. A revoked key is refused within 5 s
on every node, and its sessions and streams end."""


def register(app: App) -> None:
    """Add the group."""
    group = App(name="key", help="Make, list and revoke keys of the API; log a browser in.", help_epilogue=_EPILOGUE)
    group.command(add)
    group.command(list_, name="list")
    group.command(revoke)
    group.command(link)
    group.command(certificates)
    app.command(group)


def add(
    name: Annotated[str, Parameter(help="Whose it is: a person, a program.")],
    /,
    *,
    role: Annotated[str, Parameter(help="viewer, editor, approver, operator or app.")],
    channel: Annotated[tuple[str, ...], Parameter(help="A channel that it may fire at; repeat it. Default: all.")] = (),
    kind: Annotated[tuple[str, ...], Parameter(help="A kind that it may fire; repeat it. Default: all.")] = (),
    most: Annotated[int | None, Parameter(help="The largest audience that it may fire at.")] = None,
    days: Annotated[int | None, Parameter(help="Days until it expires. Default: never.")] = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Make a key. It is shown this once."""
    wanted = KeyRequest(
        name=name, role=role, channels=list(channel) or None, kinds=list(kind) or None, most=most, days=days
    )
    with client(config, data) as node:
        made = node.call(routes.KEY_ADD, wanted)
    if json:
        say_json(made)
    else:
        say(made.key)
        complain(f"key {made.record.id} for {name} ({role}): keep it safe, it is not shown again")
    return 0


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """List all keys, the newest first; never a secret."""
    with client(config, data) as node:
        found = node.call(routes.KEYS)
    if json:
        say_json(found)
        return 0
    table(("id", "name", "role", "channels", "kinds", "at most", "last used", "state"), map(_row, found.keys))
    return 0


def revoke(
    id: Annotated[str, Parameter(help="The key's id, as `key list` shows it; local: this node's own.")],
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Revoke a key: it is refused within 5 s, and its sessions and streams end."""
    with client(config, data) as node:
        gone = node.call(routes.KEY_REVOKE, key_id=id)
    if json:
        say_json(gone)
    else:
        say(f"{gone.name}'s key {gone.id} is revoked")
    return 0


def link(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Make a link that logs one browser in as this node's own key, once, within ten minutes."""
    with client(config, data) as node:
        made = node.call(routes.KEY_LINK)
    if json:
        say_json(made)
        return 0
    say(made.url)
    if sys.stdout.isatty():
        complain("it holds once, for ten minutes; whoever opens it may do everything")
    return 0


def _row(key: KeyRecord) -> list[object]:
    state = "revoked" if key.revoked_at is not None else "holds"
    if key.revoked_at is None and key.expires_at is not None:
        state = f"until {moment(key.expires_at)}"
    names = [", ".join(each) if each is not None else "all" for each in (key.channels, key.kinds)]
    return [key.id, key.name, key.role, *names, key.most, None if key.used_at is None else moment(key.used_at), state]


def certificates(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Print the public key that certificates are verified with, as PEM."""
    with client(config, data) as node:
        found = node.call(routes.CERTIFICATE_KEY)
    if json:
        say_json(found)
    else:
        say(found.public.rstrip("\n"))
        complain(f"key {found.key}, made {moment(found.created_at)}")
    return 0
