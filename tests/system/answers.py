"""Faults of what providers answer: what cannot be written, what nobody documents, what asks for a day's patience."""

from __future__ import annotations

import random
from functools import cache
from typing import TYPE_CHECKING, Any

import trio

from broadside.demo import samples
from simulators.faults.director import draw
from tests.system.faults import FAULTS, Fault, fault, sick
from tests.system.people import answer, asked

if TYPE_CHECKING:
    from tests.system.plan import Plan
    from tests.system.run import Run

_TOO_LATE = '{"reason":"Unregistered","timestamp":18446744073709551617}'
_TOO_LONG = (
    '{"error":{"code":400,"status":"INVALID_ARGUMENT","details":[{"@type":'
    f'"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"{"X" * 15_000}"}}]}}}}'
)
_UNWRITABLE = {"apns": (410, _TOO_LATE), "fcm": (400, _TOO_LONG)}
ASKED_AGAIN = 4
"""How often a provider may be asked again about a refused phone while a person's answer is awaited: a few probes."""
_ODD = 0.02
"""The share of the phones that get any answer: many of them stop or slow a channel, as they should."""


def _chosen(plan: Plan) -> frozenset[str]:
    """One phone of each platform."""
    return _phones_at(plan.subscribers, plan.kind().dead, plan.values["phone"])


@cache
def _phones_at(count: int, dead: float, where: float) -> frozenset[str]:
    rows = list(samples.subscribers(count, dead, {"ios": "apns", "android": "fcm"}))
    found = set()
    for channel in ("ios", "android"):
        living = [row.token for row in rows if row.channel == channel and not row.token.startswith(samples.DEAD)]
        found.add(living[int(where * len(living))])
    return frozenset(found)


def _unwritable(plan: Plan, platform: str) -> str:
    """Delivered, so that the ledger counts who got it how often."""
    status, body = _UNWRITABLE[platform]
    answer = f"answer = \"raw\"\nstatus = {status}\nbody = '{body}'\ndelivered = true\n"
    prefixes = ['"live"', '"0"']
    if plan.values["who"] == "one":
        prefixes = [f'"{token}"' for token in _chosen(plan)]
    return "".join(f"[[rules]]\nprefix = {prefix}\n{answer}\n" for prefix in prefixes)


def _unwritable_phone(plan: Plan, token: str) -> bool:
    return plan.values["who"] == "all" or token in _chosen(plan)


def _unwritable_drawn(chance: random.Random) -> dict[str, Any]:
    return {"who": chance.choice(("one", "all")), "phone": round(chance.random(), 3)}


@fault(
    "unwritable-answer",
    _unwritable_drawn,
    answers=_unwritable,
    odd=_unwritable_phone,
    dead=0.0,
    small=True,
    at=0.0,
    limit=40.0,
)
async def unwritable_answer(run: Run, values: dict[str, Any]) -> None:
    """For one phone, that phone ends. For all, Apple's look like a wrong key: a person is asked, and confirms them."""
    if values["who"] == "all":
        run.may_repeat(ASKED_AGAIN, "apns")
        await asked(run, "ios")
        await answer(run, "confirm", "ios")


FAULTS["any-answer"] = Fault(
    "any-answer",
    lambda chance: {},
    answers=lambda plan, platform: f'[[rules]]\nanswer = "anything"\nshare = {_ODD}\n',
    odd=lambda plan, token: draw(f"{plan.seed % 2**31}:0".encode(), token) < _ODD,
    ttl=30,
    may_expire=True,
    limit=110.0,
    small=True,
    slow=True,
)
FAULTS["retry-after-a-day"] = Fault(
    "retry-after-a-day",
    lambda chance: sick(chance, phone=round(chance.random(), 3)),
    answers=lambda plan, platform: "".join(
        f'[[rules]]\nanswer = "429"\nretry_after = 86400\nprefix = "{token}"\ntimes = 1\n\n'
        for token in _chosen(plan)
        if plan.values["platform"] == platform
    ),
    odd=lambda plan, token: token in _chosen(plan),
    ttl=40,
    limit=60.0,
)


@fault("third-of-life", lambda chance: sick(chance, seconds=15.0), ttl=45, limit=70.0, slow=True)
async def third_of_life(run: Run, values: dict[str, Any]) -> None:
    """The provider is out of reach for a third of the news' life: nobody is given up for that."""
    twin = run.twins[values["platform"]]
    run.in_flight(values["platform"])
    await twin.kill()
    await trio.sleep(values["seconds"])
    reasons = run.notes.get("reasons", {})
    channel = {"apns": "ios", "fcm": "android"}[values["platform"]]
    run.law("a provider out of reach is a reason that is shown", channel in reasons, f"reasons shown: {reasons}")
    await twin.start()
    run.over()
