"""The request that a command's options describe: ``fire`` and ``campaign forecast`` share it."""

from __future__ import annotations

import msgspec

from broadside.api.api_client import Client
from broadside.api.campaign_report import FireRequest, NewsroomClock
from broadside.api.v1 import table as routes
from broadside.cli.audience_options import AudienceOptions
from broadside.cli.when import When
from broadside.datafolder import DataFolder


def composed(request: FireRequest, who: AudienceOptions, when: When, folder: DataFolder) -> FireRequest:
    """Add the audience and the times to a request (raises ``UsageError``)."""
    if (audience := who.request()) is not None:
        request = msgspec.structs.replace(request, audience=audience)
    start, expires = when.times(lambda: _newsroom(folder))
    if start is not None:
        request = msgspec.structs.replace(request, start=start)
    if expires is not None:
        request = msgspec.structs.replace(request, expires=expires)
    return msgspec.structs.replace(request, expire_asleep=True) if when.expire_asleep else request


def _newsroom(folder: DataFolder) -> NewsroomClock:
    with Client.of(folder) as client:
        return client.call(routes.NEWSROOM)
