"""``broadside story``: one card on every lock screen, updated by one request."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import msgspec
from cyclopts import App, Parameter

from broadside.api.report_text import moment
from broadside.api.story_records import StoryChange, StoryReport, StoryRequest
from broadside.api.v1 import table as routes
from broadside.cli.audience_options import AudienceOptions
from broadside.cli.message_options import Channels, KindName, Written, message_of
from broadside.cli.options import ConfigFile, DataDir, Json, client, duration
from broadside.cli.output import complain, say, say_json, table
from broadside.errors import UsageError, shown
from campaigns.identity import parse_campaign
from campaigns.message import Message

_HELP = "Keep one card on every lock screen up to date: a match, an election night, a storm."
_OPEN_EPILOGUE = """\
Examples:
    broadside story open --name "Cup final" --state score.json --title "Cup final" --body "Kick-off"
    broadside story open --name Storm --set level=red --title Storm --channel ios-news --channel android-news

On iPhones the story is a Live Activity of your app: Apple gets one request for
each update, however many iPhones show it. The app draws the card from the
state, which is its own ContentState as JSON. On Android and in browsers each
update is a campaign, whose push takes the place of the one before.

The answer names the broadcast channel that the app has to follow: see
docs/stories.md. It needs a signing key (key, key_id, team_id), no certificate."""
_UPDATE_EPILOGUE = """\
Examples:
    broadside story update c5dq2j7vx3mna --state score.json --title Goal --body 2:1 --loud
    broadside story update c5dq2j7vx3mna --set score=2:1 --set minute=57 --title "2:1" --key goal-3

An update never overtakes a later one. If the answer is lost, repeat the command
with the same --key: it is sent once. The exit code is 1 if a part of it was
refused, and 0 if nodes are still sending it."""
_END_EPILOGUE = """\
Examples:
    broadside story end c5dq2j7vx3mna --state score.json --title "Full time" --body "2:1"
    broadside story end c5dq2j7vx3mna --dismiss 15m --title "Full time" --body "2:1"

The broadcast channels are deleted by themselves, eight hours later."""

State: TypeAlias = Annotated[
    Path | None, Parameter(help="A JSON file with what the iPhone app draws the card from: its ContentState.")
]
Set: TypeAlias = Annotated[
    list[str] | None,
    Parameter(name="--set", help="One field of the state, NAME=TEXT; NAME:=JSON for numbers. Repeat for several."),
]
Loud: TypeAlias = Annotated[
    bool, Parameter(help="Tell title and body on iPhones, with a sound. Without it the card changes silently.")
]
Stale: TypeAlias = Annotated[
    str | None, Parameter(help="Show the card as out of date if nothing comes for this long: 90s, 15m, 2h.")
]
Key: TypeAlias = Annotated[
    str | None,
    Parameter(help="Do it once under this key. Default: a random key for this call.", allow_leading_hyphen=True),
]
OverBudget: TypeAlias = Annotated[
    bool, Parameter(name="--over-budget", help="Also to phones that had as many campaigns of the kind as they may.")
]
Unapproved: TypeAlias = Annotated[
    bool, Parameter(help="Without another person's approval, if you may approve yourself.")
]


def register(app: App) -> None:
    """Add the commands."""
    group = App(name="story", help=_HELP)
    group.command(open_, name="open", help_epilogue=_OPEN_EPILOGUE)
    group.command(update, help_epilogue=_UPDATE_EPILOGUE)
    group.command(end, help_epilogue=_END_EPILOGUE)
    group.command(list_, name="list")
    group.command(show)
    app.command(group)


def open_(
    *,
    name: Annotated[str, Parameter(help="What editors call it.")],
    state: State = None,
    set_: Set = None,
    written: Written | None = None,
    loud: Loud = False,
    channel: Channels = None,
    kind: KindName = None,
    who: AudienceOptions = AudienceOptions(),  # noqa: B008, it is frozen
    live_only: Annotated[
        bool,
        Parameter(name="--live-only", help="Apple keeps no update for iPhones that are offline: for what is soon old."),
    ] = False,
    stale: Stale = None,
    over_budget: OverBudget = False,
    unapproved: Unapproved = False,
    key: Key = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Open a story, with what its card shows first."""
    change = _change(state, set_, written, loud, stale, over_budget, unapproved)
    request = StoryRequest(
        title=name,
        channels=list(dict.fromkeys(channel)) if channel else None,
        stored=not live_only,
        kind=kind,
        audience=who.request() or msgspec.UNSET,
        change=change,
    )
    with client(config, data) as node:
        return _shown(node.call(routes.STORY_OPEN, request, key=key or secrets.token_urlsafe(16)), json)


