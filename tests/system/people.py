"""Faults of people: a key of the wrong environment, an old base, a second Fire because an answer was lost."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import trio

from broadside.api.subscriber import Subscriber
from broadside.api.v1 import table
from broadside.demo import samples
from tests.system.faults import fault, none
from tests.system.processes import Failed
from tests.system.proxy import Proxy

if TYPE_CHECKING:
    from broadside.api.api_client import Client
    from tests.system.pair import Pair
    from tests.system.plan import Plan
    from tests.system.run import Run

CHANNELS = {"apns": "ios", "fcm": "android"}
QUESTION_SECONDS = 40.0
"""For a channel whose every push is refused to ask a person."""
TAKEN_UP = 15.0
"""Seconds from a person's answer to the next push."""
ROW = 600
"""Dead phones that registered one after the other."""


def _wrong_key(platform: str, reason: str) -> Callable[[Plan, str], str]:
    rule = f'[[rules]]\nanswer = "dead"\nreason = "{reason}"\n'
    return lambda plan, asked: rule if asked == platform else ""


async def asked(run: Run, channel: str) -> str:
    """Wait until a person is asked about the channel; returns the question."""
    deadline = trio.current_time() + QUESTION_SECONDS
    while trio.current_time() < deadline:
        if found := [each["text"] for each in await _questions(run) if each["channel"] == channel]:
            return str(found[0])
        await trio.sleep(0.2)
    raise Failed(f"{channel}: no question within {QUESTION_SECONDS:g} s")


async def _questions(run: Run) -> list[dict[str, Any]]:
    return [each for each in (await run.node.get("/v1/dead"))["items"] if each["state"] in ("stopped", "asked")]


async def _mended(run: Run, values: dict[str, Any], platform: str) -> None:
    """Every push is refused, until a person is asked; the key is mended, the question answered, all get the news."""
    channel, before = CHANNELS[platform], await run.node.get("/v1/subscribers/count")
    run.note("question", (await asked(run, channel))[:200])
    await trio.sleep(3.0)
    after = await run.node.get("/v1/subscribers/count")
    run.law("a wrong key deletes nobody", after == before, f"{before} before, {after} after")
    stands = channel in {each["channel"] for each in await _questions(run)}
    run.law("the question stands until a person answers", stands, "it went away by itself")
    await run.twins[platform].restart(run.healthy(platform))
    accepted = run.twins[platform].accepted()
    code, said = await run.cli("dead", "keep", channel)
    _kept(run, code, said, run.twins[platform].accepted() > accepted)
    run.over()
    with trio.move_on_after(TAKEN_UP) as waiting:
        while run.twins[platform].accepted() == accepted:  # noqa: ASYNC110 - the twin is another process
            await trio.sleep(0.1)
    run.law("an answer is taken up at once", not waiting.cancelled_caught, f"nothing was sent within {TAKEN_UP:g} s")


def _kept(run: Run | Pair, code: int, said: str, delivered: bool) -> None:
    """Judge a person's ``dead keep`` after the key was mended.

    A probe may be faster than the person: once pushes are ``delivered`` the question is withdrawn by itself.
    """
    moot = code == 2 and "no question is open" in said and delivered
    run.law("`dead keep` answers the question", code == 0 or moot, f"exit code {code}: {said[-300:]}")


async def answer(run: Run, word: str, channel: str) -> None:
    """Answer the question about a channel, as a person would: ``confirm`` or ``keep``."""
    code, said = await run.cli("dead", word, channel)
    run.law(f"`dead {word}` answers the question", code == 0, f"exit code {code}: {said[-300:]}")


def _small_or_large(chance: random.Random) -> dict[str, Any]:
    return {"base": chance.choice((400, 40_000))}


def _of_size(plan: Plan) -> Iterator[Subscriber]:
    return samples.subscribers(plan.values["base"], 0.0, {"android": "fcm", "ios": "apns"})


@fault(
    "wrong-environment",
    _small_or_large,
    answers=_wrong_key("apns", "BadDeviceToken"),
    rows=_of_size,
    at=0.0,
    limit=90.0,
)
async def wrong_environment(run: Run, values: dict[str, Any]) -> None:
    await _mended(run, values, "apns")


@fault(
    "sender-mismatch",
    _small_or_large,
    answers=_wrong_key("fcm", "SENDER_ID_MISMATCH"),
    rows=_of_size,
    at=0.0,
    limit=90.0,
)
async def sender_mismatch(run: Run, values: dict[str, Any]) -> None:
    await _mended(run, values, "fcm")


@fault(
    "wrong-environment-pair",
    _small_or_large,
    answers=_wrong_key("apns", "BadDeviceToken"),
    at=0.0,
    limit=90.0,
    pair=True,
)
async def wrong_environment_pair(run: Pair, values: dict[str, Any]) -> None:
    """Each node sees half of the refusals; one answer, given on one node, is taken up on both."""
    with run.ring.node(1).client() as client:
        before = client.call(table.COUNT)
        run.note("question", await _asked_of(client))
        await trio.sleep(3.0)
        after = client.call(table.COUNT)
        run.law("a wrong key deletes nobody", after == before, f"{before} before, {after} after")
        standing = any(entry.open for entry in client.dead())
        run.law("the question stands until a person answers", standing, "it went away by itself")
    accepted = len(run.ledger()["apns"])
    run.mend()
    code, said = run.cli("dead", "keep", "ios-news")
    _kept(run, code, said, len(run.ledger()["apns"]) > accepted)
    run.over()


