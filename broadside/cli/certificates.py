"""``broadside campaign certificate`` and ``broadside verify-certificate``: what a campaign did, signed and checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter

from broadside.api.certificate_records import CampaignCertificate
from broadside.api.report_text import moment
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, campaign_id, client
from broadside.cli.output import complain, say
from broadside.errors import UsageError
from storage.whole_file import write_whole

_EPILOGUE = """\
Examples:
    broadside key certificates > certificates.pem
    broadside campaign certificate 2qbsgz3kxm4ta --out storm.json
    broadside verify-certificate --key certificates.pem storm.json

The exit code is 0 if the certificate is what the key has signed, 1 if it is not,
2 if a file cannot be read. Nothing else is needed: no node, no network."""


def register(app: App) -> None:
    """Add the command."""
    app.command(verify_certificate, name="verify-certificate", help_epilogue=_EPILOGUE)


def certificate(
    id: Annotated[str, Parameter(help="The campaign's 13 characters, as `campaign list` shows them.")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="Write it to this file. Default: standard output.")] = None,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Write what the ledger has of a campaign that is over or stopped: its ranges and totals, signed."""
    with client(config, data) as node:
        found = node.call(routes.CERTIFICATE, id=campaign_id(id), timeout=600.0)
    text = msgspec.json.format(msgspec.json.encode(found), indent=2)
    if out is None:
        say(text.decode())
        return 0
    try:
        write_whole(out, text + b"\n")
    except OSError as error:
        raise UsageError(f"{out} cannot be written: {error.strerror}") from None
    say(f"certificate of campaign {found.campaign} in {out}, signed by key {found.key}")
    return 0


def verify_certificate(
    file: Annotated[Path, Parameter(help="The certificate.")],
    /,
    *,
    key: Annotated[Path, Parameter(help="The public key, as `broadside key certificates` prints it.")],
) -> int:
    """Check a certificate without a node: whether every word and number of it is what the newsroom's key has signed."""
    from broadside.newsroom.certificates import signing  # cryptography is needed by no other command

    public = signing.read_public(_read(key))
    try:
        found = signing.check(_read(file), public)
    except signing.Untrue as error:
        complain(f"{file} is NOT a certificate by this key: {error}")
        return 1
    for line in _words(found):
        say(line)
    return 0


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None


def _words(found: CampaignCertificate) -> list[str]:
    lines = [
        f"true: signed by key {found.key}, issued by {found.issued_by} at {moment(found.issued_at)}",
        f"campaign {found.campaign}, {found.state}: fired {moment(found.fired_at)}, ended {moment(found.finished_at)}",
    ]
    lines += [f"text {text.version}: {_short(text.title, text.body)}" for text in found.texts]
    for name, sums in sorted(found.channels.items()):
        told = ", ".join(f"{number:,} {word}" for word, number in sums.items() if number)
        lines.append(f"{name}: {told or 'nobody'}")
    count, gaps = len(found.ranges), len(found.gaps)
    lines.append(f"{count:,} range{'' if count == 1 else 's'} of ids, {gaps:,} gap{'' if gaps == 1 else 's'}")
    return lines


def _short(title: str | None, body: str) -> str:
    return " ".join(f"{title or ''} {body}".split())[:200]
