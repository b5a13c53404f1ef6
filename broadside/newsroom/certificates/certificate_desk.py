"""Issues certificates of campaigns: from the ledger, signed with the store's key."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import msgspec
import structlog
import trio

from actors.periodic import Periodic
from broadside.api.certificate_records import CampaignCertificate, CertificateKey, CertifiedText
from broadside.errors import Conflict
from broadside.newsroom.certificates import signing
from broadside.newsroom.coverage import coverage_of
from broadside.newsroom.explain.ledger_archive import read_pages
from broadside.newsroom.reports import report
from campaigns.campaign import Campaign
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from storage.errors import StorageError
from storage.records import Cursor, LedgerPage, SigningKey
from storage.store import Store

log = structlog.get_logger(__name__)

STANDING = ("paused", "done", "cancelled", "missed")
"""States in which the ledger does not change."""
AGAIN_AFTER = 5.0
"""Seconds."""


class CertificateDesk:
    """One node's certificates. ``archive``: the folder with this node's archives."""

    def __init__(self, store: Store, node: str, archive: Path | None, clock: Clock) -> None:
        self._store = store
        self._node = node
        self._archive = archive
        self._clock = clock

    async def issue(self, id: int) -> CampaignCertificate | None:
        """Return a campaign's certificate; None: no such campaign.

        Raises ``Conflict`` while the campaign is under way, and if its ledger is in an archive that is not here.
        """
        campaign = await self._store.campaign_get(id)
        if campaign is None:
            return None
        if campaign.state not in STANDING:
            what = f"campaign {campaign_text(id)} is {campaign.state}: its ledger still changes"
            raise Conflict(what, "stop it, or wait until it is done")
        cursors, pages = await self._ledger(campaign)
        walked = coverage_of(campaign, cursors, pages)
        now = self._clock()
        tallies = report(campaign, now, ()).channels
        content = CampaignCertificate(
            campaign=campaign_text(id),
            state=campaign.state,
            created_at=campaign.created_at,
            fired_at=campaign.fired_at,
            finished_at=campaign.finished_at,
            texts=_texts(campaign),
            channels={name: msgspec.to_builtins(tally) for name, tally in tallies.items()},
            ranges=walked.walked,
            gaps=walked.gaps,
            issued_at=now,
            issued_by=self._node,
            key="",
        )
        return signing.sign(content, (await self.ensure()).private)

    async def public(self) -> CertificateKey:
        """Return the public half of the store's key."""
        found = await self.ensure()
        name, pem = signing.public_half(found.private)
        return CertificateKey(key=name, public=pem, created_at=found.created_at)

    async def ensure(self) -> SigningKey:
        """Return the store's key. The first one that any node proposes stays."""
        return await self._store.signing_key(signing.new_key(), self._clock())

    async def _ledger(self, campaign: Campaign) -> tuple[list[Cursor], list[LedgerPage]]:
        archive = campaign.policy.get("archive")
        if archive is None:
            return await self._store.campaign_cursors(campaign.id), await self._store.campaign_pages(campaign.id)
        text = campaign_text(campaign.id)
        try:
            if self._archive is None:
                raise FileNotFoundError
            return await trio.to_thread.run_sync(read_pages, self._archive / f"{text}.ndjson.gz")
        except OSError:
            what = f"the ledger of campaign {text} is in node {archive['node']}'s archive/{text}.ndjson.gz"
            raise Conflict(what, "ask that node, or bring the file into the folder `archive` of this one") from None


def _texts(campaign: Campaign) -> list[CertifiedText]:
    return [
        CertifiedText(
            version=version,
            sha256=hashlib.sha256(msgspec.json.encode(message, order="sorted")).hexdigest(),
            title=message.title,
            body=message.body,
        )
        for version, message in enumerate([*(message for _, message in campaign.former), campaign.message])
    ]


class KeyKeeper(Periodic):
    """Sees at each start to it that the store has a key, so that the first certificate waits for nobody."""

    def __init__(self, desk: CertificateDesk) -> None:
        super().__init__()
        self._desk = desk

    async def look(self) -> float:
        """Have the key made, unless there is one."""
        try:
            await self._desk.ensure()
        except StorageError as error:
            log.debug("the key for certificates is not known for now", error=str(error))
            return AGAIN_AFTER
        return math.inf
