"""What a campaign's policy has of its arrival on phones, as the report shows it."""

from __future__ import annotations

from collections.abc import Mapping

from broadside.api.delivery_records import ChannelDelivery, ProviderFigures, ReceiptEstimate
from campaigns.campaign import Campaign
from campaigns.receipt import share_of
from campaigns.tally import Tally

TRUTH = "truth"
"""The entry of the policy, which the store writes."""


def delivery_of(campaign: Campaign, tallies: Mapping[str, Tally]) -> dict[str, ChannelDelivery]:
    """Channel → what is known; channels that nothing is known of are left out."""
    found = {}
    for channel, known in sorted(campaign.policy.get(TRUTH, {}).items()):
        figures, receipts = known.get("figures"), known.get("receipts")
        accepted = tallies[channel].delivered if channel in tallies else 0
        share = share_of(receipts["received"], receipts["one_in"], accepted) if receipts else None
        found[channel] = ChannelDelivery(
            figures=None if figures is None else ProviderFigures(**figures),
            receipts=None if share is None else ReceiptEstimate(**receipts, **share._asdict()),
        )
    return found
