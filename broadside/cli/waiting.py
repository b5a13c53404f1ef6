"""Watches a campaign until it ends, through restarts of the node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport
from broadside.cli.output import bars, complain
from broadside.datafolder import DataFolder
from broadside.errors import ApiError, NodeUnreachable

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE = 120.0
"""Seconds without a node after which the command stops waiting; the campaign itself does not give up."""
_PAUSES = (0.1, 0.25, 0.5, 1.0, 2.0)


def wait_for(
    folder: DataFolder,
    report: CampaignReport,
    patience: float = PATIENCE,
    *,
    end: bool = False,
    shown: Callable[[CampaignReport], object] | None = None,
) -> CampaignReport:
    """Show the progress until everybody who may be reached now has an outcome; return the last report.

    A canary that has stopped is waited for no longer. ``end``: until the campaign has ended, however long people wait
    for the end of their quiet hours; ``shown``: shows each report, instead of a bar per channel. Raises
    ``NodeUnreachable`` after ``patience`` seconds without a node, ``KeyboardInterrupt`` after saying that the campaign
    goes on, ``ApiError`` if the node no longer knows the campaign.
    """
    goes_on = f"the campaign goes on: broadside campaign show {report.id}"
    try:
        if shown is not None:
            return _watch(folder, report, shown, patience, end)
        with bars() as progress:
            return _watch(folder, report, _Bars(progress), patience, end)
    except KeyboardInterrupt:
        complain(goes_on)
        raise
    except NodeUnreachable as error:
        raise NodeUnreachable(f"{error}; once a node runs, {goes_on}") from error


def exit_code(report: CampaignReport) -> int:
    """0: the campaign is done, or everybody who may be reached now has got it; 1: it was cancelled, or has missed."""
    return 0 if report.state == "done" or (report.reached and not report.ended) else 1


def _watch(
    folder: DataFolder,
    report: CampaignReport,
    shown: Callable[[CampaignReport], object],
    patience: float,
    end: bool,
) -> CampaignReport:
    lost_at: float | None = None
    tries = 0
    while True:
        try:
            # looked up each time: a restarted node may have another port
            with Client.of(folder) as client:
                for latest in client.progress(report.id):
                    lost_at, tries = None, 0
                    shown(latest)
                    if latest.ended or (latest.reached and not end) or latest.guard == "stopped":
                        return latest
        except (NodeUnreachable, ApiError) as error:
            # 5xx: the node is up, its Tarantool is not yet
            if isinstance(error, ApiError) and error.status < 500:
                raise
            now = time.monotonic()
            lost_at = now if lost_at is None else lost_at
            if now - lost_at > patience:
                raise
            if tries == 0:
                complain("the node does not answer; waiting for it")
        time.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1


class _Bars:
    """One bar per channel. Prints once why a channel is paused."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, str] = {}

    def __call__(self, report: CampaignReport) -> None:
        """Draw ``report``."""
        for name, tally in report.channels.items():
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=None, note="")
            total = max(tally.audience, tally.settled + tally.remaining)
            paused = report.paused_channels.get(name)
            note = "paused" if paused else f"{tally.delivered:,} delivered, {tally.dead:,} dead"
            if total or report.walked:
                # a channel without subscribers is a full bar, not an endless one
                done = tally.settled or not total
                self._progress.update(self._tasks[name], completed=done, total=total or 1, note=note)
            else:  # the walk finds out who is in the audience
                self._progress.update(self._tasks[name], note=note)
            if paused and self._said.get(name) != paused:
                complain(f"{name} is paused: {paused}")
            self._said[name] = paused or ""
