"""Faults of the wires between a node and its providers, its store, its queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from tests.system.faults import fault, none, sick

if TYPE_CHECKING:
    from tests.system.run import Run


@fault("cut-provider", lambda chance: sick(chance, times=chance.randrange(1, 4)), proxies=True)
async def cut_provider(run: Run, values: dict[str, Any]) -> None:
    for _ in range(values["times"]):
        run.in_flight(values["platform"])
        run.proxies[values["platform"]].cut()
        await trio.sleep(0.4)
    run.over()


@fault("truncate-provider", sick, proxies=True)
async def truncate_provider(run: Run, values: dict[str, Any]) -> None:
    run.in_flight(values["platform"])
    run.proxies[values["platform"]].truncate()
    run.over()


@fault(
    "delay-provider", lambda chance: sick(chance, delay=round(chance.uniform(0.05, 0.4), 2), seconds=3.0), proxies=True
)
async def delay_provider(run: Run, values: dict[str, Any]) -> None:
    proxy = run.proxies[values["platform"]]
    proxy.delay = values["delay"]
    await trio.sleep(values["seconds"])
    proxy.delay = 0.0
    run.over()


@fault("half-open-provider", lambda chance: sick(chance, seconds=chance.choice((2.0, 12.0))), proxies=True, slow=True)
async def half_open_provider(run: Run, values: dict[str, Any]) -> None:
    proxy = run.proxies[values["platform"]]
    run.in_flight(values["platform"])
    proxy.silent = proxy.refuse = True
    await trio.sleep(values["seconds"])
    proxy.silent = proxy.refuse = False
    proxy.cut()  # what was swallowed makes the rest of the bytes meaningless
    run.over()


def wire(name: str, **options: Any) -> None:
    """Enter the faults of the wire to ``store`` (which is the queue, too, unless told otherwise) or ``queue``."""

    async def cut(run: Run, values: dict[str, Any]) -> None:
        for _ in range(values["times"]):
            run.servers[name].wire.cut()  # what was leased stays leased
            await trio.sleep(0.7)
        run.over()

    async def truncate(run: Run, values: dict[str, Any]) -> None:
        run.servers[name].wire.truncate()
        run.over()

    async def delay(run: Run, values: dict[str, Any]) -> None:
        run.servers[name].wire.delay = values["delay"]
        await trio.sleep(values["seconds"])
        run.servers[name].wire.delay = 0.0
        run.over()

    async def half_open(run: Run, values: dict[str, Any]) -> None:
        proxy = run.servers[name].wire
        async with run.frozen():
            proxy.silent = proxy.refuse = True
        await trio.sleep(values["seconds"])
        proxy.silent = proxy.refuse = False
        proxy.cut()
        run.over()

    fault(f"cut-{name}", lambda chance: {"times": chance.randrange(1, 4)}, **options)(cut)
    fault(f"truncate-{name}", none, **options)(truncate)
    slow = lambda chance: {"delay": round(chance.uniform(0.02, 0.3), 2), "seconds": 3.0}  # noqa: E731
    fault(f"delay-{name}", slow, **options)(delay)
    fault(f"half-open-{name}", lambda chance: {"seconds": chance.choice((2.0, 8.0))}, **options)(half_open)


wire("store", store=True)
wire("queue", store=True, queue=True)
