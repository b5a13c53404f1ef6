"""The faults: what each draws from the seed, what it needs around the node, how it is done, and what it may repeat."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import trio

from broadside.topology import LEAST_CONNECTIONS

if TYPE_CHECKING:
    from tests.system.run import Run

Act = Callable[[Any, dict[str, Any]], Awaitable[None]]
"""Of a Run, or of a Pair."""
PLATFORMS = ("apns", "fcm")
WORKER_HANG = 9.0
"""Seconds: a worker that is silent for longer is killed by its node."""
LEASE = 10.0
"""Seconds: a queue whose node is silent for longer hands nothing out."""
ORPHANS = 6.0
"""Seconds: a Tarantool whose node was killed lives on so long for its workers, and the next start waits for its end."""


async def nothing(run: Run, values: dict[str, Any]) -> None:
    """For faults that are wholly in a twin's script."""


@dataclass(frozen=True)
class Fault:
    """One kind of fault."""

    name: str
    draw: Callable[[random.Random], dict[str, Any]]
    act: Act = nothing
    script: Callable[[dict[str, Any]], str] | None = None
    """What the sick twin's script gets besides; the sick one is ``values["platform"]``."""
    store: bool = False
    """The store is a Tarantool of the run's own, behind a proxy."""
    apart: bool = False
    """The node runs its queue itself, beside that store."""
    queue: bool = False
    """The queue, too, is a Tarantool of the run's own, behind a proxy."""
    platforms: tuple[str, ...] = PLATFORMS
    """A channel for each."""
    connections: int = LEAST_CONNECTIONS
    """Of a worker at most; the least makes the twins set the pace, not the machine."""
    client: bool = False
    """Huawei is spoken to by its older API, with an access token."""
    pair: bool = False
    """There are two nodes, with one store."""
    parted: bool = False
    """The second node stands in a network of its own (needs root)."""
    proxies: bool = False
    """The node reaches the twins through proxies."""
    past: int = 0
    """Campaigns of long ago in a small store, with their ledgers."""
    full: bool = False
    """The embedded Tarantool's folder is a small disk of its own (needs root)."""
    night: bool = False
    """Quiet hours begin and end during the run (:class:`tests.system.night_hours.Night`), which takes minutes."""
    latency: int | None = None
    """Milliseconds before each of a twin's answers, for each worker, in place of the usual."""
    clock: bool = False
    """The node lives under a clock that can be set (needs libfaketime)."""
    defect: Callable[[Any], str] | None = None
    """The node's processes have a defect: this code, run at their start."""
    serving: float = 5.0
    """Seconds after the fault's end within which the node serves again, besides what a Tarantool took to start and
    what is left of the orphans' life."""
    answers: Callable[[Any, str], str] | None = None
    """The rules that a twin's script gets before all others, by plan and platform; "" for a healthy twin."""
    odd: Callable[[Any, str], bool] | None = None
    """Whether a phone, by plan and token, is answered what nobody can foresee."""
    rows: Callable[[Any], Iterable[Any]] | None = None
    """The base, by plan, in place of the usual sample."""
    phone: Callable[[str], str] | None = None
    """Whose token it is, where phones change theirs during the run: a name under which the judge knows the phone."""
    dead: float = 0.02
    """The share of the base that is dead."""
    small: bool = False
    """A base of a fifth is enough to show it."""
    ttl: int | None = None
    """Seconds after which nobody wants the news any more."""
    may_expire: bool = False
    """Answers may stop a channel for longer than the news lives: phones that expired, by the report, are not lost."""
    in_bed: bool = False
    """Quiet hours hold for most of the base, and end during the run (``Pair.morning``)."""
    cancels: bool = False
    """The campaign is cancelled: phones that ended so, by the report, are not lost."""
    may_keep_dead: bool = False
    """While the memory is full no refusal is noted for a judgement: who is dead may stay until the next campaign."""
    at: float | None = None
    """When the fault comes, in place of what the plan draws; 0: with Fire."""
    fire: Callable[[Any, dict[str, Any]], Awaitable[Any]] | None = None
    """Fires the disturbed campaign in place of one request; answers the report."""
    finish: Act | None = None
    """Done when the disturbed campaign has ended, before the base is looked at."""
    limit: float = 240.0
    """Seconds until a campaign must have ended."""
    compared: str | None = None
    """The law that the disturbed campaign keeps the rate of an undisturbed one, where no platform is sick."""
    around: Callable[[Any, bool], AbstractAsyncContextManager[None]] | None = None
    """What goes on around each campaign, from before Fire to its end: of a run, and whether it is the disturbed one."""
    root: bool = False
    """Needs root for something else."""
    later: bool = False
    """The undisturbed campaign comes after the disturbed one, which mends the base."""
    sink: Callable[[dict[str, Any]], str] | None = None
    """Where all goes that the node says: ``pipe`` (whose end is ``run.pipe``), or a device's path."""
    dumb: bool = False
    """Who could say why a channel stands still is stopped itself."""
    queue_port: bool = False
    """The node's own queue listens on a TCP port, where strangers may knock."""
    large: bool = False
    """Wants a base that is many times what may be leased, for a lease lost may be sent again."""
    slow: bool = False
    """Takes longer than CI may wait."""
    drawn: bool = True
    """Whether a seed alone may pick it."""

    @property
    def anywhere(self) -> bool:
        """Whether it is over within seconds, and needs neither root nor a clock of its own."""
        return not (self.slow or self.night or self.full or self.clock or self.parted or self.root)


