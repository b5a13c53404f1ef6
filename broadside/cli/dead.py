"""``broadside dead``: lists refused tokens, answers the questions about them, and undoes deletions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from broadside.api.dead_records import DeadAnswer, DeadAnswered, DeadEntry, DeadRestore
from broadside.api.report_text import moment
from broadside.api.v1 import table as routes
from broadside.api.v1.route import Route
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
        entries = node.dead()
    questions = [entry for entry in entries if entry.open]
    kept = [entry for entry in entries if entry.kept and not entry.open]
    removed = [entry for entry in entries if entry.removed]
    if json:
        say_json({"questions": questions, "kept": kept, "removed": removed})
        return 0
    if not entries:
        say("nothing: no question is open, no refused token waits, and nothing was deleted in the last day")
        return 0
    parts = [_asked(entry) for entry in questions]
    if parts:
        say("\n\n".join(parts))
    if kept:
        say(("\n" if parts else "") + "refused tokens that wait for a verdict:")
        columns = ("channel", "campaign", "state", "refused", "delivered", "share", "kept")
        table(columns, [_row(entry) for entry in kept])
    if removed:
        say(("\n" if parts or kept else "") + "deleted in the last day (broadside dead restore CHANNEL):")
        table(("channel", "campaign", "deleted"), [[e.channel, e.campaign, e.removed] for e in removed])
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
    return _answer(routes.DEAD_CONFIRM, channel, campaign, json, config, data)


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
    return _answer(routes.DEAD_KEEP, channel, campaign, json, config, data)


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
        channels = {entry.channel for entry in node.dead() if entry.removed}
        campaign = None if what in channels or not _is_campaign(what) else what.lower()
        wanted = DeadRestore(channel=None if campaign else what, campaign=campaign)
        answer = node.call(routes.DEAD_RESTORE, wanted, timeout=600.0)  # a large undo takes long
    if json:
        say_json(answer)
        return 0
    again = f"; {answer.registered_again:,} phones had registered again" if answer.registered_again else ""
    say(f"{answer.restored:,} subscribers are back{again}")
    return 0


def _answer(
    act: Route[DeadAnswered],
    channel: str,
    campaign: str | None,
    json: bool,
    config: Path | None,
    data: Path | None,
) -> int:
    if campaign is not None and not _is_campaign(campaign):
        raise UsageError(f'"{campaign[:40]}" is not a campaign\'s id (broadside dead list shows them)')
    with client(config, data) as node:
        wanted = DeadAnswer(channel=channel, campaign=None if campaign is None else campaign.lower())
        answer = node.call(act, wanted)
    if json:
        say_json(answer)
    elif act is routes.DEAD_CONFIRM:
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
