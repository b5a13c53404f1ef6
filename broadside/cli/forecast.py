"""``broadside campaign forecast``: says how long a campaign would take, and what would hold it up. Fires nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from broadside.api.api_client import Client
from broadside.api.campaign_report import FireRequest
from broadside.api.forecast_text import forecast_lines
from broadside.api.v1 import table as routes
from broadside.cli.audience_options import AudienceOptions
from broadside.cli.composing import composed
from broadside.cli.json_file import read_json
from broadside.cli.message_options import Channels, KindName, QuietChoice, Ttl, Written, of_kind, request_of
from broadside.cli.options import ConfigFile, DataDir, Json, data_folder
from broadside.cli.output import say, say_json
from broadside.cli.when import When
from broadside.errors import UsageError

_NOW = When()


def forecast(
    file: Annotated[
        Path | None, Parameter(help="A JSON file with the whole campaign, as `POST /v1/campaigns` takes it.")
    ] = None,
    /,
    *,
    written: Written | None = None,
    channel: Channels = None,
    who: AudienceOptions = AudienceOptions(),  # noqa: B008, it is frozen
    kind: KindName = None,
    ttl: Ttl = None,
    quiet: QuietChoice = None,
    when: When = _NOW,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Say how long a campaign would take, what would hold it up, and what your own servers would have to bear.

    Takes the options of `fire`, or a file. Nothing is fired. The exit code is 1 if a channel sends nothing now.
    """
    folder = data_folder(config, data)
    if file is not None:
        others = channel, kind, ttl, quiet, who.request()
        if written is not None or any(each is not None for each in others) or when != _NOW:
            raise UsageError(f"{file}: has all of the campaign (leave the options out)")
        request = read_json(file, FireRequest, "a campaign")
    else:
        request = composed(of_kind(request_of(written or Written(), channel, ttl), kind, quiet), who, when, folder)
    with Client.of(folder) as node:
        found = node.call(routes.FORECAST, request)
    if json:
        say_json(found)
    else:
        for line in forecast_lines(found):
            say(line)
    return 1 if any(each.seconds is None for each in found.channels.values()) else 0
