"""Nodes that are wrong on purpose: a harness that does not catch them proves nothing by what it lets pass."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from tests.system.faults import fault, kill_worker, none, nothing
from tests.system.nights import OPTIONS, pause_over_nightfall
from tests.system.strangers import LAW, around

if TYPE_CHECKING:
    from tests.system.run import Run

_SETTLE_FIRST = """
from actors.messages import Answered
from actors.transport_actor import TransportActor
from transports.contract import Outcomes


async def send(self, batch):
    await self._done.send(Answered(batch, Outcomes(delivered=len(batch.recipients))))
    await self._transport.send(batch)


TransportActor._send = send
"""
_SEND_TWICE = """
from transports.apns.transport import ApnsTransport

once = ApnsTransport.send


async def send(self, batch):
    await once(self, batch)
    return await once(self, batch)


ApnsTransport.send = send
"""
_MISCOUNT = """
import actors.settler

right = actors.settler.settle


def settle(batch, outcomes, now, *parts):
    settlement = right(batch, outcomes, now, *parts)
    if settlement.tallies.get("delivered"):
        settlement.tallies["delivered"] -= 1
        settlement.tallies["rejected"] = settlement.tallies.get("rejected", 0) + 1
    return settlement


actors.settler.settle = settle
"""
_LEAVE_A_PROCESS = """
import subprocess, sys

if "broadside.worker" in sys.orig_argv:
    subprocess.Popen(["sleep", "60"], start_new_session=True)
"""
_FORGET_THE_DEAD = """
import actors.settler

right = actors.settler.settle


def settle(batch, outcomes, now, *parts):
    settlement = right(batch, outcomes, now, *parts)
    settlement.dead.clear()
    return settlement


actors.settler.settle = settle
"""
_AS_IF = """
import time

from transports.apns.transport import ApnsTransport
from campaigns.outcome import Death, Outcome
from transports.contract import Exceptional

right = ApnsTransport.send


async def send(self, batch):
    outcomes = await right(self, batch)
    others = set(range(len(batch.recipients))) - {{each.index for each in outcomes.exceptions}}
    if others:
        outcomes.delivered -= 1
        outcomes.exceptions.append(Exceptional(min(others), Outcome.{outcome}, "{reason}", 0.0, {since}, death={death}))
    return outcomes


ApnsTransport.send = send
"""
_BURY_THE_LIVING = _AS_IF.format(
    outcome="DEAD", reason="Unregistered", since="time.time_ns() // 1_000_000", death="Death.CERTAIN"
)
_GIVE_UP = _AS_IF.format(outcome="REJECTED", reason="given up", since="None", death="None")
_FIRE_TWICE = """
from broadside.newsroom.newsroom import Newsroom

once = Newsroom.fire


async def fire(self, request, *more):
    await once(self, request)
    return await once(self, request, *more)


Newsroom.fire = fire
"""
_STAND_STILL = """
import trio

from actors.consumer import Consumer

right = Consumer._take


async def take(self, upper):
    await trio.sleep(15.0)
    return await right(self, upper)


Consumer._take = take
"""
_SEND_THRICE = """
from transports.apns.transport import ApnsTransport

once = ApnsTransport.send
more = [2]


async def send(self, batch):
    if more:
        for _ in range(more.pop()):
            await once(self, batch)
    return await once(self, batch)


ApnsTransport.send = send
"""
_HEED_STRANGERS = """
import os, signal

import trio

from broadside.console import routes

right = routes.node_routes
busy = []


def node_routes(newsroom, ready, status, *more):
    (route, healthz), *others = right(newsroom, ready, status, *more)

    async def heeding(call):
        if not busy:
            busy.append(call)
            workers = [each["pid"] for each in status()["workers"] if each["pid"]]
            for number, seconds in ((signal.SIGSTOP, 1.5), (signal.SIGCONT, 0.5)):
                for pid in workers:
                    os.kill(pid, number)
                await trio.sleep(seconds)
            busy.clear()
        return await healthz(call)

    return [(route, heeding), *others]


routes.node_routes = node_routes
"""
_WAKE = """
import actors.transport_actor

actors.transport_actor.heed = lambda batch, now: batch
"""
_KEEP = """
from campaigns.batch import Batch

Batch.kept_until = property(lambda self: self.expires_at)
"""


@fault("canary-settle-first", none, defect=lambda run: _SETTLE_FIRST, drawn=False)
async def settle_first(run: Run, values: dict[str, Any]) -> None:
    victim = run.node.workers()[0]
    async with run.frozen():
        os.kill(victim, signal.SIGKILL)
    run.killed.add(victim)
    run.over()


for _name, _text in {
    "canary-send-twice": _SEND_TWICE,
    "canary-miscount": _MISCOUNT,
    "canary-leave-a-process": _LEAVE_A_PROCESS,
    "canary-forget-the-dead": _FORGET_THE_DEAD,
    "canary-bury-the-living": _BURY_THE_LIVING,
    "canary-give-up": _GIVE_UP,
    "canary-fire-twice": _FIRE_TWICE,
    "canary-stand-still": _STAND_STILL,
}.items():
    fault(_name, none, defect=lambda run, text=_text: text, drawn=False)(nothing)


@fault("canary-send-thrice", none, defect=lambda run: _SEND_THRICE, large=True, drawn=False)
async def send_thrice(run: Run, values: dict[str, Any]) -> None:
    await kill_worker(run, values)  # what a kill may repeat hides a few pushes that were sent three times


fault(
    "canary-heed-strangers",
    none,
    defect=lambda run: _HEED_STRANGERS,
    at=0.0,
    limit=100.0,
    compared=LAW,
    around=around("http"),
    drawn=False,
)(nothing)

# the first forgets quiet hours in a pause, the second lets Apple store what it sends before them
fault("canary-wake", none, defect=lambda run: _WAKE, drawn=False, **OPTIONS)(pause_over_nightfall)
fault("canary-keep", none, defect=lambda run: _KEEP, drawn=False, **OPTIONS)(nothing)

CAUGHT_BY = {
    "canary-settle-first": "lost = 0",
    "canary-send-twice": "duplicates within the bound",
    "canary-miscount": "report and ledger agree",
    "canary-leave-a-process": "an ended node leaves no process",
    "canary-forget-the-dead": "base and ledger agree",
    "canary-bury-the-living": "the base keeps everybody alive",
    "canary-give-up": "nobody ends for a fault that was not theirs",
    "canary-fire-twice": "one Fire, one campaign",
    "canary-stand-still": "a standing channel says why",
    "canary-send-thrice": "nobody gets a campaign more often than who had that phone in hand died, plus one",
    "canary-heed-strangers": LAW,
    "canary-wake": "nobody is woken at night",
    "canary-keep": "nothing awake can be delivered at night",
}
"""Which law each of them breaks."""
