"""How fast campaigns reach people: by the word of editor, kind or newsroom, and what the load leaves of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from actors.herd_governor import HerdGovernor, Steering
from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.campaign_report import FireRequest
from broadside.api.outward_records import CampaignHerd, HerdReport
from broadside.config.outward_tables import HerdConfig
from broadside.errors import Problem, RecordError
from broadside.outward.guarded_web import GuardedWeb
from broadside.outward.health_reader import HealthReader
from campaigns.campaign import Campaign
from campaigns.herd import HERD, SILENT, START, Herd, batch_at
from campaigns.identity import campaign_text
from campaigns.kind import Kind
from storage.store import Store

BATCHES_A_PAGE = 100
"""The most batches that one page is put as: one transaction at the queue."""
VALID = 10.0
"""Seconds for which what a node says of the load counts."""


class HerdDesk:
    """``web``: the way to the health URL."""

    def __init__(self, store: Store, node: str, config: HerdConfig, web: Callable[[str], GuardedWeb]) -> None:
        self._store = store
        self._config = config
        url = config.health_url
        self.governor = HerdGovernor(
            node=node,
            store=store,
            target=config.target,
            lag=config.lag_seconds,
            every=config.every,
            read=None if url is None else HealthReader(url, web(url)).read,
        )

    def policy(self, request: FireRequest, kind: Kind) -> dict[str, Any]:
        """Return the entry of a campaign's policy, or nothing. Raises ``RecordError`` for a ramp without a rate."""
        rules = self.rules(kind)
        rate = rules.get("rate", 0.0) if request.rate is msgspec.UNSET else request.rate
        if not rate:
            if request.ramp_seconds:
                raise RecordError(Problem("ramp_seconds", "is given without a rate", "give rate, in people a second"))
            return {}
        usual = rules.get("ramp_seconds", self._config.ramp_seconds)
        ramp = usual if request.ramp_seconds is msgspec.UNSET else request.ramp_seconds
        herd = Herd(rate=rate, ramp=ramp, governed=self._config.governed)
        return {HERD: msgspec.to_builtins(herd)}

    def rules(self, kind: Kind) -> dict[str, Any]:
        """Return the rate and the ramp of a kind's campaigns, if an editor says nothing else."""
        rate = self._config.rate if kind.rate is None else kind.rate
        ramp = self._config.ramp_seconds if kind.ramp is None else kind.ramp
        return {"rate": rate, "ramp_seconds": ramp} if rate else {}

    def page_size(self, policy: dict[str, Any], size: int) -> int:
        """Return rows of a page, so that it is not put as too many batches."""
        return min(size, BATCHES_A_PAGE * batch_at(policy[HERD]["rate"])) if HERD in policy else size

    def foresee(self, policy: dict[str, Any], people: int) -> list[str]:
        """Say how long a campaign to ``people`` takes at least, if its news expires before."""
        if HERD not in policy:
            return []
        rate, ttl = float(policy[HERD]["rate"]), int(policy["ttl_ms"]) / 1000
        seconds = people / rate + policy[HERD]["ramp"] * (1 - START) / 2
        if seconds <= ttl:
            return []
        late = round(people - ttl * rate)
        takes = f"at {rate:,.6g} people a second it takes {_time(seconds)}, and its news expires after {_time(ttl)}"
        return [f"{takes}: about {late:,} get nothing"]

    def report(self, campaign: Campaign, now: int) -> CampaignHerd | None:
        """Return how fast a campaign may be now; None: as fast as the providers take it. ``now``: ms UTC."""
        herd = campaign.herd
        if herd is None:
            return None
        rate, said = herd.rate, self._said() if herd.governed else None
        if herd.ramp and campaign.fired_at is not None:
            rate *= START + (1 - START) * min(1.0, max(0, now - campaign.fired_at) / 1000 / herd.ramp)
        if herd.governed:
            rate *= SILENT if said is None else said.share
        return CampaignHerd(
            rate=herd.rate,
            ramp=herd.ramp,
            now=rate,
            governed=herd.governed,
            share=None if said is None else said.share,
            load=None if said is None else said.load,
            silent=said is not None and said.silent,
            text="" if campaign.ended else _sentence(herd, rate, said),
        )

    def _said(self) -> Steering | None:
        state = self.governor.state
        if not state.text or state.age > VALID:
            return None
        return msgspec.json.decode(state.text, type=Steering)

    def state(self) -> HerdReport:
        """Return what this node knows of the load."""
        said, config = self._said(), self._config
        fields = ("node", "share", "load", "silent", "text")
        known = {} if said is None else {name: getattr(said, name) for name in fields}
        campaigns = [campaign_text(id) for id in self.governor.state.governed]
        return HerdReport(governed=config.governed, target=config.target, campaigns=campaigns, **known)

    async def note_load(self, load: float) -> None:
        """Keep the newsroom's load. Raises ``RecordError`` if this node is not configured to heed it."""
        if not self._config.posted:
            remedy = "write posted = true under [herd] in broadside.toml, on every node"
            raise RecordError(Problem("load", "is not heeded here", remedy, f"{load:g}"))
        await self._store.herd.note_load(load)

    def alarms(self) -> list[Alarm]:
        """Return the alarm that nobody tells the load, or none."""
        said = self._said()
        if not self.governor.state.governed or said is None or not said.silent:
            return []
        text = f"nobody tells the load of the newsroom's site ({said.text})"
        text += f", so campaigns go on at {said.share:.0%} of their rate"
        remedy = "let the page of [herd] health_url answer, or post the load (`broadside herd load 0.4`)"
        return [Alarm(name=AlarmName.LOAD_SILENT, severity=Severity.WARNING, text=text, remedy=remedy)]


def _sentence(herd: Herd, rate: float, said: Steering | None) -> str:
    people = f"reaches {rate:,.4g} of at most {herd.rate:,.6g} people a second"
    if not herd.governed:
        return people
    if said is None or said.silent or said.load is None:
        return f"{people}: nobody tells the load of the site, so it is slow out of care"
    return f"{people}: the site is loaded by {said.load:.0%} (the goal is {said.target:.0%})"


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
