"""The content guard: nobody sends the same text to the same phones twice within half an hour by mistake.

The store decides it, in the transaction that fires (``repeats.lua``).
"""

from __future__ import annotations

from broadside.api.campaign_report import FireRequest
from broadside.api.report_text import instant, span
from broadside.errors import NeedsYes, Problem, shown
from campaigns.guards import Guards
from campaigns.identity import campaign_text
from campaigns.same_text import fingerprints
from storage.errors import Repeats
from storage.records import TextGuard


def text_guard(request: FireRequest, guards: Guards) -> TextGuard | None:
    """Return what the store is to look for; None: nothing, for the guard is off or the message has no words."""
    texts = fingerprints(request.message) if guards.repeat else []
    return TextGuard(texts, guards.repeat * 1000, again=request.again is True) if texts else None


def same_again(repeats: Repeats, request: FireRequest, now: int, zone: str | None) -> NeedsYes:
    """Return the refusal of a request that repeats another campaign. ``now``: ms UTC; ``zone``: the newsroom's."""
    first, value = campaign_text(repeats.campaign), shown(request.message.title or request.message.body, 40)
    ago = (now - repeats.at) / 1000
    when = f"went out {span(max(ago, 0.1))} ago" if ago >= 0 else f"goes out at {instant(repeats.at, zone)}"
    what = f"the same text {when}, as campaign {first}: phones on the same channels would show it twice"
    remedy = f"look at it (campaign show {first}), or say yes: again (fire --again)"
    return NeedsYes(Problem("message", f"{value}: {what}", remedy, value), "again", first)
