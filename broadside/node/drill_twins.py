"""The simulators of drills, and the setups of the channels that send to them.

A setup is made of a :class:`DrillChannel`, which has no credential, proxy or address of a provider, and of a simulator
on this machine, which makes throw-away credentials of its own. So a drill reaches no provider, whatever is configured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from broadside import wire
from broadside.config.drills import DrillChannel
from broadside.node.processes import TwinState
from campaigns.drill import drill_channel
from campaigns.experience import ChannelExperience, NodeExperience
from storage.whole_file import write_whole
from supervision import Parking, SupervisionEvent
from transports.traffic import quantile

log = structlog.get_logger(__name__)

HERE = ("localhost", "127.0.0.1", "::1")
LEAST_PUSHES = 1000
"""Pushes from which on a channel's answer times are known."""
LEAST_WINDOW, LARGEST_WINDOW = 65_535, 2**31 - 1


class DrillTwins:
    """One node's simulators for drills, one for each platform. ``folder``: where their files are."""

    def __init__(self, channels: Sequence[DrillChannel], folder: Path) -> None:
        self._channels = channels
        self.twins = {
            platform: TwinState(
                platform,
                sorted({channel.app for channel in channels if channel.platform == platform}),
                folder,
                name=f"drill-twin-{platform}",
                recorded=False,
            )
            for platform in sorted({channel.platform for channel in channels})
        }

    @property
    def names(self) -> list[str]:
        """The names of the channels that only drills use."""
        return [drill_channel(each.channel) for each in self._channels]

    def setups(self, workers: int, paces: Mapping[str, wire.Pace | None]) -> list[wire.ChannelSetup]:
        """What a worker builds the channels from; those of a simulator that does not run are left out.

        ``paces``: of the real channels, for a drill goes no faster.
        """
        return [
            setup(each, twin, workers, paces.get(each.channel))
            for each in self._channels
            if (twin := self.twins[each.platform]).origin
        ]

    def change(self, channels: Sequence[DrillChannel]) -> list[str]:
        """Rehearse these channels from now on. Returns the simulators that must start again, to know their apps."""
        self._channels = channels
        changed = []
        for platform, twin in self.twins.items():
            apps = sorted({channel.app for channel in channels if channel.platform == platform})
            if not set(apps) <= set(twin.apps):
                twin.apps = apps
                changed.append(twin.name)
        return changed

    @staticmethod
    def contained(twin: TwinState, env: Mapping[str, str], observe: Callable[[SupervisionEvent], None]) -> Parking:
        """A simulator's process. If it ends by itself it is tried again after a minute: the node goes on without it."""
        return Parking(twin.name, lambda trial: twin.process(env), observe=observe)

    def measured(self, experience: NodeExperience) -> list[str]:
        """Let the simulators answer as the providers do, if that is known. Returns those that must start again."""
        changed = []
        for platform, twin in self.twins.items():
            known = [
                found
                for each in self._channels
                if each.platform == platform and (found := experience.channels.get(each.channel)) is not None
            ]
            text = script(known)
            if text and (not twin.script.exists() or twin.script.read_text() != text):
                twin.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_whole(twin.script, text.encode())
                log.info("a drill's simulator answers as its provider does now", platform=platform)
                changed.append(twin.name)
        return changed


def setup(drill: DrillChannel, twin: TwinState, workers: int, pace: wire.Pace | None) -> wire.ChannelSetup:
    """The setup of one channel of drills (raises ``ValueError`` if its simulator is not on this machine)."""
    if urlsplit(twin.origin).hostname not in HERE:
        raise ValueError(f"a drill's simulator is at {twin.origin}, which is not this machine")
    return wire.ChannelSetup(
        name=drill_channel(drill.channel),
        platform=drill.platform,
        app=drill.app,
        credentials=twin.credentials,
        origin=twin.origin,
        ca=twin.ca,
        connections=max(1, drill.connections // workers),
        connect_every=float(workers),
        pace=pace,
        dead_limit=1.0,  # nobody is asked, and nobody is deleted
    )


def script(known: Iterable[ChannelExperience]) -> str:
    """A simulator's script with the answer times and windows of its platform's busiest channel; empty: not known."""
    busiest = max(known, key=lambda each: each.pushes, default=None)
    if busiest is None or busiest.pushes < LEAST_PUSHES:
        return ""
    lines = []
    p50, p99 = quantile(busiest.answers, 0.5), quantile(busiest.answers, 0.99)
    if p50 is not None and p99 is not None:
        lines.append(f"latency = {{p50 = {1000 * p50:.1f}, p99 = {1000 * max(p50, p99):.1f}}}")
    if busiest.streams >= 1:
        lines.append(f"streams = {round(busiest.streams)}")
    if busiest.window:
        lines.append(f"connection_window = {min(max(busiest.window, LEAST_WINDOW), LARGEST_WINDOW)}")
    return "".join(f"{line}\n" for line in lines)
