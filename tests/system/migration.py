"""A healthy migration at Google: half of a base's tokens become installation ids within a day, in mid-campaign."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import trio

from broadside.api.dead_records import QUESTIONS
from broadside.api.subscriber import Subscriber
from broadside.demo import samples
from tests.system.faults import fault

if TYPE_CHECKING:
    from tests.system.plan import Plan
    from tests.system.run import Run

CHANNEL = "android"
WAVES = "cd"
"""The first letters of the ids that move: a quarter of the base each, of the four that Google's ids begin with."""
FEW = 200
"""Registrations of one request."""


def phone(token: str) -> str:
    """The phone of a token, at Google: its installation id."""
    return token.partition(":")[0]


def _fids(plan: Plan) -> Iterator[Subscriber]:
    """The usual base, whose tokens at Google begin with an installation id; the dead have none."""
    for row in samples.subscribers(plan.subscribers, 0.02, {"android": "fcm", "ios": "apns"}):
        if row.channel == CHANNEL and not row.token.startswith(samples.DEAD):
            digest = hashlib.sha256(row.token.encode()).hexdigest()
            fid = "cdef"[int(digest[0], 16) % 4] + digest[1:22]
            yield msgspec.structs.replace(row, token=f"{fid}:APA91b{digest}")
        else:
            yield row


def _given_up(plan: Plan, platform: str) -> str:
    """Google answers 404 for a token once its wave has moved, and takes its id at any time."""
    if platform != "fcm":
        return ""
    moved = [
        f'[[rules]]\nprefix = "{letter}"\nkind = "token"\nwhile_file = "{{folder}}/{letter}.moved"\nanswer = "dead"\n'
        for letter in WAVES
    ]
    return "\n".join(moved)


def _told(chance: random.Random) -> dict[str, Any]:
    return {"told": chance.choice(("replaces", "nothing", "either"))}


async def _moved(run: Run, values: dict[str, Any]) -> None:
    """Nobody was asked, all who moved are in the base under their id, and the next campaign finds them there."""
    await run.another()
    asked = [each for each in (await run.node.get("/v1/dead"))["items"] if each["state"] in QUESTIONS]
    run.law("a healthy migration raises no question", not asked, str(asked)[:300])
    moved, kinds = run.notes["moved"], await run.kinds(CHANNEL)
    run.law("who moved is in the base under the id", kinds["fid"] == moved, f"{kinds} of {moved}")


@fault("fid-migration", _told, rows=_fids, answers=_given_up, phone=phone, at=0.05, finish=_moved, limit=120.0)
async def fid_migration(run: Run, values: dict[str, Any]) -> None:
    """A release of the app: each phone tells the newsroom its id, and Google gives its token up a moment later."""
    before = [row for row in _fids(run.plan) if row.channel == CHANNEL and not row.token.startswith(samples.DEAD)]
    for letter in WAVES:
        wave = [row for row in before if row.token[0] == letter]
        for start in range(0, len(wave), FEW):
            await run.node.post_lines(
                "/v1/subscribers/bulk", [_registration(row, values) for row in wave[start : start + FEW]]
            )
        (run.folder / f"{letter}.moved").touch()
        await trio.sleep(0.5)
    run.note("moved", sum(row.token[0] in WAVES for row in before))


def _registration(row: Subscriber, values: dict[str, Any]) -> dict[str, Any]:
    """The app names the token that its id replaces, or only registers the id."""
    fid, told = phone(row.token), values["told"]
    names_it = told == "replaces" or (told == "either" and int(fid[-1], 16) % 2 == 0)
    more = {"replaces": row.token} if names_it else {}
    return {"channel": CHANNEL, "token": fid, "kind": "fid", **more}
