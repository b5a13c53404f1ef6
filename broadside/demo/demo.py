"""The demo: a base of sample phones and one campaign, shown in the terminal. Only if every channel is a twin."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeVar

import structlog
import trio

from broadside import logs
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.report_text import summary
from broadside.api.subscriber import Subscriber
from broadside.config.config import Config, Demo
from broadside.demo import samples
from broadside.errors import FireFailed
from broadside.newsroom.newsroom import Newsroom
from broadside.outlet import harmless
from campaigns.identity import parse_campaign
from campaigns.message import Message
from storage.errors import LinkDown, LinkLost, OutOfMemory
from storage.store import ROWS_A_CALL

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

NEWS = Message(title="Broadside is alive", body="This push went to every sample phone, each exactly once.")
KEY = "demo"
"""The sample campaign's idempotency key."""
AGAIN_AFTER = 1.0
"""Seconds before a failed call is repeated."""

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Terminal:
    """The node's terminal: lines on standard output, progress bars if that is a terminal, logs on standard error."""

    def __init__(self) -> None:
        self._out = logs.said(sys.stdout, "standard output")
        self._err = logs.said(sys.stderr, "standard error")
        self._bars: Progress | None = None

    @property
    def interactive(self) -> bool:
        """Whether a person reads standard output."""
        return self._out.isatty()

    def say(self, text: str) -> None:
        """Print one line."""
        self._print(self._out, text)

    def log(self, text: str) -> None:
        """Print one log line; on a terminal through the console that draws the bars, so that they stay intact."""
        self._print(self._out if self._out.isatty() else self._err, text)

    def error(self, text: str) -> None:
        """Print an error."""
        self._print(self._err, f"broadside: {text}")

    def _print(self, to: TextIO, text: str) -> None:
        if self._bars is not None and to is self._out:
            self._bars.console.print(harmless(text), markup=False, emoji=False)
        else:
            to.write(harmless(text) + "\n")
            to.flush()

    def progress(self) -> Progress:
        """Make progress bars, shown only if standard output is a terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        console = Console(file=self._out, highlight=False, soft_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description:<14}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console,
            disable=not self._out.isatty(),
        )
        return self._bars


def write_twin_scripts(folder: Path, platforms: Iterable[str]) -> None:
    """Write each twin's script, unless it exists: somebody may have edited it."""
    for platform in set(platforms):
        path = folder / f"{platform}.script.toml"
        if not path.exists():
            path.write_text(samples.TWIN_SCRIPT, encoding="utf-8")


async def show(newsroom: Newsroom, config: Config, terminal: Terminal) -> None:
    """Fill an empty base, fire the sample campaign, and show its progress and result. Leave an existing base alone."""
    counts = await insist(newsroom.subscribers.count)
    campaigns = (await insist(lambda: newsroom.campaigns(100))).items
    if counts or campaigns:
        there = f"{sum(counts.values()):,} subscribers, {len(campaigns)} campaigns"
        terminal.say(f"the base is already in use: {there}; nothing is fired")
        return
    await _fill(newsroom, config, terminal)
    fired = await insist(lambda: newsroom.fire(FireRequest(message=NEWS), KEY))
    terminal.say(f"fired campaign {fired.id}: “{NEWS.title}”")
    await watch(newsroom, fired, terminal)


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until it succeeds, while Tarantool is away or full: every call of the demo may be repeated."""
    while True:
        try:
            return await call()
        except (LinkLost, LinkDown, OutOfMemory) as error:
            why: Exception = error
        except FireFailed as error:
            if error.status != 503:
                raise
            why = error
        log.warning("the demo waits", why=str(why))
        await trio.sleep(AGAIN_AFTER)


async def _fill(newsroom: Newsroom, config: Config, terminal: Terminal) -> None:
    sample = config.demo or Demo()
    total = sample.subscribers
    channels = {name: channel.platform for name, channel in config.channels.items()}
    terminal.say(f"an empty base: importing {total:,} sample subscribers")
    with terminal.progress() as bars:
        bar = bars.add_task("import", total=total, note="")
        rows: list[Subscriber] = []
        for row in samples.subscribers(total, sample.dead_share, channels):
            rows.append(row)
            if len(rows) == ROWS_A_CALL:
                await _put(newsroom, rows)
                bars.advance(bar, len(rows))
                rows = []
        if rows:
            await _put(newsroom, rows)
            bars.advance(bar, len(rows))


async def _put(newsroom: Newsroom, rows: Sequence[Subscriber]) -> None:
    """Write sample subscribers. They are valid: one that is refused waits for the node's lease, late on busy cores."""
    while rows:
        _, faults = await insist(partial(newsroom.subscribers.put, rows))
        if not faults:
            return
        log.warning("the demo waits", why=str(next(iter(faults.values()))))
        await trio.sleep(AGAIN_AFTER)
        rows = [rows[n] for n in sorted(faults)]


async def watch(newsroom: Newsroom, fired: CampaignReport, terminal: Terminal) -> None:
    """Show progress bars until everybody who may be reached now has an outcome, then a summary."""
    report = fired
    async with newsroom.progress(parse_campaign(fired.id)) as reports:
        with terminal.progress() as bars:
            tasks: dict[str, TaskID] = {}
            async for report in reports:
                for name, tally in report.channels.items():
                    if name not in tasks:
                        tasks[name] = bars.add_task(name, total=None, note="")
                    note = report.paused_channels.get(name, f"{tally.delivered:,} delivered, {tally.dead:,} dead")
                    total = (tally.settled + tally.remaining) or None  # None: the walk finds out who is in the audience
                    bars.update(tasks[name], completed=tally.settled, total=total, note=note)
                if report.reached:
                    break
    terminal.say(summary(report))
