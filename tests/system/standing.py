"""The law of a standing channel, while a run goes on: who has work and sends nothing says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import trio

if TYPE_CHECKING:
    from tests.system.run import Run

STILL = 5.0
"""Seconds that a channel with work may do nothing without a reason."""
LOOK_EVERY = 0.5
_MOVES = ("delivered", "dead", "rejected", "expired", "retried")


async def watch(run: Run, campaign: str) -> None:
    """Look at the node until cancelled. What stands still for longer and gives no reason goes to ``run.standing``."""
    seen: dict[str, tuple[Any, float]] = {}
    while True:
        await trio.sleep(LOOK_EVERY)
        now = trio.current_time()
        try:
            status = await run.node.get("/v1/status", timeout=2.0)
            report = await run.node.get(f"/v1/campaigns/{campaign}", timeout=2.0)
        except (httpx.HTTPError, OSError, ValueError):
            seen.clear()  # who does not answer says nothing
            continue
        if status["queue"] is None:  # Tarantool is away: nobody knows what waits
            seen.clear()
            continue
        reasons = {each["channel"]: f"{each['reason']}: {each['sentence']}" for each in status["channels"]}
        for channel, tally in report["channels"].items():
            tasks = status["queue"]["tubes"].get(f"push_{channel}", {})
            work = tasks.get("ready", 0) + tasks.get("taken", 0)
            moved = run.accepted_by(channel), *(tally[word] for word in _MOVES)
            if channel not in seen or seen[channel][0] != moved or not work or channel in reasons:
                seen[channel] = moved, now
            elif now - seen[channel][1] > STILL:
                run.standing.append(f"{channel} did nothing for {STILL:g} s with {work} batches, and gave no reason")
                seen[channel] = moved, now
        for channel, reason in reasons.items():
            run.notes.setdefault("reasons", {})[channel] = reason[:160]