FAULTS: dict[str, Fault] = {}


def fault(name: str, draw: Callable[[random.Random], dict[str, Any]], **options: Any) -> Callable[[Act], Act]:
    """Enter a fault into the catalogue."""

    def enter(act: Act) -> Act:
        FAULTS[name] = Fault(name, draw, act, **options)
        return act

    return enter


def scripted(name: str, draw: Callable[[random.Random], dict[str, Any]], script: str, **options: Any) -> None:
    """Enter a fault that is a twin's script, with the drawn values in it."""
    FAULTS[name] = Fault(name, draw, script=lambda values: script.format(**values), **options)


def none(chance: random.Random) -> dict[str, Any]:
    return {}


def sick(chance: random.Random, **more: Any) -> dict[str, Any]:
    """One of the two platforms, and what else."""
    return {"platform": chance.choice(PLATFORMS), **more}


fault("nothing", none)(nothing)


# -- processes ---------------------------------------------------------------------------------------------------------


@fault("kill-worker", none, large=True, serving=1.0)
async def kill_worker(run: Run, values: dict[str, Any]) -> None:
    victims = run.node.workers()
    async with run.frozen():
        os.kill(victims[0], signal.SIGKILL)
    run.killed.add(victims[0])
    run.over()


@fault("kill-node", lambda chance: {"away": round(chance.uniform(0, 3), 1)}, large=True)
async def kill_node(run: Run, values: dict[str, Any]) -> None:
    async with run.frozen():
        await run.node.kill()
    await trio.sleep(values["away"])
    run.note("orphans_s", round(ORPHANS - values["away"], 2))
    run.over()
    await run.start_node()


@fault("kill-tarantool", none, large=True, serving=2.0)
async def kill_tarantool(run: Run, values: dict[str, Any]) -> None:
    async with run.frozen():
        os.kill(run.tarantool(), signal.SIGKILL)
    run.over()


@fault("kill-queue", none, large=True, store=True, apart=True, serving=2.0)
async def kill_queue(run: Run, values: dict[str, Any]) -> None:
    async with run.frozen():
        os.kill(run.queue(), signal.SIGKILL)
    run.over()


@fault("kill-store", lambda chance: {"away": round(chance.uniform(0, 4), 1)}, store=True, apart=True, serving=2.0)
async def kill_store(run: Run, values: dict[str, Any]) -> None:
    await run.servers["store"].kill()  # no lease is the store's: nothing may be repeated
    await trio.sleep(values["away"])
    await run.servers["store"].start()
    run.over()


