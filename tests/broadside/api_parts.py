"""An API over a newsroom, without the processes of a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broadside.api.alarm import Alarm
from broadside.console.metrics import Metrics, NodeFigures, WorkerFigures
from broadside.console.routes import Api
from broadside.newsroom.alarm_board import AlarmBoard
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from campaigns.channel_figures import ChannelFigures


def api_of(
    newsroom: Newsroom,
    ring: Ring,
    key: str,
    status: Callable[[], dict[str, Any]] = dict,
    own: Callable[[], list[Alarm]] = list,
) -> Api:
    """The API of a node that serves. ``own``: what this node knows to be wrong."""
    board = AlarmBoard(newsroom, ring, own)
    metrics = Metrics(newsroom, ring, board, figures)
    return Api(newsroom, ring, key, ready=lambda: True, status=status, board=board, metrics=metrics)


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
    )
