"""Has the store judge the dead ledger in small steps: refused tokens leave the base if the verdict says so."""

from __future__ import annotations

import structlog

from actors.periodic import Periodic
from actors.refusals import Ask, Doubt
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from storage.errors import LinkLost, VerbRefused
from storage.records import DeadVerdict
from storage.store import Store

log = structlog.get_logger(__name__)

JUDGE_EVERY = 1.0
"""Seconds between two looks while nothing is due."""
STEP_PAUSE = 0.01
"""Seconds between two steps of a deletion: other calls go first."""
_WORDS = {
    "deleting": "refused tokens leave the base",
    "asked": "too many refused tokens: nothing is deleted until a person answers (broadside dead list)",
    "few": "too few answers to judge refused tokens by: nothing is deleted",
    "collecting": "a question about refused tokens is withdrawn: deliveries prove the key",
}


class DeadJudge(Periodic):
    """One per node. Any node may take a step; of two that ask at once, one gets the verdict.

    ``limits``: channel → the share of refused tokens above which a person is asked.
    """

    def __init__(self, *, store: Store, limits: dict[str, float], clock: Clock) -> None:
        super().__init__()
        self._store = store
        self._limits = limits
        self._clock = clock

    async def look(self) -> float:
        """Take one step of a verdict that is due."""
        more = False
        try:
            more, verdicts = await self._store.dead_judge(self._limits, self._clock())
            for verdict in verdicts:
                _log(verdict)
        except (LinkLost, VerbRefused) as error:
            log.debug("the dead ledger is not judged for now", error=str(error))
        return STEP_PAUSE if more else JUDGE_EVERY


def _log(verdict: DeadVerdict) -> None:
    say = log.warning if verdict.verdict == "asked" else log.info
    say(
        _WORDS[verdict.verdict],
        channel=verdict.channel,
        campaign=campaign_text(verdict.campaign),
        refused=verdict.refused,
        delivered=verdict.delivered,
    )


def asking(store: Store, channel: str, clock: Clock) -> Ask:
    """Make a channel's ``Ask``: how it asks the dead ledger about its refusals (``actors.refusals``)."""

    async def ask(doubt: Doubt) -> str:
        try:
            return await store.dead_doubt(doubt.campaign, channel, doubt.reasons, doubt.examples, doubt.limit, clock())
        except (LinkLost, VerbRefused) as error:
            log.warning(
                "the dead ledger does not answer: refused pushes are postponed", channel=channel, error=str(error)
            )
            return ""

    return ask
