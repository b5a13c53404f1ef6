"""An API over a newsroom, without the processes of a node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from broadside.access.audit import Audit
from broadside.access.keyring import Keyring
from broadside.access.sessions import Sessions
from broadside.api.alarm import Alarm
from broadside.config.config import Channel, Config
from broadside.config.put_channels import PutChannels
from broadside.console.access_routes import Access
from broadside.console.admission import Admission
from broadside.console.host_names import HostNames
from broadside.console.metrics import Metrics, NodeFigures, WorkerFigures
from broadside.console.routes import Api
from broadside.errors import ConfigError, Problem
from broadside.newsroom.alarm_board import AlarmBoard
from broadside.newsroom.channel_desk import ChannelDesk, Edit
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from campaigns.channel_figures import ChannelFigures
from campaigns.clock import Clock, wall_clock
from storage.access import AccessStore
from storage.link import Link
from transports.load import Load


def api_of(
    newsroom: Newsroom,
    ring: Ring,
    link: Link,
    key: str,
    status: Callable[[], dict[str, Any]] = lambda: {"node": "n1"},
    own: Callable[[], list[Alarm]] = list,
    access: Access | None = None,
) -> Api:
    """The API of a node that serves. ``own``: what this node knows to be wrong."""
    board = AlarmBoard(newsroom, ring, own)
    metrics = Metrics(newsroom, board, figures)
    hosts = HostNames(["node", "x"])
    access = access or access_of(link, key)

    async def probe() -> int:
        return 1

    parts: dict[str, Any] = {"status": status, "board": board, "metrics": metrics, "hosts": hosts, "probe": probe}
    parts["channels"] = desk_of(newsroom)
    return Api(newsroom, ring, access, ready=lambda: True, **parts)


def desk_of(newsroom: Newsroom) -> ChannelDesk:
    """A desk of which no channel is put: the node has those of its file."""
    channels = {
        name: Channel(platform=platform, app="app") for name, platform in newsroom.device_tokens.channels.items()
    }

    async def change(edit: Edit) -> list[str]:
        edit({})
        raise ConfigError([Problem("channels", "this node takes no further channel", "ask another")])

    return ChannelDesk(PutChannels(Path("/nowhere")), lambda: Config(channels=channels), change)


def access_of(link: Link, key: str, clock: Clock = wall_clock) -> Access:
    """Keys, sessions and the audit in a store, and the node's own key."""
    store, own = AccessStore(link), [key]
    keyring = Keyring(store, "n1", lambda: own[0], lambda: own.append(f"{own.pop()}'"), clock)
    sessions = Sessions(store, keyring, clock)
    return Access(
        keyring=keyring,
        sessions=sessions,
        audit=Audit(store, "n1", clock),
        admission=Admission(keyring, sessions, "broadside-8765"),
        url=lambda: "http://node",
    )


def figures() -> NodeFigures:
    """The figures of a node with one worker, which has sent five pushes in one batch of 0.3 s."""
    ios = ChannelFigures(outcomes={"delivered": 5})
    ios.answered(0.3)
    worker = WorkerFigures(serving=True, starts=1, cpu=1.5, stages={"send": 0.5}, rss=1 << 20, tasks=7)
    return NodeFigures(
        name="n1",
        version="1",
        ready=True,
        cpu=2.0,
        rss=2 << 20,
        tasks=9,
        workers={"worker-1": worker},
        channels={"ios": ios},
        loads={"ios": Load(3, 16, by_window=2).plus(Load(2, 16, by_window=1, by_streams=1))},
    )