@fault(
    "kill-queue-server",
    lambda chance: {"away": round(chance.uniform(0, 4), 1)},
    store=True,
    queue=True,
    large=True,
    serving=2.0,
)
async def kill_queue_server(run: Run, values: dict[str, Any]) -> None:
    async with run.frozen():
        await run.servers["queue"].kill()
    await trio.sleep(values["away"])
    await run.servers["queue"].start()
    run.over()


@fault("stop-store", lambda chance: {"seconds": chance.choice((1.0, 4.0, 12.0))}, store=True, apart=True)
async def stop_store(run: Run, values: dict[str, Any]) -> None:
    if values["seconds"] > LEASE:
        async with run.frozen():
            pass
    await stopped(run, run.tarantool(), values["seconds"])


@fault("stop-queue", lambda chance: {"seconds": chance.choice((1.0, 4.0, 12.0))}, store=True, apart=True)
async def stop_queue(run: Run, values: dict[str, Any]) -> None:
    if values["seconds"] > LEASE:
        async with run.frozen():
            pass
    await stopped(run, run.queue(), values["seconds"])


@fault("kill-twin", lambda chance: sick(chance, away=round(chance.uniform(0, 4), 1)))
async def kill_twin(run: Run, values: dict[str, Any]) -> None:
    twin = run.twins[values["platform"]]
    run.in_flight(values["platform"])
    await twin.kill()
    await trio.sleep(values["away"])
    await twin.start()
    run.over()


