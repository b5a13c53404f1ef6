"""``broadside subscribers``: imports, exports, edits and counts the base."""

from __future__ import annotations

import gc
import os
import stat
import sys
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, TypeAlias

from cyclopts import App, Parameter

from broadside.api.api_client import Client
from broadside.api.subscriber import latest_registration, read_subscriber, refused
from broadside.api.token_rules import DeviceTokens
from broadside.api.v1 import table as routes
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import Results, bars, complain, say, say_json, table
from broadside.errors import RecordError, UsageError
from broadside.imports.export import export as export_base
from broadside.imports.importer import Summary, import_file
from broadside.imports.mapping import PRESETS, Mapping, preset, read_map
from broadside.imports.private_file import PrivateFile
from broadside.imports.readers.reader_processes import MOST
from broadside.imports.resume import Resume
from broadside.imports.rules import Rules
from broadside.machine_limits import cores
from transports import registry

Channel: TypeAlias = Annotated[str, Parameter(help="The subscriber's channel, such as ios-news.")]
Token: TypeAlias = Annotated[str, Parameter(help="The device's token, as the app reported it.")]

_REPLACED = {
    "moved": ": the old token is replaced",
    "merged": ": both tokens had one, and they are one now",
    "unknown": "; the old token is no subscriber's",
}

_EPILOGUE = """\
Examples:
    broadside subscribers import base.csv
    zcat base.ndjson.gz | broadside subscribers import -
    broadside subscribers export --output base.csv
    broadside subscribers put ios-news 8d1f... --locale de --tz Europe/Berlin
    broadside subscribers put ios-news 77ab... --replaces 8d1f...
    broadside subscribers remove ios-news 8d1f...
    broadside subscribers count --json"""

_IMPORT_EPILOGUE = """\
The format is recognised: CSV with a header line, NDJSON, a JSON array; packed
with gzip or not; UTF-8 or UTF-16. Names of columns and keys:
    channel, token    required; together they identify the subscriber: one who
                      is in the base already is updated
    kind              {kinds}; default: token
    locale tz country app_version screen
    best_minute       minutes since midnight, or hh:mm
    tags              CSV: sport|weather; NDJSON: an array
    fields            an object; CSV: also as columns fields.first_name, ...
    registered_at     milliseconds or seconds since 1970, or an ISO date
    replaces          the phone's last token: its subscriber gets the new one, and
                      keeps what the row does not give
Other columns are named once and ignored. What other systems write is converted
(GMT+3, zh_CN_#Hans, DEU); an attribute that cannot be is dropped and counted:
the phone is taken. docs/import.md has the tables.

A bad line does not stop the import: it is reported, and kept in FILE.rejected
(fix it there, and import that file). The exit code is then 1.
A file should contain each (channel, token) once: requests overlap, so either
of two rows may win.

Examples:
    broadside subscribers import base.csv --dry-run
    broadside subscribers import users.csv.gz --preset onesignal
    broadside subscribers import tokens.txt --preset tokens --channel ios-news
    zcat base.ndjson.gz | broadside subscribers import -"""


def register(app: App) -> None:
    """Add the group."""
    group = App(name="subscribers", help="Import, count and export the base.", help_epilogue=_EPILOGUE)
    group.command(import_, name="import", help_epilogue=_IMPORT_EPILOGUE.format(kinds=" or ".join(registry.kinds())))
    group.command(put)
    group.command(remove)
    group.command(count)
    group.command(export)
    app.command(group)


