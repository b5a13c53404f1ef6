"""``broadside status``: everything that is wrong, with the remedy, how the node is, and the ring's channels."""

from __future__ import annotations

from cyclopts import App

from broadside.api.alarm import Alarm, Severity
from broadside.api.node_status import NodeStatus
from broadside.api.report_text import moment, span
from broadside.api.ring_state import ChannelFlow, RingState
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import say, say_in, say_json, table

_EPILOGUE = """\
Examples:
    broadside status
    broadside status --json

First comes what is wrong, the worst first, each with what to do about it;
docs/runbooks has a page for each name in [brackets]. The exit code is 1 if
anything is wrong that does not pass by itself."""

_STYLES = {Severity.CRITICAL: "bold red", Severity.WARNING: "yellow", Severity.NOTICE: "dim"}


def register(app: App) -> None:
    """Add the command."""
    app.command(status, help_epilogue=_EPILOGUE)


def status(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Show everything that is wrong, in plain words with the remedy; then the node, its memory, and the ring."""
    with client(config, data) as node:
        found = node.status()
        ring = None if json else node.call(routes.RING)
    wrong = [alarm for alarm in found.alarms if alarm.severity is not Severity.NOTICE]
    if json:
        say_json(found)
        return 1 if wrong else 0
    state = "serves" if found.ready else "does not serve"
    say(f"{found.node} {state}: {_count(len(wrong))}")
    for alarm in found.alarms:
        _show(alarm)
    say("")
    table(("process", "serves", "CPU s", "peak MB", "tasks"), _processes(found))
    say("")
    memory = [[name, each.used >> 20, each.size >> 20] for name, each in found.memory.items()]
    table(("server", "memory in use, MB", "of MB"), memory)
    if ring is not None:
        _show_ring(ring)
    return 1 if wrong else 0


def _count(wrong: int) -> str:
    if not wrong:
        return "nothing is wrong"
    return "one thing is wrong" if wrong == 1 else f"{wrong} things are wrong"


def _show(alarm: Alarm) -> None:
    word = alarm.severity.value
    since = "" if alarm.since is None else f" (since {moment(alarm.since)})"
    lines = [f"  {alarm.text}{since}", *([f"    {alarm.remedy}"] if alarm.remedy else [])]
    say_in(_STYLES[alarm.severity], f"{word} [{alarm.name.value}]")
    say("\n".join(lines))


def _show_ring(ring: RingState) -> None:
    said = [[each.name, each.status, each.state.version if each.state else None] for each in ring.nodes]
    say("")
    table(("node", "state", "version"), said)
    channels = [
        [node.name, flow.channel, flow.breaker, flow.rate, _connections(flow), _span(flow.p99)]
        for node in ring.nodes
        if node.state is not None and node.status == "alive"
        for flow in node.state.channels
    ]
    if channels:
        say("")
        table(("node", "channel", "breaker", "pushes/s", "connections", "99 % answered in"), channels)


def _connections(flow: ChannelFlow) -> str:
    return f"{flow.connections} of {flow.wanted}" if flow.connections < flow.wanted else str(flow.connections)


def _span(seconds: float | None) -> str | None:
    return None if seconds is None else f"{1000 * seconds:.0f} ms" if seconds < 1 else span(seconds)


def _processes(found: NodeStatus) -> list[list[object]]:
    rows: list[list[object]] = [["node", found.ready, None, found.rss >> 20, found.tasks]]
    for worker in found.workers:
        peak = None if worker.rss is None else worker.rss >> 20
        rows.append([worker.name, worker.serving, worker.cpu, peak, worker.tasks])
    return [[_yes(cell) for cell in row] for row in rows]


def _yes(cell: object) -> object:
    return ("yes" if cell else "no") if isinstance(cell, bool) else cell
