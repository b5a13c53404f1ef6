"""Scripts of twins: what becomes of a campaign, and of the base, when the provider answers by them."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from tests.inputs.lab import TWINS, Differs, Input, Lab, Labs, must, phones

Play = Callable[[Lab, int], Awaitable[str]]
"""Fires at a base of so many phones, and returns the figures."""

AFTER_SILENCE = 25.0
"""Seconds until a campaign is delivered although its connections have died silently: 5 s without an answer, 5 s for
the answer to a PING, and then all of it over new connections. Connections are not probed before they are used."""


@dataclass(frozen=True, kw_only=True)
class Scripted:
    """A twin's script. ``base``: the file beside it with the phones; None: ``size`` phones made here."""

    row: str
    play: Play
    platform: str = "apns"
    base: str | None = None
    size: int = 0

    async def run(self, file: Input, labs: Labs) -> str:
        """Start a node whose twin answers by the script, import the base, and play."""
        async with labs.started(file.name, TWINS, (self.platform, file.content.decode())) as lab:
            if self.base is None:
                await lab.add(phones("ios-news", self.size))
                return await self.play(lab, self.size)
            base = labs.files.get(self.base)
            if base is None:
                raise Differs(f"{self.base}, its base, is not there")
            said = await lab.cli("subscribers", "import", str(base), "--json", "--rejected", "rejected")
            summary = json.loads(said.out)
            return await self.play(lab, summary["inserted"])


async def wrong_key(lab: Lab, size: int) -> str:
    """A key of the wrong environment: a person is asked, and nobody is deleted."""
    campaign = await lab.fire()
    question = await _question(lab)
    said = await lab.cli("campaign", "show", campaign)
    must("dead keep ios-news" in said.out + said.err, f"`campaign show` does not ask: {said.out[-300:]}")
    report = await lab.report(campaign)
    must(report["channels"]["ios-news"]["dead"] == 0, f"some are dead: {report['channels']}")
    must(await lab.count() == size, f"{await lab.count()} of {size} are left")
    return f"{size:,} refused, nobody deleted: {question[:80]}"


async def old_base(lab: Lab, size: int) -> str:
    """A third is really dead: all living get it, and nothing stands still until then."""
    campaign = await lab.fire()
    report = await lab.done(campaign, 120)
    tally = report["channels"]["ios-news"]
    must(tally["expired"] == 0, f"{tally['expired']} expired")
    must(tally["delivered"] + tally["dead"] == size, f"of {size}: {tally}")
    must(not any(token.startswith("dead") for token in lab.accepted("apns")), "a dead phone accepted it")
    left = await lab.count()
    must(left >= tally["delivered"], f"{left} phones are left where {tally['delivered']} live")
    return f"{tally['delivered']:,} delivered, {tally['dead']:,} dead, 0 expired, {report['seconds']:.1f} s"


async def foreign_tokens(lab: Lab, size: int) -> str:
    """What the import refused cannot stop the channel: all others get it."""
    report = await lab.done(await lab.fire())
    tally = report["channels"]["android-news"]
    must(tally["delivered"] == size, f"of {size}: {tally}, {report['reasons']}")
    alarms = [each for each in (await lab.get("/readyz"))["alarms"] if each["severity"] != "notice"]
    must(not alarms, f"there is an alarm: {alarms}")
    return f"{size:,} delivered, the channel never stood"


async def dead_connections(lab: Lab, size: int) -> str:
    """The connections die silently after the first campaign: the second comes nevertheless."""
    await lab.done(await lab.fire({"title": "First", "body": "Now"}))
    began = trio.current_time()
    report = await lab.done(await lab.fire({"title": "Second", "body": "Now"}))
    took = trio.current_time() - began
    tally = report["channels"]["ios-news"]
    must(tally["delivered"] == size, f"of {size}: {tally}, {report['reasons']}")
    must(took < AFTER_SILENCE, f"the second campaign took {took:.1f} s")
    return f"{size:,} delivered twice, the second after {took:.1f} s ({tally['retried']:,} retried)"


async def _question(lab: Lab) -> str:
    with trio.move_on_after(60):
        while True:
            found = (await lab.get("/v1/dead"))["items"]
            if questions := [each for each in found if each["state"] in ("stopped", "asked")]:
                return f"{questions[0]['channel']} {questions[0]['state']}, {json.dumps(questions[0]['reasons'])}"
            await trio.sleep(0.05)
    raise Differs("nobody is asked")