def import_(
    file: Annotated[
        str, Parameter(name="FILE", help="A CSV or NDJSON file, or - for stdin.", allow_leading_hyphen=True)
    ],
    /,
    *,
    map: Annotated[Path | None, Parameter(help="A map file: which column is which field (docs/import.md).")] = None,
    preset: Annotated[str | None, Parameter(help=f"A map that comes with Broadside: {', '.join(PRESETS)}.")] = None,
    channel: Annotated[
        list[str] | None, Parameter(help="The channel of rows that name none; repeat it, one for each platform.")
    ] = None,
    strict: Annotated[
        bool, Parameter(negative="", help="Refuse unknown columns, and rows with an attribute that cannot be read.")
    ] = False,
    dry_run: Annotated[bool, Parameter(negative="", help="Read and check everything, and send nothing.")] = False,
    resume: Annotated[bool, Parameter(negative="", help="Go on where an interrupted import of FILE ended.")] = False,
    rejected: Annotated[
        Path | None, Parameter(help="The file for bad lines. Default: FILE.rejected (stdin: stdin.rejected).")
    ] = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Add subscribers from a file, or update existing ones."""
    if file.startswith("-") and file != "-":
        raise UsageError(f"subscribers import: unknown option {file} (for a file of that name write ./{file})")
    if resume and file == "-":
        raise UsageError("--resume: needs a file (a pipe cannot be read again)")
    mapping = _mapping(map, preset)
    with client(config, data) as node, _opened(file) as source:
        name = "stdin" if file == "-" else file
        there = node.call(routes.CHANNELS)
        rules = Rules(
            DeviceTokens(there.platforms), there.serving, mapping=mapping, channels=channel or (), strict=strict
        )
        kept = None if dry_run else rejected or Path(f"{name}.rejected")
        state = Resume() if dry_run else _resume(source, file, go_on=resume)
        # rows are made by the thousand and freed at once: the collector would scan them for nothing
        gc.disable()
        try:
            summary = _import(node, source, name, kept, rules, state)
        finally:
            gc.enable()
    if json:
        say_json({**_as_dict(summary), "rows_per_second": round(summary.rate), "dry_run": dry_run})
    else:
        _say(summary, rules, dry_run=dry_run)
    return 1 if summary.rejected else 0


def put(
    channel: Channel,
    token: Token,
    /,
    *,
    kind: Annotated[str, Parameter(help="The kind of token, if the platform has several.")] = "token",
    locale: Annotated[str, Parameter(help="A language tag, such as pt-BR.")] = "",
    tz: Annotated[str, Parameter(help="An IANA time zone, such as Europe/Berlin.")] = "",
    country: Annotated[str, Parameter(help="Two capital letters, such as DE.")] = "",
    tag: Annotated[list[str] | None, Parameter(help="A tag; repeat the option for several.")] = None,
    replaces: Annotated[
        str, Parameter(help="The phone's last token: its subscriber gets TOKEN, and keeps what you do not give.")
    ] = "",
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Add one subscriber, or update an existing one."""
    record = {"channel": channel, "token": token, "kind": kind, "locale": locale, "tz": tz, "country": country}
    try:
        row, changes = read_subscriber({**record, "tags": tag or [], "replaces": replaces}, latest_registration())
    except RecordError as error:
        raise UsageError(str(error)) from None
    if found := refused(changes):
        raise UsageError(str(found))
    with client(config, data) as node:
        answer = node.call(routes.REGISTER, row)
    if json:
        say_json(answer)
    else:
        note = next((_REPLACED[word] for word, n in answer.replaces.items() if n), "")
        say(f"{'added' if answer.inserted else 'updated'} one subscriber of {channel}{note}")
    return 0


def remove(
    channel: Channel,
    token: Token,
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Delete one subscriber; exit code 1 if none has that token."""
    with client(config, data) as node:
        query = routes.UnregisterQuery(channel=channel, token=token)
        removed = node.call(routes.UNREGISTER, query=query).removed
    if json:
        say_json({"removed": removed})
    elif removed:
        say(f"removed one subscriber of {channel}")
    else:
        complain(f"{channel} has no subscriber with that token")
    return 0 if removed else 1


def count(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Count the subscribers, in total and per channel."""
    with client(config, data) as node:
        counted = node.call(routes.COUNT)
    if json:
        say_json(counted)
    else:
        table(("channel", "subscribers"), [*sorted(counted.channels.items()), ("total", counted.total)])
    return 0


def export(
    *,
    output: Annotated[
        Path | None, Parameter(help="Write to this file, readable only by you. Default: standard output.")
    ] = None,
    format: Annotated[
        Literal["csv", "ndjson"] | None, Parameter(help="Default: csv if the file's name ends in .csv, else ndjson.")
    ] = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Write the whole base, with full tokens, as a file that can be imported again."""
    if json and output is None:
        raise UsageError("--json: needs --output FILE here (without it the export itself goes to stdout)")
    chosen: Literal["csv", "ndjson"] = format or ("csv" if output and output.suffix.lower() == ".csv" else "ndjson")
    with client(config, data) as node:
        total = node.call(routes.COUNT).total
        with bars(eta=True) as shown:
            task = shown.add_task("exporting", total=total, note="")
            if output is None:
                results = Results()
                rows = export_base(node.base, results, chosen, lambda n: shown.update(task, completed=n))
                results.flush()
                return 0
            with PrivateFile(output) as out:
                rows = export_base(node.base, out, chosen, lambda n: shown.update(task, completed=n))
    if json:
        say_json({"file": str(output), "format": chosen, "rows": rows})
    else:
        complain(f"{output}: {rows:,} subscribers")
    return 0


def _mapping(map_file: Path | None, name: str | None) -> Mapping | None:
    if map_file is not None and name is not None:
        raise UsageError("--map and --preset: choose one (a preset is a map file; docs/import.md shows how to copy it)")
    if map_file is not None:
        return read_map(map_file)
    return preset(name) if name is not None else None


def _resume(source: BinaryIO, file: str, *, go_on: bool) -> Resume:
    regular = stat.S_ISREG(os.fstat(source.fileno()).st_mode) and file != "-"
    return Resume(Path(file) if regular else None, go_on=go_on)


def _import(node: Client, source: BinaryIO, name: str, rejected: Path | None, rules: Rules, resume: Resume) -> Summary:
    size = os.fstat(source.fileno()).st_size or None
    upsert = None if rejected is None else node.upsert
    with bars(counted=False, eta=True) as shown:
        task = shown.add_task(name, total=size, note="")

        def progress(done: int, rows: int) -> None:
            seconds = shown.tasks[0].elapsed or 1e-9
            shown.update(task, completed=done, note=f"{rows:,} rows, {rows / seconds:,.0f}/s")

        return import_file(
            source,
            name,
            rejected,
            upsert,
            rules,
            tell=complain,
            progress=progress,
            resume=resume,
            processes=min(cores(), MOST),
        )


def _say(summary: Summary, rules: Rules, *, dry_run: bool) -> None:
    done = f"{summary.inserted:,} new, {summary.updated:,} updated, {summary.rejected:,} rejected"
    if dry_run:
        done = f"dry run, nothing was sent: {summary.inserted:,} good, {summary.rejected:,} bad"
    if summary.sent_before:
        done += f", {summary.sent_before:,} stored before"
    say(f"{summary.file}: {done}; {summary.seconds:.1f} s, {summary.rate:,.0f} rows/s")
    if any(summary.replaces.values()):
        complain(
            "replaced tokens: {moved:,} moved to the new token, {merged:,} merged with its subscriber,"
            " {unknown:,} unknown".format_map(summary.replaces)
        )
    for line in rules.changes.lines():
        complain(line)
    for reason, rows in summary.skipped.items():
        complain(f"{rows:,} left out: {reason}")
    if dry_run:
        for kind, fault in summary.faults.items():
            complain(f"{fault.count:,} bad lines, {kind}")
            for example in fault.examples:
                complain(f"    {example}")
    if summary.rejected_file:
        complain(f"the rejected lines are in {summary.rejected_file}: fix them and import that file")


def _opened(file: str) -> BinaryIO:
    if file == "-":
        # a duplicate, so that closing it leaves stdin open
        return os.fdopen(os.dup(sys.stdin.fileno()), "rb")
    try:
        return Path(file).open("rb")
    except OSError as error:
        reason = (error.strerror or "cannot be opened").lower()
        raise UsageError(f"{file}: {reason} (name a CSV or NDJSON file, or - for stdin)") from None


def _as_dict(summary: Summary) -> dict[str, object]:
    return {name: getattr(summary, name) for name in Summary.__slots__}
