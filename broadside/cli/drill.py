"""``broadside drill``: rehearses the whole base against simulators."""

from __future__ import annotations

import time
from typing import Annotated

from cyclopts import App, Parameter

from broadside.api.drill_records import DrillRecord, DrillRequest
from broadside.api.report_text import moment
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import complain, say, say_json, table

_EPILOGUE = """\
Examples:
    broadside drill               now, and wait for its end
    broadside drill --report      the last drills, with what was foreseen

A drill walks the whole base over all nodes, workers and tubes. Its pushes go to
simulators on the nodes' own machines, which answer as the providers did lately.
No phone hears of it, and no provider. It waits while a campaign is being sent.
It needs [drill] in broadside.toml, which can also name a time of the day."""


def register(app: App) -> None:
    """Add the command."""
    app.command(drill, help_epilogue=_EPILOGUE)


def drill(
    *,
    report: Annotated[bool, Parameter(help="Show the last drills, and start none.")] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Rehearse the whole base against simulators; the exit code is 1 if it was slow, or did not come to its end."""
    with client(config, data) as node:
        if report:
            found = node.call(routes.DRILLS)
            if json:
                say_json(found)
                return 0
            _table(found.items)
            if found.next_at is not None:
                say(f"\nthe next one starts by itself {moment(found.next_at)}")
            return 0
        began = node.call(routes.DRILL_START, DrillRequest())
        complain(f"drill {began.id}: {began.phones:,} phones; no phone hears of it")
        now = began
        while now.state in ("firing", "pausing", "paused", "cancelling"):
            time.sleep(0.5)
            now = next((each for each in node.call(routes.DRILLS).items if each.id == began.id), now)
    if json:
        say_json(now)
    else:
        _table([now])
        if now.slower:
            say(f"\nslow: {now.slower}")
    return 0 if now.state == "done" and not now.slower else 1


def _table(drills: list[DrillRecord]) -> None:
    if not drills:
        complain("no drill yet (broadside drill)")
        return
    columns = ("id", "state", "by", "fired", "phones", "seconds", "foreseen", "pushes/s", "note")
    rows = [
        [
            each.id,
            each.state,
            each.by,
            moment(each.fired_at),
            each.phones,
            each.seconds,
            None if each.forecast is None else round(each.forecast, 1),
            round(each.rate),
            each.slower or ("it waited for campaigns" if each.yielded else ""),
        ]
        for each in drills
    ]
    table(columns, rows)
