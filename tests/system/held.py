"""100,000 people are held by quiet hours, and one of two nodes is killed, forgotten, or away while all is cancelled."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from broadside.api.subscriber import Subscriber
from broadside.api.v1 import table
from broadside.demo import samples
from broadside.errors import ApiError
from tests.cluster.ring import PLATFORMS
from tests.system.faults import LEASE, fault
from tests.system.night_hours import DAY, MORNING
from tests.system.processes import Failed

if TYPE_CHECKING:
    from broadside.api.campaign_report import CampaignReport
    from tests.system.pair import Pair
    from tests.system.plan import Plan

HELD, AWAKE = 100_000, 20_000
IN_BED = (MORNING, "Asia/Singapore", "Asia/Manila", "Australia/Perth")
"""Zones with the same clock: for all of them the night ends at the same moment."""
WAKING = 3.0
"""Seconds after the night's end for whoever would send something of it to do so."""
SWEPT = 15.0
"""Seconds until a queue that has heard of a cancel has deleted its batches."""
WALKED = 60.0
"""Seconds until everybody in bed is on a tube, be it by another node after one was forgotten."""


def in_bed(plan: Plan) -> Iterator[Subscriber]:
    """One phone in six where it is day, the others where the night ends during the run; none is dead."""
    zones = random.Random(plan.seed)
    for number, row in enumerate(samples.subscribers(HELD + AWAKE, 0.0, PLATFORMS)):
        tz = DAY if number // 2 % 6 == 0 else zones.choice(IN_BED)
        yield msgspec.structs.replace(row, tz=tz)


OPTIONS: dict[str, Any] = {
    "pair": True, "in_bed": True, "rows": in_bed, "at": AWAKE / (HELD + AWAKE), "slow": True, "limit": 300.0,
    "serving": 30.0,
}  # fmt: skip


def _drawn(**choices: tuple[str, ...]) -> Any:
    def draw(chance: random.Random) -> dict[str, Any]:
        return {name: chance.choice(words) for name, words in choices.items()} | {"base": HELD + AWAKE}

    return draw


def _report(run: Pair) -> CampaignReport:
    with run.ring.node(1).client() as client:
        return client.call(table.CAMPAIGN, id=run.campaigns[-1].id)


def _nothing_in_hand(run: Pair) -> bool:
    for node in run.ring.cluster.nodes:
        with node.client() as client:
            tubes = client.call(table.TUBES)
        if tubes.outbox or any(tasks["taken"] for tasks in tubes.tubes.values()):
            return False
    return True


def _morning(run: Pair) -> float:
    """When the night ends, seconds since 1970."""
    assert run.morning is not None
    return run.morning.ends


async def _nobody_woken(run: Pair, values: dict[str, Any]) -> None:
    """By each phone's own zone, whichever node sent it."""
    asleep = {row.token for row in run.ring.rows if row.tz != DAY}
    ledger = [entry for lines in run.ledger().values() for entry in lines]
    sent = [entry.time for entry in ledger if entry.token in asleep]
    woken = sum(at < _morning(run) * 1000 for at in sent)
    run.law("nobody is woken at night", woken == 0, f"{woken:,} were")
    run.note("sent_in_the_morning", len(sent))


async def _all_held(run: Pair, name: str) -> None:
    """Wait until everybody in bed is on a tube, and nothing that is reached already could be sent again."""
    await run.until(lambda: _report(run).reached and _nothing_in_hand(run), "rest", WALKED)
    _count(run, name)


def _count(run: Pair, name: str) -> None:
    report = _report(run)
    left = _morning(run) - time.time()
    run.note(f"{name}_s_before_morning", round(left, 1))
    run.law(f"{name}: {HELD:,} are held", report.held == HELD, f"{report.held:,} are")
    run.law(f"{name}: it is night", left > 0, f"the night ended {-left:.1f} s ago")
    sent = sum(tally.delivered for tally in report.channels.values())
    run.law(f"{name}: everybody else is reached", sent == AWAKE, f"{sent:,} are")


async def _sleep_until_morning(run: Pair) -> None:
    await trio.sleep(max(0.0, _morning(run) + WAKING - time.time()))


