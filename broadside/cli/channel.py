"""``broadside channel``: adds, changes and removes channels of the running node."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import msgspec
from cyclopts import App, Parameter

from broadside.api.channel_records import ChannelChanged, ChannelCredentials
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import say, say_json, table
from broadside.config import strict_toml
from broadside.errors import UsageError, shown

_EPILOGUE = """\
Examples:
    broadside channel list
    broadside channel put ios-sport sport.toml
    broadside channel rotate rustore-sport --credential service_token=new.token
    broadside channel rotate rustore-sport     the same file, which has changed
    broadside channel remove ios-sport

sport.toml has what [channels.ios-sport] of broadside.toml would have, without
that line. Files of credentials lie in the folder `credentials` of the data
folder, and are named as from there. A change applies at once, to this node
alone: in a ring, say it to each node. Other channels are not disturbed, and
channels of broadside.toml are changed there."""

ChannelName: TypeAlias = Annotated[str, Parameter(help="The channel's name, such as ios-sport.")]


def register(app: App) -> None:
    """Add the group."""
    group = App(name="channel", help="Add, change and remove channels of the running node.", help_epilogue=_EPILOGUE)
    group.command(list_, name="list")
    group.command(put)
    group.command(rotate)
    group.command(remove)
    app.command(group)


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """List this node's channels, and where each comes from."""
    with client(config, data) as node:
        found = node.call(routes.CHANNELS)
    if json:
        say_json(found)
        return 0
    rows = [[name, each.platform, each.app, "API" if each.by_api else "file"] for name, each in found.channels.items()]
    table(("channel", "platform", "app", "from"), rows)
    return 0


def put(
    channel: ChannelName,
    settings: Annotated[Path, Parameter(help="A TOML file with the channel's settings.")],
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Add a channel, or change one that was added so. A repeat changes nothing."""
    written = msgspec.json.encode(strict_toml.parse(settings))
    with client(config, data) as node:
        return _say(node.call(routes.CHANNEL_PUT, written, channel=channel, timeout=180.0), json)


def rotate(
    channel: ChannelName,
    /,
    *,
    credential: Annotated[
        tuple[str, ...],
        Parameter(help="NAME=VALUE: all of the new entries; repeat it. Without one the same files are read anew."),
    ] = (),
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Replace a channel's credentials. What is on its way is settled before."""
    entries: dict[str, str] = {}
    for given in credential:
        name, equals, value = given.partition("=")
        if not name or not equals or not value:
            raise UsageError(f"--credential: {shown(given)} is not NAME=VALUE (as in key_id=NEWKEY0001)")
        entries[name] = value
    with client(config, data) as node:
        wanted = ChannelCredentials(credentials=entries)
        return _say(node.call(routes.CHANNEL_ROTATE, wanted, channel=channel, timeout=180.0), json)


def remove(
    channel: ChannelName,
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Remove a channel that was added so, unless a campaign under way goes to it. Its subscribers stay."""
    with client(config, data) as node:
        return _say(node.call(routes.CHANNEL_REMOVE, channel=channel, timeout=180.0), json)


def _say(found: ChannelChanged, json: bool) -> int:
    if json:
        say_json(found)
    else:
        say("\n".join(found.changed) or f"{found.channel}: nothing to change")
    return 0
