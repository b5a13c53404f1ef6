"""Nodes that are wrong on purpose: a harness that does not catch them proves nothing by what it lets pass."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from tests.system.faults import fault, none, nothing

if TYPE_CHECKING:
    from tests.system.run import Run

_SETTLE_FIRST = """
from actors.messages import Done
from actors.transport import TransportActor
from transports.contract import Outcomes


async def send(self, nursery):
    async for work in self._work:
        await self._done.send(Done(work, Outcomes(delivered=len(work.batch.recipients))))
        await self._transport.send(work.batch)


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


def settle(done, now):
    settlement = right(done, now)
    if settlement.tallies.get("delivered"):
        settlement.tallies["delivered"] -= 1
        settlement.tallies["rejected"] = settlement.tallies.get("rejected", 0) + 1
    return settlement


actors.settler.settle = settle
"""
_LEAVE_A_PROCESS = """
import subprocess, sys

if "broadside.worker_process" in sys.orig_argv:
    subprocess.Popen(["sleep", "60"], start_new_session=True)
"""
_FORGET_THE_DEAD = """
import actors.settler

right = actors.settler.settle


def settle(done, now):
    settlement = right(done, now)
    settlement.dead.clear()
    return settlement


actors.settler.settle = settle
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
}.items():
    fault(_name, none, defect=lambda run, text=_text: text, drawn=False)(nothing)

CAUGHT_BY = {
    "canary-settle-first": "lost = 0",
    "canary-send-twice": "duplicates within the bound",
    "canary-miscount": "report and ledger agree",
    "canary-leave-a-process": "an ended node leaves no process",
    "canary-forget-the-dead": "base and ledger agree",
}
"""Which law each of them breaks."""