def _verified(run: Pair, when: str) -> None:
    """As `campaign verify` says it, and by the sums of the report."""
    id = run.campaigns[-1].id
    code, said = run.cli("campaign", "verify", id)
    run.law(f"verify is ok {when}", code == 0, f"exit code {code}: {said[-300:]}")
    for name, tally in _report(run).channels.items():
        sums = msgspec.to_builtins(tally)
        ended = sum(sums[word] for word in ("delivered", "dead", "rejected", "expired", "dropped", "cancelled"))
        adds_up = sums["audience"] == sums["enqueued"] == ended + sums["remaining"]
        run.law(f"{name}: the totals add up {when}", adds_up, f"{sums}")


def _forget(run: Pair) -> None:
    code, said = run.cli("peers", "forget", "node-2", "--force")
    run.law("`peers forget` is taken", code == 0, f"exit code {code}: {said[-300:]}")


async def _return(run: Pair, way: str) -> None:
    run.over()
    if way == "cut":
        run.ring.heal()
    else:
        run.second.start()


@fault("held-kill", _drawn(back=("night", "morning")), finish=_nobody_woken, **OPTIONS)
async def node_killed_while_many_are_held(run: Pair, values: dict[str, Any]) -> None:
    await _all_held(run, "at the kill")
    run.second.kill()
    if values["back"] == "morning":
        await _sleep_until_morning(run)
    await _return(run, "killed")


@fault(
    "held-forget",
    _drawn(way=("killed", "lost", "cut"), back=("night", "morning")),
    finish=_nobody_woken,
    **OPTIONS,
)
async def node_forgotten_while_many_are_held(run: Pair, values: dict[str, Any]) -> None:
    """The other node walks its pages again. What it has on its own tubes, it must never send."""
    await _all_held(run, "when it is forgotten")
    if values["way"] == "cut":
        run.ring.cut()
    else:
        run.second.kill()
    if values["way"] == "lost":
        shutil.rmtree(run.second.data.queue)
    _forget(run)
    before = run.sent()
    await run.until(lambda: run.walked_by("node-2") == 0 and _report(run).reached, "page put anew", WALKED)
    _count(run, "put anew")
    if values["back"] == "morning":
        await _sleep_until_morning(run)
        sent = run.sent() - before
        run.law("a forgotten node sends nothing", sent == 0, f"{sent:,} pushes")
    await _return(run, values["way"])


async def _nothing_sent(run: Pair, values: dict[str, Any]) -> None:
    await _sleep_until_morning(run)
    with suppress(Failed):
        await run.until(lambda: _tasks(run) == 0, "end of its batches", SWEPT)
    run.law("nothing of it is on a tube any more", (left := _tasks(run)) == 0, f"{left} batches")
    await trio.sleep(WAKING)
    await _nobody_woken(run, values)
    sent = run.notes["sent_in_the_morning"]
    run.law("nothing of it is sent in the morning", sent == 0, f"{sent:,} pushes")


@fault(
    "held-cancel",
    _drawn(way=("here", "killed", "cut", "forgotten"), back=("night", "morning")),
    cancels=True,
    finish=_nothing_sent,
    **OPTIONS,
)
async def cancelled_while_many_are_held(run: Pair, values: dict[str, Any]) -> None:
    """A node that is away meanwhile sends nothing of it when it comes back, be it in the morning."""
    await _all_held(run, "at the cancel")
    _verified(run, "while they are held")
    if values["way"] == "cut":
        run.ring.cut()
    elif values["way"] != "here":
        run.second.kill()
    if values["way"] == "forgotten":
        _forget(run)
    with run.ring.node(1).client() as client:
        try:
            client.call(table.CANCEL, id=run.campaigns[-1].id)
        except ApiError as error:  # a machine too slow for this: the night was over before
            raise Failed(f"the campaign cannot be cancelled: {error}") from error
    await run.until(lambda: _report(run).state == "cancelled", "end of the cancel", LEASE + 20.0)
    _verified(run, "when all is cancelled")
    sent = {name: tally.cancelled for name, tally in _report(run).channels.items()}
    run.law("who was held ends as cancelled", sum(sent.values()) == HELD, f"{sent}")
    if values["back"] == "morning":
        await _sleep_until_morning(run)
    if values["way"] == "here":
        run.over()
    else:
        await _return(run, values["way"])


def _tasks(run: Pair) -> int:
    """Batches on both queues, of any state."""
    found = 0
    for node in run.ring.cluster.nodes:
        with node.client() as client:
            tubes = client.call(table.TUBES)
        found += tubes.parked
        found += sum(tasks[state] for tasks in tubes.tubes.values() for state in ("ready", "taken", "delayed"))
    return found
