"""What is asked for before a campaign fires: to purge a cache, to warm a page, to look at its picture.

All hooks run at once, each for as long as it may. No answer of theirs keeps a campaign back: it has what they said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

import structlog
import trio

from broadside.config.outward_tables import IMAGE, URL, Hook
from broadside.errors import BroadsideError, shown
from broadside.outward.guarded_web import GuardedWeb, WebAnswer
from campaigns.message import Message

log = structlog.get_logger(__name__)

HOOKS = "hooks"
"""The entry of a campaign's policy with what the hooks said: sentences."""
LARGE = 1_000_000
"""Bytes of a picture above which phones may show none."""


class FireHooks:
    """``own``: to the hosts that hooks name; ``site``: to the newsroom's own, for the links of an editor."""

    def __init__(self, hooks: Sequence[Hook], own: Callable[[str], GuardedWeb], site: GuardedWeb) -> None:
        self._hooks = [(hook, site if hook.url in (URL, IMAGE) else own(hook.url)) for hook in hooks]

    async def before(self, message: Message) -> list[str]:
        """Run the hooks that this message has something for; return a sentence for each."""
        said: dict[int, str] = {}

        async def run(number: int, hook: Hook, web: GuardedWeb, url: str) -> None:
            said[number] = f"hook {hook.name}: " + await _ask(hook, web, url)

        async with trio.open_nursery() as nursery:
            for number, (hook, web) in enumerate(self._hooks):
                if url := _filled(hook.url, message):
                    nursery.start_soon(run, number, hook, web, url)
        return [said[number] for number in sorted(said)]


def _filled(url: str, message: Message) -> str:
    """The address with the message's link and picture in it; empty: it has no such thing."""
    for placeholder, value in ((URL, message.url), (IMAGE, message.image)):
        if placeholder in url:
            if not value:
                return ""
            url = value if url == placeholder else url.replace(placeholder, quote(value, safe=""))
    return url


async def _ask(hook: Hook, web: GuardedWeb, url: str) -> str:
    try:
        secret = hook.authorization()
        headers = [("authorization", secret)] if secret else []
        answer = await web.ask(hook.method, url, within=hook.within, headers=headers)
    except BroadsideError as error:
        log.warning("a hook has failed", hook=hook.name, why=str(error))
        return f"{shown(str(error), 200)}; the campaign was fired without it"
    if answer.status >= 300:
        log.warning("a hook has failed", hook=hook.name, status=answer.status)
        return f"answers {answer.status}; the campaign was fired without it"
    return _picture(answer) if IMAGE in hook.url and hook.method == "HEAD" else f"done in {answer.seconds:.1f} s"


def _picture(answer: WebAnswer) -> str:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    length = answer.headers.get("content-length")
    size = int(length) if length is not None and length.isdecimal() and len(length) < 16 else None
    how_large = "of unknown size" if size is None else f"{size:,} bytes"
    text = f"the picture is {shown(kind or 'of no type', 60)}, {how_large}, and answers in {answer.seconds:.1f} s"
    if not kind.startswith("image/"):
        text += ": phones will not show it"
    elif size is not None and size > LARGE:
        text += ": phones on slow networks may not show it; 1 MB is the most that Android's pushes carry"
    return text
