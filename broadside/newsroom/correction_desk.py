"""Corrects and retracts campaigns: everybody ends up with the new text, and nobody who had none gets two."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec
import trio

from broadside.api.campaign_report import CorrectionRequest, RetractionRequest
from broadside.errors import Conflict, Problem, RecordError
from broadside.newsroom import stopping
from broadside.newsroom.firing import Firing, new_id
from broadside.newsroom.quiet_policy import HOURS, Quiet
from campaigns import personal
from campaigns.campaign import STORY, Campaign
from campaigns.clock import Clock
from campaigns.herd import HERD
from campaigns.identity import campaign_text
from campaigns.message import Message
from campaigns.windows import QuietRule
from storage.store import Store
from storage.tubes import Tubes

STANDS_WITHIN = 20.0
"""Seconds for a campaign to stand still. A node that cannot be told holds a lease for 11 at most."""
LOOK_EVERY = 0.1
COPIED = ("page_size", "kind", "lane", "ttl_ms", HOURS, HERD, STORY)
"""Entries of a campaign's policy that its second walk has, too."""

Check = Callable[[Message, Collection[str]], None]
"""Raises ``RecordError`` if one of these channels cannot carry a message as it is, awake and asleep."""


class CorrectionDesk:
    """Gives campaigns other texts. ``quiet``: the newsroom's quiet hours; ``queues``: those of all nodes."""

    def __init__(
        self,
        *,
        store: Store,
        queues: Sequence[Tubes],
        firing: Firing,
        quiet: Quiet,
        check: Check,
        clock: Clock,
    ) -> None:
        self._store = store
        self._queues = queues
        self._firing = firing
        self._quiet = quiet
        self._check = check
        self._clock = clock

    async def correct(self, id: int, request: CorrectionRequest) -> None:
        """Send another text in place of the campaign's: to those who have got it, and to those who have not.

        Raises ``RecordError`` for a text that cannot be sent, and ``Conflict``. A repeat with the same text goes on
        where an earlier call was interrupted, or changes nothing.
        """
        campaign = await self._known(id)
        message = _like(request.message, campaign)
        if await self._made(campaign, message, request.awake):
            return
        goes_on = campaign.state in ("firing", "pausing")
        await self._walk_again(await self._stand_still(campaign), message, request.awake)
        if goes_on:
            await self._go_on(id)

    async def retract(self, id: int, request: RetractionRequest) -> None:
        """Stop a campaign for ever; with a text, those who have got it are sent this one in its place."""
        campaign = await self._known(id)
        if request.message is not None:
            message = _like(request.message, campaign)
            if not await self._made(campaign, message, request.awake):
                await self._walk_again(await self._stand_still(campaign), message, request.awake)
        await self._cancel(id)

    async def _known(self, id: int) -> Campaign:
        campaign = await self._store.campaign_get(id)
        if campaign is None:
            raise Conflict(f"no campaign {campaign_text(id)}", "`campaign list` shows the ids", missing=True)
        if campaign.fired_at is None:
            raise Conflict(
                f"campaign {campaign_text(id)} is {campaign.state}: nobody has it", "cancel it, or change it"
            )
        if campaign.corrects is not None:
            first = campaign_text(campaign.corrects)
            raise Conflict(f"campaign {campaign_text(id)} corrects campaign {first}", f"correct that one: {first}")
        if "archive" in campaign.policy:
            raise Conflict(f"the ledger of campaign {campaign_text(id)} has left the store", "send a new campaign")
        return campaign

    async def _made(self, campaign: Campaign, message: Message, awake: bool) -> bool:
        """Whether this very correction is made already; an interrupted one is completed first."""
        if campaign.correction is None or campaign.message != message:
            return False
        if not campaign.corrected:
            await self._rewrite(campaign, campaign.correction, message, awake)
        return True

    async def _walk_again(self, campaign: Campaign, message: Message, awake: bool) -> None:
        fields = personal.fields(message)
        if fields and fields != personal.fields(campaign.message):
            what = "has other personal fields than the text that it corrects"
            raise RecordError(Problem("message", what, "use the same fields, or none"))
        self._check(message, campaign.channels)
        if campaign.correction is not None:
            await self._end(campaign.correction)
        now = self._clock()
        second = new_id(now)
        policy = {name: campaign.policy[name] for name in COPIED if name in campaign.policy}
        policy["corrects"] = campaign.id
        if not awake:
            policy["asleep"] = sorted(campaign.channels & set(self._quiet.silent))
        if campaign.windowed:
            policy["quiet"] = _rule(campaign, awake).value
        await self._store.campaign_create(
            second,
            message,
            sorted(campaign.channels),
            policy,
            now,
            where=campaign.where or {},
            estimate={name: sums.get("delivered", 0) for name, sums in campaign.tallies.items()},
        )
        await self._rewrite(campaign, second, message, awake)

    async def _rewrite(self, campaign: Campaign, second: int, message: Message, awake: bool) -> None:
        now = self._clock()
        windows = None
        if campaign.windowed:
            quiet, ttl = self._quiet.at(campaign.policy.get(HOURS)), int(campaign.policy["ttl_ms"])
            windows = quiet.windows(_rule(campaign, awake), sorted(campaign.channels), now, ttl)
        verdict = await self._store.campaign_correct(campaign.id, second, message, now, windows)
        if verdict != "copied":
            raise Conflict(f"campaign {campaign_text(campaign.id)} is {verdict}", "try again in a moment")
        if batons := await self._store.open_pages(second):
            await self._firing.spread(batons, campaign.lane)

    async def _stand_still(self, campaign: Campaign) -> Campaign:
        """Pause a campaign that is under way, and wait until nothing of it is. Raises ``Conflict`` if it takes long."""
        if campaign.ended:
            return campaign
        await self._store.campaign_pause(campaign.id, self._clock())
        await stopping.tell(self._queues)
        return await self._until(campaign.id, ("paused", "done"))

    async def _end(self, second: int) -> None:
        """End an earlier correction, of which the texts are old by now."""
        if (walk := await self._store.campaign_get(second)) is not None and not walk.ended:
            await self._cancel(second)
            await self._until(second, ("cancelled", "done"))

    async def _until(self, id: int, states: tuple[str, ...]) -> Campaign:
        with trio.move_on_after(STANDS_WITHIN):
            while True:
                campaign = await self._store.campaign_get(id)
                if campaign is not None and campaign.state in states:
                    return campaign
                await trio.sleep(LOOK_EVERY)
        waits = ", ".join(
            f"{each.node}: {stopping.WORDS[each.state]}" for each in await self._store.campaign_waits_for(id)
        )
        what = f"campaign {campaign_text(id)} does not stand still yet ({waits or 'a node has not reported'})"
        raise Conflict(what, "nothing more is begun; repeat the correction in a moment")

    async def _go_on(self, id: int) -> None:
        _, batons = await self._store.campaign_resume(id, self._clock()) or (None, [])
        if batons and (campaign := await self._store.campaign_get(id)) is not None:
            await self._firing.spread(batons, campaign.lane)
        await stopping.tell(self._queues)

    async def _cancel(self, id: int) -> None:
        await self._store.campaign_cancel(id, self._clock())
        await stopping.tell(self._queues)


def notes(campaign: Campaign) -> list[str]:
    """Say of a report what was corrected, or what it corrects."""
    if campaign.corrects is not None:
        return [f"it brings new texts to those who had got campaign {campaign_text(campaign.corrects)}"]
    if campaign.correction is None:
        return []
    what = "its texts were corrected" + (f" {campaign.texts} times" if campaign.texts > 1 else "")
    lines = [
        f"{what}; campaign {campaign_text(campaign.correction)} brings the new ones to those who had got it before"
    ]
    if not campaign.corrected:
        lines.append("the correction was interrupted: repeat it, or the campaign cannot go on")
    return lines


def _like(message: Message, campaign: Campaign) -> Message:
    """The message with the urgency of the campaign's, where it says nothing of it."""
    return msgspec.structs.replace(message, urgency=message.urgency or campaign.message.urgency)


def _rule(campaign: Campaign, awake: bool) -> QuietRule:
    """What quiet hours mean for a second walk: asleep it wakes nobody, so it need not wait."""
    return QuietRule(campaign.policy.get("quiet", QuietRule.HOLD)) if awake else QuietRule.SILENT
