"""``broadside dead``: lists refused tokens, answers the questions about them, and undoes deletions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from broadside.api.dead_records import DeadEntry
from broadside.api.report_text import moment
from broadside.cli.options import ConfigFile, DataDir, Json, client
from broadside.cli.output import say, say_json, table
from broadside.errors import UsageError
from campaigns.identity import parse_campaign

_EPILOGUE = """\
Examples:
    broadside dead list
    broadside dead confirm ios-news                  yes, these phones are gone
    broadside dead keep ios-news                     no, the key was wrong
    broadside dead restore ios-news                  undo a day's deletions
    broadside dead restore 2qbsgz3kxm4ta

A provider refuses a token because the phone is gone, or because the key, the
app or the environment is wrong. Broadside deletes tokens by itself if only the
first can be true, or if their share is at most the channel's dead_limit. Above
the limit it deletes nothing, and asks one question until you answer:

  confirm   the phones are gone: their tokens are deleted, and their waiting
            pushes end as rejected or dead.
  keep      the phones are alive: nothing is deleted, and their waiting pushes
            go out once the key is right (fix broadside.toml, then restart).

Deleted tokens can be restored for a day."""

_Campaign = Annotated[str | None, Parameter(help="Only this campaign's question. Default: all of the channel's.")]
_Channel = Annotated[str, Parameter(help="A channel, as `dead list` shows it.")]


def register(app: App) -> None:
    """Add the group."""
    group = App(name="dead", help="Answer questions about refused tokens, and undo deletions.", help_epilogue=_EPILOGUE)
    group.command(list_, name="list")
    for command in (confirm, keep, restore):
        group.command(command)
    app.command(group)


def list_(*, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Show open questions, refused tokens that wait for a verdict, and deletions of the last day."""
    with client(config, data) as node:
        report = node.dead()
    if json:
        say_json(report)
        return 0
    if not (report.questions or report.kept or report.removed):
        say("nothing: no question is open, no refused token waits, and nothing was deleted in the last day")
        return 0
    parts = [_asked(entry) for entry in report.questions]
    if parts:
        say("\n\n".join(parts))
    if report.kept:
        say(("\n" if parts else "") + "refused tokens that wait for a verdict:")
        columns = ("channel", "campaign", "state", "refused", "delivered", "share", "kept")
        table(columns, [_row(entry) for entry in report.kept])
    if report.removed:
        say(("\n" if parts or report.kept else "") + "deleted in the last day (broadside dead restore CHANNEL):")
        table(("channel", "campaign", "deleted"), [[e.channel, e.campaign, e.removed] for e in report.removed])
    return 0


def confirm(
    channel: _Channel,
    campaign: _Campaign = None,
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Answer "they are dead": delete the refused tokens, and end waiting pushes. This can be undone for a day."""
    return _answer("confirm", channel, campaign, json, config, data)


def keep(
    channel: _Channel,
    campaign: _Campaign = None,
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Answer "the key is wrong": delete nothing. Waiting pushes go out once the key is right."""
    return _answer("keep", channel, campaign, json, config, data)


def restore(
    what: Annotated[str, Parameter(help="A channel or a campaign, as `dead list` shows them.")],
    /,
    *,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Restore the subscribers deleted as dead in the last day, each under the old id."""
    with client(config, data) as node:
        channels = {entry.channel for entry in node.dead().removed}
        campaign = None if what in channels or not _is_campaign(what) else what.lower()
        answer = node.dead_restore(None if campaign else what, campaign)
    if json:
        say_json(answer)
        return 0
    again = f"; {answer.registered_again:,} phones had registered again" if answer.registered_again else ""
    say(f"{answer.restored:,} subscribers are back{again}")
    return 0


def _answer(act: str, channel: str, campaign: str | None, json: bool, config: Path | None, data: Path | None) -> int:
    if campaign is not None and not _is_campaign(campaign):
        raise UsageError(f'"{campaign[:40]}" is not a campaign\'s id (broadside dead list shows them)')
    with client(config, data) as node:
        answer = node.dead_answer(act, channel, None if campaign is None else campaign.lower())
    if json:
        say_json(answer)
    elif act == "confirm":
        say(f"{channel}: {answer.kept:,} refused tokens are being deleted (undo for a day: dead restore {channel})")
    else:
        say(f"{channel}: nothing is deleted; waiting pushes go out once the key is right")
    return 0


def _asked(entry: DeadEntry) -> str:
    reasons = ", ".join(f"{n:,} × {reason}" for reason, n in sorted(entry.reasons.items(), key=lambda item: -item[1]))
    examples = ", ".join(map(str, entry.examples))
    waits = [f"{entry.kept:,} tokens kept"] if entry.kept else []
    waits += [f"{entry.postponed:,} pushes wait"] if entry.postponed else []
    lines = [entry.text, f"  since {moment(entry.since)}; {', '.join(waits) or 'nothing waits'}"]
    lines += [f"  reasons: {reasons}"] if reasons else []
    lines += [f"  for example subscribers {examples}"] if examples else []
    return "\n".join(lines)


def _row(entry: DeadEntry) -> list[object]:
    refused = entry.likely + entry.doubtful
    return [entry.channel, entry.campaign, entry.state, refused, entry.delivered, f"{entry.share:.1%}", entry.kept]


def _is_campaign(text: str) -> bool:
    try:
        parse_campaign(text)
    except ValueError:
        return False
    return True
