"""Asks the newsroom's site how loaded it is."""

from __future__ import annotations

import json
import math

from broadside.errors import RecordError
from broadside.outward.guarded_web import GuardedWeb, LinkUnread
from campaigns.herd import OVERLOADED, WORST

WITHIN = 2.0
"""Seconds for the answer; a later one is that of an overloaded site."""
SLOW = 1.0
"""Seconds of an answer that count as a load of 1, where the page shows no number."""


class HealthReader:
    """``url``: a page that shows a number, ``{"load": 0.4}`` or ``0.4``: 1 is all that the site bears.

    Without a number, the answer's time is the load: one second is 1. An error of the server, or none within two
    seconds, is an overload.
    """

    def __init__(self, url: str, web: GuardedWeb) -> None:
        self._url = url
        self._web = web

    async def read(self) -> tuple[float | None, str]:
        """Return the load, and what was said; None: the site was not reached, which says nothing of its load."""
        try:
            answer = await self._web.ask("GET", self._url, within=WITHIN, headers=[("accept", "application/json, */*")])
        except LinkUnread as error:
            if error.late:
                return OVERLOADED, f"no answer within {WITHIN:g} s"
            return None, f"not reached: {error.why}"
        except RecordError as error:
            return None, str(error)
        if answer.status in (408, 425, 429) or answer.status >= 500:
            return OVERLOADED, f"answers {answer.status}"
        if answer.status >= 300:
            return None, f"answers {answer.status}"
        load = _number(answer.body)
        if load is not None:
            return load, f"says {load:.2f}"
        return answer.seconds / SLOW, f"answers in {answer.seconds * 1000:.0f} ms"


def _number(body: bytes) -> float | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(found, dict):
        found = found.get("load")
    if isinstance(found, bool) or not isinstance(found, int | float) or not math.isfinite(found) or found < 0:
        return None
    return min(float(found), WORST)
