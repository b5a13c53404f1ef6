"""``broadside campaign explain``: why did this phone not get it?"""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from broadside.api.explain_records import Explanation, question
from broadside.api.report_text import moment
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, campaign_id, client
from broadside.cli.output import say, say_json


def explain(
    id: Annotated[str, Parameter(help="The campaign's 13 characters, as `campaign list` shows them.")],
    who: Annotated[
        str,
        Parameter(
            help="The phone's token, also a former one, or its subscriber's id; `-`: read the token from standard "
            "input, so that it is in no list of processes and in no shell's history."
        ),
    ],
    /,
    *,
    channel: Annotated[str | None, Parameter(help="Only on this channel: two may have the same token.")] = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Say what became of one phone in a campaign, and why."""
    text = sys.stdin.readline().strip() if who == "-" else who.strip()
    with client(config, data) as node:
        found = node.call(routes.EXPLAIN, question(text, channel), id=campaign_id(id))
    if json:
        say_json(found)
        return 0
    for n, each in enumerate(found.items):
        if n:
            say("")
        _say(each)
    return 0


def _say(found: Explanation) -> None:
    say(found.sentence)
    for note in found.notes:
        say(f"note: {note}")
    lines = {
        "fate": found.fate.replace("_", " ") + ("" if found.certain else " (not certain)"),
        "subscriber": found.subscriber,
        "channel": found.channel,
        "token": found.token,
        "page": None if found.page is None else f"{found.page} of segment {found.segment}, walked by {found.node}",
        "batch": found.batch,
        "attempts": found.attempts,
        "held until" if found.fate == "held" else "next try": None if found.until is None else moment(found.until),
        "zone": None if found.zone is None else f"{found.zone}, window class {found.window_class}",
        "due": None if found.due is None else moment(found.due),
        "left": None if found.left_at is None else moment(found.left_at),
        "replaced": None if found.replaced_at is None else moment(found.replaced_at),
        "message id": found.message_id,
    }
    for name, value in lines.items():
        if value is not None:
            say(f"{name:<11} {value}")
    for answer in found.answers:
        when = f"attempt {answer.attempt}, {answer.node}, {moment(answer.at)}"
        say(f"answer      {answer.outcome}: {answer.reason}, {when}")
