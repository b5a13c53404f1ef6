"""``broadside receipts``: reads receipts out of access logs."""

from __future__ import annotations

import gzip
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Annotated, Any

import msgspec
from cyclopts import App, Parameter

from broadside.api.api_client import Client
from broadside.api.delivery_records import MOST_RECEIPTS, ReceiptsNoted, ReceiptsRequest
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import say, say_json
from broadside.errors import UsageError, shown
from campaigns.receipt import receipts_in

LONGEST_LINE = 64 * 1024
"""Octets of a line that are looked through at once."""

_EPILOGUE = """\
Examples:
    broadside receipts import /var/log/nginx/receipts.log
    broadside receipts import access.log access.log.1 access.log.2.gz
    zcat old/*.gz | broadside receipts import -

[receipts] in broadside.toml gives one phone in so many an address on a host of
your own, which the app opens when a push arrives. This command finds these
addresses in the host's access log (common or combined format, JSON lines, or
any other with one request a line; .gz is unpacked) and sends the receipts alone
to the node. A phone counts once for a campaign, so a log may be imported again.
`broadside campaign show ID` has the estimate. Import on one node of a ring."""

_Files = Annotated[list[str], Parameter(help="Access logs; - reads standard input.", negative="")]


def register(app: App) -> None:
    """Add the group."""
    group = App(name="receipts", help="Estimate from access logs how many pushes arrived.", help_epilogue=_EPILOGUE)
    group.command(import_, name="import")
    app.command(group)


def import_(files: _Files, /, *, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Read access logs, and count the phones whose pushes have arrived. The exit code is 1 if a receipt is forged."""
    totals: Counter[str] = Counter()
    lines = 0
    waiting: dict[str, None] = {}
    with client(config, data) as node:
        for file in files:
            for line in _lines(file):
                lines += 1
                for receipt in receipts_in(line):
                    waiting[receipt] = None
                if len(waiting) >= MOST_RECEIPTS:
                    _send(node, waiting, totals)
        _send(node, waiting, totals)
    noted = ReceiptsNoted(**{name: totals[name] for name in ReceiptsNoted.__struct_fields__})
    if json:
        say_json({"lines": lines, **msgspec.structs.asdict(noted)})
    else:
        say(f"{lines:,} lines: {noted.counted:,} phones counted, {noted.again:,} counted before")
        if noted.unknown:
            say(f"{noted.unknown:,} receipts are of campaigns that this ring does not know")
        if noted.forged:
            say(f"{noted.forged:,} receipts are forged, or signed with another key: they do not count")
    return 1 if noted.forged else 0


def _send(node: Client, waiting: dict[str, None], totals: Counter[str]) -> None:
    """Send what waits. Also nothing: a node without a key for receipts says so."""
    receipts = list(waiting)
    waiting.clear()
    for start in range(0, max(1, len(receipts)), MOST_RECEIPTS):
        part = ReceiptsRequest(receipts=receipts[start : start + MOST_RECEIPTS])
        totals.update(msgspec.structs.asdict(node.call(routes.RECEIPTS, part, timeout=60.0)))


def _lines(file: str) -> Iterator[str]:
    if file == "-":
        yield from _read(sys.stdin.buffer)
        return
    path = Path(file)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as opened:
            yield from _read(opened)
    except (OSError, EOFError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise UsageError(
            f"receipts: {shown(file, 200)} cannot be read: {why} (name an access log, or - for stdin)"
        ) from None


def _read(opened: IO[bytes] | Any) -> Iterator[str]:
    while line := opened.readline(LONGEST_LINE):
        yield line.decode("utf-8", "replace")
