"""Approval: a campaign to many phones is let go by two people.

It waits, armed, for another key than the one that asked.
"""

from __future__ import annotations

from typing import NamedTuple

from broadside.api.campaign_report import Approval, CampaignReport, FireRequest
from broadside.api.idempotency import NODE_KEY
from broadside.api.report_text import instant
from broadside.errors import Conflict, NeedsYes, Problem, RecordError
from campaigns.campaign import Campaign
from campaigns.guards import Guards
from storage.armed import Arming, Unapproved


class Asker(NamedTuple):
    """Whose key a request comes with."""

    owner: str
    """Whom the key belongs to: all nodes' own keys are one."""
    name: str
    approver: bool
    """Whether it may approve what others ask for."""


ITSELF = Asker(NODE_KEY, "the node itself", approver=True)
"""A node that fires without anybody's key: the demo."""


def arming(phones: int, guards: Guards, by: Asker, draft: str | None) -> Arming:
    """Return how a campaign is armed that goes to at most ``phones``."""
    needs = guards.approval_above is not None and phones > guards.approval_above
    approval = {"phones": phones, "asked": by.owner, "asked_by": by.name} if needs else None
    return Arming(approval, draft)


def refuse_alone(phones: int, request: FireRequest, guards: Guards, by: Asker) -> None:
    """Raise ``NeedsYes`` if a campaign to at most ``phones`` is fired by one person who may not, or has not said so."""
    above = guards.approval_above
    if above is None or phones <= above or request.arm is True:
        return
    said = request.unapproved is True
    if said and by.approver:
        return
    raise _alone(phones, above, by, said=said)


def refuse_unapproved(campaign: Campaign, by: Asker, *, said: bool) -> None:
    """Raise ``RecordError`` if an armed campaign is to go without its approval by a key that may not decide that."""
    if said and not by.approver and approval_of(campaign) is not None:
        raise RecordError(_only_approvers())


def still_unapproved(campaign: Campaign, stays: Unapproved, by: Asker, zone: str | None) -> NeedsYes | Conflict:
    """Return why an armed campaign stays armed."""
    approval = approval_of(campaign)
    assert approval is not None
    what = f"goes to {approval.phones:,} phones and nobody but {approval.asked_by} has seen it"
    if stays.why == "expired":
        what = f"{approval.by} approved it, and that ended at {instant(approval.expires_at, zone)}"
    remedy = "another person approves it: broadside campaign approve"
    if not by.approver:
        return Conflict(what, remedy, field="approval")
    return NeedsYes(Problem("approval", what, f"{remedy}; or say yes: unapproved"), "unapproved")


def approval_of(campaign: Campaign) -> Approval | None:
    """Return the approval that a campaign needs, as the API shows it; None: it needs none."""
    found = (campaign.policy.get("armed") or {}).get("approval")
    if found is None:
        return None
    return Approval(
        phones=found["phones"],
        asked_by=found["asked_by"],
        by=found.get("name"),
        at=found.get("at"),
        expires_at=found.get("expires_at"),
    )


def refused(word: str, report: CampaignReport) -> Conflict:
    """Return why a campaign was not approved: what the store has said."""
    if word == "own":
        what = f"campaign {report.id} was asked for with this key"
        return Conflict(what, "another person approves it, with a key of their own")
    if word == "needless":
        return Conflict(f"campaign {report.id} needs no approval", f"fire it: broadside campaign fire {report.id}")
    return Conflict(f"campaign {report.id} is {report.state}", "only an armed campaign can be approved")


def _alone(phones: int, above: int, by: Asker, *, said: bool) -> NeedsYes | RecordError:
    if said:
        return RecordError(_only_approvers())
    what = f"goes to {phones:,} phones; above {above:,} two people let it go"
    ask = "ask another person: arm (fire --arm), and they approve it"
    remedy = f"{ask}; or say yes alone: unapproved (fire --unapproved)" if by.approver else ask
    return NeedsYes(Problem("audience", what, remedy, str(phones)), "unapproved" if by.approver else "arm")


def _only_approvers() -> Problem:
    remedy = "ask for an approval: arm (fire --arm)"
    return Problem("unapproved", "a key of the role editor cannot do without an approval", remedy, "true")