async def _asked_of(client: Client) -> str:
    """Wait for the question; returns its text."""
    deadline = trio.current_time() + QUESTION_SECONDS
    while trio.current_time() < deadline:
        if found := [entry for entry in client.dead() if entry.open]:
            return found[0].text[:200]
        await trio.sleep(0.2)
    raise Failed(f"no question within {QUESTION_SECONDS:g} s")


async def confirmed(run: Run, values: dict[str, Any]) -> None:
    """A third of the base is gone, and where no answer of the provider's proves it, a person confirms that."""
    deadline = trio.current_time() + 10.0
    while not (standing := await _questions(run)) and trio.current_time() < deadline:  # noqa: ASYNC110 - another process
        await trio.sleep(0.5)
    run.law("an old base is a question to a person", bool(standing), "nobody is asked within 10 s")
    for question in standing:
        await answer(run, "confirm", question["channel"])


async def _goes_through(run: Run, values: dict[str, Any]) -> None:
    """Nothing is done: the campaign has to go through by itself."""


fault(
    "old-base",
    none,
    dead=0.3,
    limit=90.0,
    at=0.0,
    finish=confirmed,
    later=True,
    compared="an old base goes through at its rate",
)(_goes_through)


def _in_a_row(plan: Plan) -> Iterator[Subscriber]:
    """The usual base, with 600 dead phones of one platform that registered one after the other."""
    for number, row in enumerate(samples.subscribers(plan.subscribers, 0.0, {"android": "fcm", "ios": "apns"})):
        if number == plan.subscribers // 3:
            platform = plan.values["sick"]
            yield from samples.subscribers(ROW, 1.0, {CHANNELS[platform]: platform})
        yield row


fault(
    "dead-in-a-row",
    lambda chance: {"sick": chance.choice(("apns", "fcm"))},
    rows=_in_a_row,
    at=0.0,
    limit=60.0,
    later=True,
    compared="600 dead in a row cost no rate",
)(_goes_through)


# -- Fire, and its answer is lost --------------------------------------------------------------------------------------

Lose = Callable[["Run", str], Awaitable[None]]


async def _before_the_store(run: Run, key: str) -> None:
    """The store is away when Fire asks it for the first time."""
    wire = run.servers["store"].wire
    wire.refuse = True
    wire.cut()
    await _lost(run, key)
    wire.refuse = False


async def _after_the_commit(run: Run, key: str) -> None:
    """The store has fired, and its answer never arrives."""
    wire = run.servers["store"].wire
    wire.deafen(b"store.campaign_fire")
    await _lost(run, key)
    wire.hear()
    wire.cut()


async def _at_the_api(run: Run, key: str) -> None:
    """The node answers, and the connection to the client is cut first."""
    proxy = Proxy(("127.0.0.1", run.node.port))
    async with trio.open_nursery() as nursery:
        await nursery.start(proxy.run)
        proxy.deafen(b"POST /v1/campaigns")
        nursery.start_soon(_cut_soon, proxy)
        await _lost(run, key, f"http://127.0.0.1:{proxy.port}")
        nursery.cancel_scope.cancel()


async def _cut_soon(proxy: Proxy) -> None:
    await trio.sleep(2.0)
    proxy.cut()


async def _lost(run: Run, key: str, url: str | None = None) -> None:
    """Fire, and hear of no success: an answer that came after all would prove nothing."""
    heard = None
    with suppress(httpx.HTTPError, OSError), trio.move_on_after(4.0):
        heard = await run.fire(key=key, url=url)
    run.law("the answer to the first Fire is lost", heard is None, str(heard)[:200])


_PLACES: dict[str, Lose] = {
    "before the store": _before_the_store,
    "after the commit": _after_the_commit,
    "at the API": _at_the_api,
}


async def _fire_twice(run: Run, values: dict[str, Any]) -> Any:
    """The answer to the first Fire is lost; the editor fires again under the same key, as the error says."""
    key = f"system-{run.plan.seed}"
    await _PLACES[values["where"]](run, key)
    deadline = trio.current_time() + 30.0
    while True:
        try:
            return await run.fire(key=key)
        except (httpx.HTTPError, OSError):
            if trio.current_time() > deadline:
                raise Failed("Fire does not come through although everything is back") from None
            await trio.sleep(0.5)


@fault(
    "lost-answer",
    lambda chance: {"where": chance.choice(list(_PLACES))},
    store=True,
    apart=True,
    small=True,
    at=0.0,
    limit=60.0,
    fire=_fire_twice,
)
async def lost_answer(run: Run, values: dict[str, Any]) -> None:
    run.over()
