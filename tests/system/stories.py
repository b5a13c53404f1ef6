"""A story that is told while Apple's side of broadcast channels is sick, and the node perhaps killed."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import httpx
import trio

from tests.system.faults import fault, kill_node
from tests.system.processes import Failed

if TYPE_CHECKING:
    from tests.system.plan import Plan
    from tests.system.run import Run

GOALS = 5
THE_END = "The end"
BETWEEN = 0.5
"""Seconds between two goals: less than a sick Apple takes, so that they overtake each other if they can."""
TOLD = 120.0
"""Seconds until the end of a story is sent everywhere."""
_SICK = "apple.sick"
_CAUSES = {
    "refused": 'answer = "503"\n',
    "busy": 'answer = "429"\nretry_after = 2\n',
    "lost": 'answer = "reset"\ndelivered = true\n',
    "silent": 'answer = "mute"\ndelivered = true\n',
}


def _drawn(chance: random.Random) -> dict[str, Any]:
    return {
        "cause": chance.choice([*_CAUSES]),
        "seconds": chance.choice((3.0, 8.0)),
        "killed": chance.choice((False, True)),
    }


def _answers(plan: Plan, platform: str) -> str:
    """Apple's channels are sick while the file is there; pushes to phones are not."""
    if platform != "apns":
        return "bodies = true\n"
    rule = f'[[rules]]\nkind = "channel"\nwhile_file = "{{folder}}/{_SICK}"\n{_CAUSES[plan.values["cause"]]}'
    return f"bodies = true\n{rule}"


async def _one_end(run: Run, values: dict[str, Any]) -> None:
    """In the end every lock screen shows the end of the story, and nothing older came after it."""
    told = await _sent_everywhere(run)
    ledger = run.ledger()
    cards = [entry for entry in ledger["apns"] if entry.kind == "channel"]
    run.note("broadcasts", len(cards))
    run.law("one channel has all of a story's cards", len({each.token for each in cards}) == 1, f"{len(cards)} cards")
    run.law("no card is overtaken by an older one", not any(each.overtaken for each in cards))
    words: dict[int, set[str]] = {}
    for each in cards:
        words.setdefault(each.timestamp or 0, set()).add(each.body or "")
    run.law("a card that comes again says the same", all(len(said) == 1 for said in words.values()))
    last = json.loads(max(cards, key=lambda each: each.time).body or "{}")["aps"]["event"] if cards else "none"
    run.law("the last card is the story's end", last == "end", f"it is {last}")
    pushes = sorted((each for each in ledger["fcm"] if each.collapse == told["id"]), key=lambda each: each.time)
    shown = {each.token: each.body or "" for each in pushes}
    living = {token for token, channel in run.campaigns[-1].base.items() if channel == "android" and run.lives(token)}
    wrong = [token for token in living if f'"{THE_END}"' not in shown.get(token, "")]
    run.law("every phone without a card shows the story's end", not wrong, f"{len(wrong)} of {len(living)} do not")


async def _sent_everywhere(run: Run) -> Any:
    """Wait until the story's end is sent, and its campaign done; answers the story."""
    told = await _sent(run, "end")
    run.known |= {each["campaign"] for each in told["updates"] if each["campaign"]}
    last = told["updates"][0]["campaign"]
    with trio.move_on_after(TOLD):
        while (await run.node.get(f"/v1/campaigns/{last}"))["state"] != "done":  # noqa: ASYNC110 - the node is another process
            await trio.sleep(0.2)
        return told
    raise Failed(f"the campaign of the story's end is not done within {TOLD:g} s")


async def _sent(run: Run, event: str) -> Any:
    """Wait until the newest update, which is such an ``event``, is sent to a card as well; answers the story."""
    said: Any = None
    with trio.move_on_after(TOLD):
        while True:
            with suppress(httpx.HTTPError, OSError, ValueError):
                said = await run.node.get(f"/v1/stories/{run.notes['story']}")
                newest = said["updates"][0]
                if (newest["event"], newest["state"]) == (event, "sent") and said["cards"][0]["broadcast"]:
                    return said
            await trio.sleep(0.2)
    raise Failed(f"the story's {event} is not sent everywhere within {TOLD:g} s: {said}")


@fault("story", _drawn, answers=_answers, at=0.1, large=True, finish=_one_end, slow=True)
async def story(run: Run, values: dict[str, Any]) -> None:
    """A final is told while a campaign is under way: opened, five goals, and its end, each asked for until answered."""
    sick = run.folder / _SICK
    sick.touch()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_tell, run)
        await trio.sleep(values["seconds"] / 2)
        if values["killed"]:
            await kill_node(run, {"away": 0.5})
            run.ended_at = None  # how soon a node serves again is asked by kill-node
        await trio.sleep(values["seconds"] / 2)
        sick.unlink()


async def _tell(run: Run) -> None:
    opening = {"title": "Cup final", "change": _change(0)}
    run.note("story", (await _asked(run, "/v1/stories", opening, "opened"))["id"])
    path = f"/v1/stories/{run.notes['story']}"
    async with trio.open_nursery() as nursery:
        for number in range(1, GOALS + 1):
            nursery.start_soon(_asked, run, f"{path}/update", _change(number), f"goal {number}")
            await trio.sleep(BETWEEN)
    await _sent(run, "update")  # a match does not end before anybody could see its card
    end = {"state": {"score": f"{GOALS}:0"}, "message": {"title": THE_END, "body": "It is over."}}
    await _asked(run, f"{path}/end", end, "ended")


def _change(number: int) -> dict[str, Any]:
    score = f"{number}:0"
    return {"state": {"score": score}, "message": {"title": score, "body": f"After {number} goals."}}


async def _asked(run: Run, path: str, body: dict[str, Any], key: str) -> Any:
    """Ask until the node answers: it may be killed meanwhile."""
    while True:
        try:
            return await run.node.post(path, body, headers={"idempotency-key": key})
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500:
                raise Failed(f"{path}: {error.response.text[:300]}") from None
        except (httpx.HTTPError, OSError, ValueError):
            pass
        await trio.sleep(0.2)
