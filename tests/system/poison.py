"""What is poisonous by itself: rows that nobody can push to, and a batch that crashes who handles it."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from broadside.demo import samples
from broadside.topology import HANDS_A_CONNECTION, LEAST_CONNECTIONS
from simulators.ledger import read_ledger
from tests.system.faults import fault
from tests.system.processes import Failed

T = TypeVar("T")

if TYPE_CHECKING:
    from tests.system.house import House
    from tests.system.run import Run

CHANNEL = "ios"
CRASHES = 3
"""So many times a batch may crash who handles it."""
BATCH = 500
"""Recipients of a batch at most."""
_DEFECT = """
from pathlib import Path

from transports.apns.transport import ApnsTransport

provoker = Path(__file__).with_name("provoker")
send = ApnsTransport.send


async def crashing(self, batch):
    if provoker.exists() and provoker.read_text() in {recipient.token for recipient in batch.recipients}:
        raise RuntimeError("a defect, provoked by one recipient")
    return await send(self, batch)


ApnsTransport.send = crashing
"""


@fault("poisoned-rows", lambda chance: {"rows": chance.randrange(1, 20)}, store=True)
async def poisoned_rows(run: Run, values: dict[str, Any]) -> None:
    run.over()  # they were written before Fire


def _provoked(run: House) -> str:
    """One of the phones provokes it."""
    rows = samples.subscribers(run.plan.subscribers, 0.0, {CHANNEL: "apns", "android": "fcm"})
    phones = [row.token for row in rows if row.channel == CHANNEL]
    (run.folder / "defect" / "provoker").write_text(phones[int(run.plan.values["phone"] * len(phones))])
    return _DEFECT


@fault("poisoned-task", lambda chance: {"phone": round(chance.random(), 3)}, defect=_provoked)
async def poisoned_task(run: Run, values: dict[str, Any]) -> None:
    provoker = run.folder / "defect" / "provoker"
    (buried,) = await _until(lambda: _buried(run), "buried batch")
    told = buried["crashes"] == CRASHES and "a defect" in buried["why"]
    run.law("what crashed three times is buried with its reason", told, str(buried["why"]))
    # a crash takes down what its channel had in hand: what Apple's twin had accepted of that is sent again
    run.may_repeat(CRASHES, "apns")
    run.bound += CRASHES * (HANDS_A_CONNECTION * LEAST_CONNECTIONS - 1) * BATCH
    (campaign,) = (await run.node.get("/v1/campaigns"))["items"]
    await _until(lambda: _nearly_done(run, campaign["id"]), "end of all the others")
    run.law("a buried batch does not come back by itself", len(await _buried(run)) == 1, "it is gone")
    sent = {entry.token for entry in read_ledger(run.twins["apns"].ledger)}
    run.law("nobody in it was sent anything", provoker.read_text() not in sent, "the provoker was")
    provoker.unlink()
    said = json.loads(await _tube(run, "kick", CHANNEL))
    run.law("a kick brings it back", said == {"kicked": 1}, str(said))
    run.over()


async def _nearly_done(run: Run, id: str) -> bool:
    report = await run.node.get(f"/v1/campaigns/{id}")
    remaining = sum(tally["remaining"] for tally in report["channels"].values())
    run.note("buried", remaining)
    return bool(0 < remaining <= BATCH)


async def _until(ask: Callable[[], Awaitable[T]], what: str, seconds: float = 60.0) -> T:
    deadline = trio.current_time() + seconds
    while trio.current_time() < deadline:
        if found := await ask():
            return found
        await trio.sleep(0.1)
    raise Failed(f"no {what} within {seconds:g} s")


async def _buried(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(await _tube(run, "buried"))["buried"]
    return found


async def kick_all(run: House, channel: str) -> None:
    """Bring back whatever of a channel is buried, now and within the next seconds."""
    for _ in range(10):
        await _tube(run, "kick", channel, "--count", "1000")
        await trio.sleep(0.5)


async def _tube(run: House, act: str, channel: str = CHANNEL, *more: str) -> bytes:
    """As an operator would ask."""
    command = ["broadside.cli", "tube", act, channel, *more, "--json", "--config", str(run.node.config)]
    command += ["--yes"] if act == "kick" else []
    done = await trio.run_process(
        [sys.executable, "-m", *command], capture_stdout=True, capture_stderr=True, check=False
    )
    if done.returncode:
        raise Failed(f"broadside tube {act} ended with exit code {done.returncode}: {done.stderr.decode()[-400:]}")
    return done.stdout
