"""``broadside campaign test``: sends a message to a few devices that are named."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from broadside.api.device_send_records import DeviceSend
from broadside.api.v1 import table as routes
from broadside.cli.message_options import Written, request_of
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import say, say_json, table
from broadside.errors import UsageError

_LONGEST_ID = 18  # digits: a token of so few digits alone does not exist


def to_devices(
    *,
    to: Annotated[
        list[str] | None,
        Parameter(
            help="A device: a subscriber's id, or a token. Repeat the option; 20 at most. Nobody else gets anything."
        ),
    ] = None,
    written: Written | None = None,
    channel: Annotated[
        str | None, Parameter(help="The channel of the tokens. It is needed for a token that nobody has registered.")
    ] = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Send a message to a few devices that you name, with [TEST] before its title. It is no campaign.

    It is shown at once, also at night. The exit code is 1 if a provider refuses a device, or does not answer.
    """
    if not to:
        raise UsageError("--to: names no device (write --to 17 for subscriber 17, or --to TOKEN)")
    ids = [each for each in to if each.isascii() and each.isdigit() and len(each) <= _LONGEST_ID]
    wanted = DeviceSend(
        message=request_of(written or Written(), None, None).message,
        subscribers=[int(each) for each in ids],
        tokens=[each for each in to if each not in ids],
        channel=channel,
    )
    with client(config, data) as node:
        report = node.call(routes.TEST, wanted, timeout=60.0)
    if json:
        say_json(report)
    else:
        rows = [[each.subscriber, each.channel, each.outcome, each.text] for each in report.devices]
        table(("subscriber", "channel", "outcome", "answer"), rows)
        say(f'\ntest {report.id}: "{report.title}"')
    return 0 if all(each.outcome == "accepted" for each in report.devices) else 1