def update(
    id: str,
    *,
    state: State = None,
    set_: Set = None,
    written: Written | None = None,
    loud: Loud = False,
    stale: Stale = None,
    over_budget: OverBudget = False,
    unapproved: Unapproved = False,
    key: Key = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Update a story: what its card shows from now on."""
    change = _change(state, set_, written, loud, stale, over_budget, unapproved)
    with client(config, data) as node:
        key = key or secrets.token_urlsafe(16)
        return _shown(node.call(routes.STORY_UPDATE, change, key=key, story_id=_id(id)), json)


def end(
    id: str,
    *,
    state: State = None,
    set_: Set = None,
    written: Written | None = None,
    loud: Loud = False,
    dismiss: Annotated[
        str | None, Parameter(help="Take the card off the lock screen after this long, at most 4h; 0s: at once.")
    ] = None,
    over_budget: OverBudget = False,
    unapproved: Unapproved = False,
    key: Key = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """End a story, with what its card shows last."""
    change = _change(state, set_, written, loud, None, over_budget, unapproved)
    if dismiss is not None:
        change = msgspec.structs.replace(change, dismiss_seconds=duration("--dismiss", dismiss))
    with client(config, data) as node:
        key = key or secrets.token_urlsafe(16)
        return _shown(node.call(routes.STORY_END, change, key=key, story_id=_id(id)), json)


def list_(
    *,
    limit: Annotated[int, Parameter(help="Stories at most, up to 100.")] = 20,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """List stories, the last changed first, and how many broadcast channels each app has."""
    with client(config, data) as node:
        found = node.call(routes.STORIES, query=routes.StoriesQuery(limit=limit))
    if json:
        say_json(found)
        return 0
    if not found.items:
        complain("no story yet (broadside story open)")
    else:
        rows = [
            [each.id, each.title, each.state, each.updates[0].number, moment(each.changed_at), each.waiting]
            for each in found.items
        ]
        table(("id", "name", "state", "updates", "changed", "waits for"), rows)
    for place in found.places:
        ours = f"{place.ours:,} of them of stories"
        say(f"{place.place}: {place.channels:,} of {place.limit:,} broadcast channels, {ours}")
    return 0


def show(id: str, *, json: Json = False, config: ConfigFile = None, data: DataDir = None) -> int:
    """Show a story: its cards, and what became of its updates."""
    with client(config, data) as node:
        found = node.call(routes.STORY, story_id=_id(id))
    _shown(found, json)
    return 0


def _id(text: str) -> str:
    try:
        parse_campaign(text)
    except ValueError:
        raise UsageError(f"{shown(text, 40)} is not a story's id (broadside story list shows the ids)") from None
    return text.lower()


def _change(
    state: Path | None,
    fields: list[str] | None,
    written: Written | None,
    loud: bool,
    stale: str | None,
    over_budget: bool,
    unapproved: bool,
) -> StoryChange:
    texts = written is not None and any(
        getattr(written, name) is not None for name in ("title", "body", "message", "options")
    )
    message = message_of(written, Message()) if written is not None and texts else Message()
    return StoryChange(
        state=_state(state, fields),
        message=message,
        loud=loud,
        stale_seconds=None if stale is None else duration("--stale", stale),
        over_budget=over_budget or msgspec.UNSET,
        unapproved=unapproved or msgspec.UNSET,
    )


def _state(path: Path | None, fields: list[str] | None) -> dict[str, Any]:
    """What the card is drawn from: a file's fields, and those of options over them. Raises ``UsageError``."""
    state: dict[str, Any] = {}
    if path is not None:
        where = f"--state: file {shown(str(path))}"
        try:
            state = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
        except OSError as error:
            raise UsageError(f"{where} cannot be read: {error.strerror} (name a JSON file)") from None
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise UsageError(f"{where} is not a JSON object: {error} (write it in UTF-8)") from None
    for field in fields or ():
        name, equals, value = field.partition("=")
        if not equals or not name.rstrip(":"):
            raise UsageError(f"--set: {shown(field)} has no name and value (as in score=2:1, or minute:=57)")
        if not name.endswith(":"):
            state[name] = value
            continue
        try:
            state[name[:-1]] = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise UsageError(f"--set: {shown(value)} is not JSON: {error} (or write {name[:-1]}=TEXT)") from None
    return state


def _shown(story: StoryReport, json: bool) -> int:
    newest = story.updates[0]
    failed = newest.state == "refused" or any(card.state == "failed" for card in story.cards)
    if json:
        say_json(story)
        return int(failed)
    say(f"story {story.id}, {story.title}: {story.state}")
    for card in story.cards:
        where = f"broadcast channel {card.broadcast}" if card.broadcast else card.error or "no broadcast channel yet"
        say(f"  card of {card.place}: {card.state}, {where}")
    for name in story.fallback:
        say(f"  {name}: pushes that replace each other")
    for each in story.updates:
        campaign = f", campaign {each.campaign}" if each.campaign else ""
        say(f"  {each.event} {each.number}, {moment(each.at)}, by {each.by}: {each.state}{campaign}")
        for name, why in each.errors.items():
            say(f"    {name}: {why}")
    if story.waiting:
        complain(f"waits: {story.waiting}")
    return int(failed)
