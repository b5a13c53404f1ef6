"""Why did this phone not get it? Collects the facts about a person and a campaign, wherever they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import msgspec
import trio

from broadside.api.explain_records import ExplainRequest, Explanation, Explanations
from broadside.api.token_rules import DeviceTokens
from broadside.errors import Conflict
from broadside.newsroom.explain.explain_facts import Facts
from broadside.newsroom.explain.fate import explain
from broadside.newsroom.explain.ledger_archive import ArchivedLedger, read_archive
from campaigns.campaign import Campaign
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from storage.errors import StorageError
from storage.records import Whereabouts
from storage.store import Store
from storage.tubes import Tubes
from transports import registry


class ExplainDesk:
    """One node's answers. ``tubes``: the nodes' by their names; ``archive``: the folder with this node's archives."""

    def __init__(
        self,
        store: Store,
        tubes: Mapping[str, Tubes],
        device_tokens: DeviceTokens,
        archive: Path | None,
        clock: Clock,
    ) -> None:
        self._store = store
        self._tubes = tubes
        self._device_tokens = device_tokens
        self._archive = archive
        self._clock = clock

    async def explain(self, id: int, wanted: ExplainRequest) -> Explanations | None:
        """Return what became of a person; None: no such campaign.

        Raises ``Conflict`` if the campaign's ledger is in an archive that is not here.
        """
        subscriber = None if wanted.subscriber is msgspec.UNSET else wanted.subscriber
        tokens = [] if wanted.token is msgspec.UNSET else self._spellings(wanted.token)
        campaign = await self._store.campaign_timed(id)
        found = await self._store.explain_facts(id, subscriber, tokens)
        if campaign is None or found is None:
            return None
        people = [msgspec.convert(each, Facts) for each in found] or [Facts(subscriber=0)]
        items = [await self._one(campaign, facts) for facts in people]
        if wanted.channel is not msgspec.UNSET:
            items = [each for each in items if each.channel in (None, wanted.channel)]
        items.sort(key=lambda each: each.fate in ("outside", "after", "nobody"))  # who is meant, first
        return Explanations(items)

    async def _one(self, campaign: Campaign, facts: Facts) -> Explanation:
        if "archive" in campaign.policy and facts.subscriber:
            campaign, facts = await self._from_archive(campaign, facts)
        batch = await self._batch(campaign, facts)
        return explain(campaign, facts, batch, self._message_id(campaign, facts), self._clock())

    async def _from_archive(self, campaign: Campaign, facts: Facts) -> tuple[Campaign, Facts]:
        text, archive = campaign_text(campaign.id), campaign.policy["archive"]
        try:
            if self._archive is None:
                raise FileNotFoundError
            path = self._archive / f"{text}.ndjson.gz"
            ledger: ArchivedLedger = await trio.to_thread.run_sync(read_archive, path, facts.subscriber)
        except OSError:
            what = f"the ledger of campaign {text} is in node {archive['node']}'s archive/{text}.ndjson.gz"
            raise Conflict(what, "ask that node, or bring the file into the folder `archive` of this one") from None
        facts = msgspec.structs.replace(
            facts, listed=ledger.listed, last_id=ledger.last_id, walked=ledger.walked, page=ledger.page
        )
        return replace(campaign, windows=ledger.windows), facts

    async def _batch(self, campaign: Campaign, facts: Facts) -> Whereabouts | str | None:
        """Where the push lies, if it is on a node's tubes; a text: why that is not known."""
        page = facts.page
        if page is None or page.state != "enqueued" or page.ended or facts.row is None:
            return None
        tubes = self._tubes.get(page.node)
        if tubes is None:
            return f"this node does not know {page.node}: ask that one where the push lies"
        try:
            channel = campaign.channel_of(facts.row.channel)
            return await tubes.batch_of(channel, campaign.id, page.segment, page.seq, facts.subscriber)
        except StorageError:
            return f"{page.node} does not answer: where the push lies is not known"

    def _message_id(self, campaign: Campaign, facts: Facts) -> str | None:
        platform = None if facts.row is None else self._device_tokens.channels.get(facts.row.channel)
        make = None if platform is None else registry.load(platform).message_id
        return None if make is None else make(campaign.id, facts.subscriber)

    def _spellings(self, token: str) -> list[str]:
        """The forms of a token: as given, and as the platforms write it."""
        rules, found = self._device_tokens, {token}
        for channel in rules.channels:
            for kind in rules.kinds(channel):
                if isinstance(text := rules.one(channel, kind, token), str):
                    found.add(text)
        return sorted(found)
