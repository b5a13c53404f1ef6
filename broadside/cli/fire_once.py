"""Fires once from the command line: a request without an answer is repeated under the same idempotency key."""

from __future__ import annotations

import time

import msgspec

from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.cli.output import complain
from broadside.datafolder import DataFolder
from broadside.errors import ApiError, NodeUnreachable

PATIENCE = 30.0
"""Seconds from the first try after which no other try begins."""
PAUSES = (0.1, 0.25, 0.5, 1.0, 2.0)


def fire_once(folder: DataFolder, request: FireRequest, key: str) -> CampaignReport:
    """Fire, and repeat the request under ``key`` while answers are lost or the node's Tarantool is away.

    Raises ``NodeUnreachable`` or ``ApiError``. If the campaign may be firing nevertheless, the error says so and how to
    check, with the campaign's id if a node has given it.
    """
    deadline = time.monotonic() + PATIENCE
    maybe, campaign, tries = False, "", 0
    try:
        while True:
            try:
                # looked up each time: a restarted node may have another port
                with Client.of(folder) as client:
                    return client.fire(request, key)
            except NodeUnreachable as error:
                maybe = maybe or error.sent
                if not maybe:
                    raise
                if time.monotonic() > deadline:
                    raise NodeUnreachable(f"{error}; {_unsure(campaign, key, request)}", sent=True) from error
            except ApiError as error:
                maybe, campaign = maybe or error.fired == "maybe", error.campaign or campaign
                if error.status != 503 or time.monotonic() > deadline:
                    if maybe and error.status >= 500:
                        error.args = (f"{error}; {_unsure(campaign, key, request)}",)
                    raise
            if tries == 0:
                complain("no answer yet: repeating the request under the same key, so nothing is fired twice")
            time.sleep(PAUSES[min(tries, len(PAUSES) - 1)])
            tries += 1
    except KeyboardInterrupt:
        complain(_unsure(campaign, key, request))
        raise


def _unsure(campaign: str, key: str, request: FireRequest) -> str:
    look = f"campaign show {campaign}" if campaign else "campaign list"
    which = f"campaign {campaign}" if campaign else "the campaign"
    state = "firing" if request.start is msgspec.UNSET else "scheduled"
    return f"{which} may be {state}: broadside {look}; the same command with --key {key} does not fire it twice"
