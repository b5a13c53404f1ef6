"""A store with years behind it: campaigns that ended long ago, with all of their ledgers, in a small memory."""

from __future__ import annotations

import gzip
import json
import statistics
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import trio

from campaigns.identity import campaign_text
from storage.embedded import LUA
from storage.errors import StorageError
from storage.tarantool_program import tarantool
from tests.system.faults import fault
from tests.system.processes import Failed, until

if TYPE_CHECKING:
    from tests.system.run import Run

PAST = 3000
"""Campaigns of two years ago."""
PAGES = 120
"""Of each: all of them take as much memory as the store may use for data."""
WITHIN = 180.0
"""Seconds within which all old ledgers have left the store: three times what a quiet machine with two cores takes."""
PROBE_EVERY = 0.02
KEPT_FULL = 5.0
"""Seconds from Fire for which somebody fills whatever becomes free."""

_FILL = """
package.path = ('%s/?.lua;%s/?/init.lua;'):format(arg[1], arg[1]) .. package.path
box.cfg({work_dir = arg[2], log_level = 2, memtx_memory = require('quota').start(tonumber(arg[3])), wal_mode = 'none',
         feedback_enabled = box.internal.feedback_daemon and false})
require('roles.store').start()
local MAP = {__serialize = 'map'}
local THEN = 1700000000000 -- November 2023
local ended = {enqueued = 500, delivered = 490, dead = 10}
local tallies = setmetatable({android = ended, ios = ended}, MAP)
local campaigns, pages = tonumber(arg[4]), tonumber(arg[5])
for id = 1, campaigns do
    box.begin()
    box.space.store_campaigns:insert({id, 3, 'done', '{"title":"t","body":"b"}', setmetatable({}, MAP), {ttl_ms = 1000},
                                      THEN, THEN, THEN, 0, 0})
    for _, channel in ipairs({'android', 'ios'}) do
        local all = {audience = pages * 500, delivered = pages * 500}
        box.space.store_totals:insert({id, channel, all, setmetatable({}, MAP)})
    end
    box.space.store_cursors:insert({id, 0, pages, pages * 1000, pages * 1000, true, THEN})
    for seq = 0, pages - 1 do
        box.space.store_pages:insert({id, 0, seq, seq * 1000, seq * 1000 + 1000, 'node-1', 1, THEN, 'settled', 1000,
                                      1000, tallies, {}})
    end
    box.commit()
end
box.snapshot()
os.exit(0)
"""


def fill(folder: Path, memory: int, campaigns: int) -> None:
    """Write ``campaigns`` of `PAGES` pages each into a store's blank folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_FILL)
        script.flush()
        command = [tarantool() or "tarantool", script.name, str(LUA), *map(str, (folder, memory, campaigns, PAGES))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise Failed(f"the past cannot be written: {done.stderr[-400:]}")


def _archives(run: Run) -> list[Path]:
    return list((run.node.data / "archive").glob("*.gz"))


async def _fire(run: Run, values: dict[str, Any]) -> Any:
    await run.fill_memory(KEPT_FULL)
    left = values["campaigns"] - len(_archives(run))
    run.note("ledgers_left_at_fire", left)
    run.law("old ledgers are still leaving when the campaign is fired", left > 0)
    return await run.fire()


async def _say_why(run: Run, values: dict[str, Any]) -> None:
    """While the memory is kept full the campaign waits; then it goes on as ledgers leave."""
    alarms: set[str] = set()
    with trio.move_on_after(KEPT_FULL - 1):
        while True:
            with suppress(httpx.HTTPError, OSError):
                alarms.update(each["text"] for each in (await run.node.get("/v1/status"))["alarms"])
            await trio.sleep(0.2)
    at_once = run.accepted()
    run.law("a campaign waits for memory", at_once < run.plan.subscribers / 2, f"{at_once} pushes went out at once")
    run.law("a node without memory says so", any("campaigns wait" in each for each in alarms), f"{sorted(alarms)}")
    run.note("alarm", next((each for each in alarms if "campaigns wait" in each), ""))
    waits = "the walk waits: the queue's memory is used up"
    run.law("the log says that the walk waits", waits in run.log.read_text())
    run.over()


@asynccontextmanager
async def _probed(run: Run, disturbed: bool) -> AsyncIterator[None]:
    """Meanwhile somebody else asks the store for something small, again and again."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_probe, run, "small_calls_ms", trio.Event())
        yield
        nursery.cancel_scope.cancel()


async def _probe(run: Run, name: str, end: trio.Event) -> None:
    took: list[float] = []
    try:
        while not end.is_set():
            began = trio.current_time()
            with suppress(StorageError):
                await run.direct("store.removals")
                took.append((trio.current_time() - began) * 1000)
            await trio.sleep(PROBE_EVERY)
    finally:
        cuts = statistics.quantiles(took, n=100) if len(took) > 1 else [0.0] * 99
        run.note(name, {"calls": len(took), "p50": round(cuts[49], 1), "p99": round(cuts[98], 1)})


async def _all_left(run: Run, values: dict[str, Any]) -> None:
    """Every old ledger is an archive that can be read, and every campaign has its totals."""
    count = values["campaigns"]
    with suppress(Failed):
        await until(lambda: len(_archives(run)) == count, "last archive", 600, every=0.2)
    run.note("archives_s", round(trio.current_time() - run.node_began, 1))
    run.law(
        "old ledgers leave in time", run.notes["archives_s"] <= WITHIN, f"{run.notes['archives_s']} s > {WITHIN:g} s"
    )
    await run.free_memory()
    with trio.move_on_after(2):
        await _probe(run, "small_calls_afterwards_ms", trio.Event())
    broken = list(await trio.to_thread.run_sync(lambda: list(_broken(_archives(run), count))))
    run.law("every old ledger is an archive that can be read", not broken, "; ".join(broken[:3]))
    without = []
    for id in range(1, count + 1):
        ((row, channels),) = await run.direct("store.campaign_get", id)
        sums = {channel: tallies.get("delivered") for channel, tallies, _ in channels}
        if sums != {"android": PAGES * 500, "ios": PAGES * 500} or "archive" not in row[5]:
            without.append(f"{id}: {sums}")
    run.law("every old campaign keeps its totals", not without, "; ".join(without[:3]))
    memory = (await run.direct("store.memory"))[0]
    run.note("memory_at_the_end", round(memory["used"] / memory["size"], 2))


def _broken(archives: list[Path], count: int) -> Iterator[str]:
    named = {path.name for path in archives}
    yield from (f"{id} has none" for id in range(1, count + 1) if f"{campaign_text(id)}.ndjson.gz" not in named)
    for path in archives:
        kinds = [json.loads(line)["kind"] for line in gzip.decompress(path.read_bytes()).splitlines()]
        if kinds != ["campaign", "segment", *["page"] * PAGES]:
            yield f"{path.name} has {len(kinds)} lines"


fault(
    "old-ledgers",
    lambda chance: {"campaigns": PAST},
    store=True,
    past=PAST,
    slow=True,
    may_keep_dead=True,
    at=0.0,
    limit=600.0,
    fire=_fire,
    around=_probed,
    finish=_all_left,
)(_say_why)
