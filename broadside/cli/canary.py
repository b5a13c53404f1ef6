"""``broadside fire --canary``, and ``broadside campaign rest``: a share first, then the rest."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport
from broadside.api.report_text import describe
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, campaign_id, client
from broadside.cli.output import complain, say, say_json
from broadside.datafolder import DataFolder
from broadside.errors import UsageError

DECIDED_WITHIN = 30.0
"""Seconds from the end of a share in which some node decides about the rest: each looks every second."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class CanaryOptions:
    """A share first, and the rest by itself."""

    canary: Annotated[
        float | None,
        Parameter(
            help="Send it to this share first, as in 0.01, and then to the rest by itself; if much of the share fails "
            "the rest gets nothing."
        ),
    ] = None
    canary_limit: Annotated[
        float | None, Parameter(help="The share of failures above which the rest gets nothing. Default: 0.1.")
    ] = None

    def said(self) -> dict[str, float]:
        """Return the fields of the request (raises ``UsageError``)."""
        if self.canary is not None and not 0 < self.canary <= 0.5:
            raise UsageError(f"--canary: {self.canary:g} is no share to begin with (above 0, and 0.5 at most)")
        if self.canary_limit is not None and not 0 <= self.canary_limit < 1:
            raise UsageError(f"--canary-limit: {self.canary_limit:g} is no share (0, or above it and below 1)")
        given = {"canary": self.canary, "canary_limit": self.canary_limit}
        return {name: value for name, value in given.items() if value is not None}


NONE = CanaryOptions()


def rest(
    id: Annotated[str, Parameter(help="The campaign's 13 characters, as `campaign list` shows them.")],
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Send the rest of a canary that has stopped, and let its share go on."""
    with client(config, data) as node:
        report = node.call(routes.REST, id=campaign_id(id))
    if json:
        say_json(report)
    else:
        say(f"the rest goes out as campaign {report.id}: {describe(report)}")
    return 0


def rest_of(
    folder: DataFolder, share: CampaignReport, wait: Callable[[CampaignReport], CampaignReport]
) -> CampaignReport | None:
    """Wait until it is decided about the rest of a campaign whose share has it, and then for the rest.

    Returns the last report about the rest; None: it gets nothing.
    """
    deadline = time.monotonic() + DECIDED_WITHIN
    with Client.of(folder) as node:
        while (found := node.call(routes.CAMPAIGN, id=share.id).canary) is not None and found.state == "open":
            if time.monotonic() > deadline:
                return None
            time.sleep(0.2)
        if found is None or found.rest is None:
            complain(f"the rest gets nothing: {found.why if found else ''} (broadside campaign rest {share.id})")
            return None
        report = node.call(routes.CAMPAIGN, id=found.rest)
    complain(f"the rest goes out as campaign {report.id}")
    return wait(report)