async def stopped(run: Run, pid: int, seconds: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    try:
        await trio.sleep(seconds)
    finally:
        os.kill(pid, signal.SIGCONT)
    run.over()


@fault("stop-worker", lambda chance: {"seconds": chance.choice((1.0, 4.0, 13.0))}, dumb=True)
async def stop_worker(run: Run, values: dict[str, Any]) -> None:
    victim = run.node.workers()[0]
    if values["seconds"] > WORKER_HANG:  # its node kills it
        async with run.frozen():
            pass
        run.in_flight(*run.plan.platforms)
    try:
        await stopped(run, victim, values["seconds"])
    except ProcessLookupError:
        run.over()  # stopped for so long that its node has killed it


@fault("stop-node", lambda chance: {"seconds": chance.choice((1.0, 4.0, 13.0))})
async def stop_node(run: Run, values: dict[str, Any]) -> None:
    if values["seconds"] > LEASE:  # its queue hands nothing out without one
        async with run.frozen():
            pass
    await stopped(run, run.node.pid, values["seconds"])


@fault("stop-tarantool", lambda chance: {"seconds": chance.choice((1.0, 4.0, 12.0))})
async def stop_tarantool(run: Run, values: dict[str, Any]) -> None:
    victim = run.tarantool()
    if values["seconds"] > LEASE:
        async with run.frozen():
            pass
    await stopped(run, victim, values["seconds"])


@fault("stop-twin", lambda chance: sick(chance, seconds=chance.choice((1.0, 4.0, 13.0))))
async def stop_twin(run: Run, values: dict[str, Any]) -> None:
    run.in_flight(values["platform"])
    await stopped(run, run.twins[values["platform"]].pid, values["seconds"])


@fault("sigterm", lambda chance: {"away": round(chance.uniform(0, 2), 1)})
async def sigterm(run: Run, values: dict[str, Any]) -> None:
    began = trio.current_time()
    run.node.signal(signal.SIGTERM)
    code = await run.node.ended(60)
    run.note("drained_s", round(trio.current_time() - began, 2))
    run.law("SIGTERM ends with exit code 0", code == 0, f"exit code {code}")
    await run.gone()
    await trio.sleep(values["away"])
    run.over()
    await run.start_node()


@fault("same-name", none, store=True)
async def same_name(run: Run, values: dict[str, Any]) -> None:
    code, said = await run.second_node()
    run.law("a second node of the same name is refused in one line", code == 1 and "is taken by" in said, said[-300:])
    run.over()


# -- providers ---------------------------------------------------------------------------------------------------------


def after(chance: random.Random) -> int:
    return chance.randrange(50, 400)


scripted(
    "goaway",
    lambda chance: sick(chance, after=after(chance), unanswered=chance.randrange(1, 60), times=chance.randrange(1, 4)),
    '[[connections]]\nafter = {after}\ndo = "goaway"\nreason = "Shutdown"\n'
    "unanswered = {unanswered}\ntimes = {times}\n",
)
scripted(
    "settings-1",
    lambda chance: sick(chance, after=chance.randrange(50, 300), until=chance.randrange(310, 340)),
    '[[connections]]\nafter = {after}\ndo = "settings"\nmax_concurrent_streams = 1\ntimes = 1\n'
    '\n[[connections]]\nafter = {until}\ndo = "goaway"\ntimes = 1\n',
    slow=True,
)
scripted(
    "mute-streams",
    lambda chance: sick(
        chance, share=round(chance.uniform(0.005, 0.04), 3), delivered=chance.choice(("true", "false"))
    ),
    '[[rules]]\nanswer = "mute"\nshare = {share}\ntimes = 1\ndelivered = {delivered}\n',
    slow=True,
)
scripted(
    "rst-storm",
    lambda chance: sick(
        chance, share=round(chance.uniform(0.02, 0.09), 3), code=chance.choice(("REFUSED_STREAM", "INTERNAL_ERROR"))
    ),
    '[[rules]]\nanswer = "reset"\nshare = {share}\ntimes = 1\ncode = "{code}"\n',
)
scripted(
    "429-retry-after",
    lambda chance: sick(chance, share=round(chance.uniform(0.01, 0.05), 3), retry_after=chance.randrange(1, 5)),
    '[[rules]]\nanswer = "429"\nshare = {share}\ntimes = 1\nretry_after = {retry_after}\n',
    slow=True,
)
scripted(
    "503-but-delivered",
    lambda chance: {"platform": "fcm", "share": round(chance.uniform(0.01, 0.09), 3)},
    '[[rules]]\nanswer = "503"\nshare = {share}\ntimes = 1\ndelivered = true\n',
    slow=True,
)
scripted(
    "expired-access-token",
    lambda chance: {"platform": "fcm", "seconds": chance.randrange(1, 3)},
    "access_token_seconds = {seconds}\n",
    slow=True,
)
scripted(
    "expired-provider-token",
    lambda chance: {"platform": "apns", "share": round(chance.uniform(0.0005, 0.002), 4)},
    '[[rules]]\nanswer = "refuse"\nreason = "ExpiredProviderToken"\nshare = {share}\ntimes = 1\n',
    slow=True,
)
scripted(
    "half-open",
    lambda chance: sick(chance, after=after(chance)),
    '[[connections]]\nafter = {after}\ndo = "mute"\ntimes = 1\n',
    slow=True,
)
scripted(
    "slow-drip",
    lambda chance: sick(chance, share=round(chance.uniform(0.02, 0.1), 3), delay=chance.randrange(1000, 4000)),
    '[[rules]]\nanswer = "slow"\nshare = {share}\ndelay_ms = {delay}\ntimes = 1\n',
)


@fault("outage", lambda chance: sick(chance, seconds=chance.choice((5.0, 15.0, 30.0))), slow=True)
async def outage(run: Run, values: dict[str, Any]) -> None:
    twin = run.twins[values["platform"]]
    run.in_flight(values["platform"])
    await twin.kill()
    await trio.sleep(values["seconds"])
    await twin.start()
    run.over()


@fault("tls-failure", lambda chance: sick(chance, seconds=chance.choice((2.0, 5.0))))
async def tls_failure(run: Run, values: dict[str, Any]) -> None:
    twin = run.twins[values["platform"]]
    run.in_flight(values["platform"])
    await twin.kill()
    async with run.impostor(twin.port):
        await trio.sleep(values["seconds"])
    await twin.start()
    run.over()
