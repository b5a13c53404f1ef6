"""Configurations and a service's unit: read, or refused with an error that helps; and what a node then does."""

from __future__ import annotations

import configparser
import os
import shlex
import signal
import ssl
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import trio
import trustme

from simulators.twin_credentials import ensure_credentials
from tests.inputs.lab import SETTINGS, TRIED, TWINS, Input, Labs, must, phones
from tests.system.processes import until
from tests.transports.scripted_peer import Peer

IPV6_PORT = 2197
"""Where the file's channel connects to."""
STANDING_WITHIN = 30.0
"""Seconds in which a channel that cannot reach its provider must say so."""
FLEET = 6_000
"""Phones of a campaign that is stopped on its way."""
STOPPED_WITHIN = 90.0
"""Seconds that systemd gives a service to stop, unless its unit says more."""


@dataclass(frozen=True, kw_only=True)
class Configured:
    """A configuration that cannot be used as it is. ``problems``: the words of each mistake, and of no other."""

    row: str
    problems: tuple[tuple[str, ...], ...]

    async def run(self, file: Input, labs: Labs) -> str:
        """Start a node by it."""
        lab = labs.new(file.name, "")
        lab.config.write_bytes(file.content)
        with trio.fail_after(60):
            said = await lab.cli("node", "--config", str(lab.config))
        must(said.code == 2, f"exit code {said.code}: {said.err[:200]}")
        lines = said.err.splitlines()
        must(len(lines) == len(self.problems), f"{len(lines)} mistakes are named: {lines}")
        for words, line in zip(self.problems, lines, strict=True):
            for word in words:
                must(word in line, f"does not say {word!r}: {line}")
        return "; ".join(line.removeprefix("configuration: ").replace(str(lab.folder) + "/", "") for line in lines)[
            :160
        ]


@dataclass(frozen=True, kw_only=True)
class Unreachable:
    """A channel whose provider nobody can reach: everybody who looks hears why."""

    row: str
    channel: str

    async def run(self, file: Input, labs: Labs) -> str:
        """Fire, and look at every place that shows a channel's state."""
        lab = labs.new(file.name, file.content.decode() + SETTINGS)
        _credentials(lab.data)
        try:
            await lab.start()
            await lab.add(phones(self.channel, TRIED))
            began = trio.current_time()
            campaign = await lab.fire()

            async def said() -> list[str]:
                """What each of the places says."""
                standing = (await lab.report(campaign))["paused_channels"].get(self.channel, "")
                alarms = [str((await lab.get(place))["alarms"]) for place in ("/readyz", "/v1/status")]
                shown = await lab.cli("campaign", "show", campaign)
                return [standing, *alarms, shown.out]

            texts = await said()
            while not all("127.0.0.1:9" in text for text in texts):
                late = trio.current_time() > began + STANDING_WITHIN
                must(not late, f"after {STANDING_WITHIN:g} s somebody does not hear of it: {texts}")
                texts = await said()
            report = await lab.report(campaign)
            must(report["channels"][self.channel]["remaining"] == TRIED, "its phones do not wait")
            return f"after {trio.current_time() - began:.1f} s everywhere: {texts[0][:110]}"
        finally:
            with trio.CancelScope(shield=True):
                await lab.end()


@dataclass(frozen=True, kw_only=True)
class AtIpv6:
    """A provider at an IPv6 address: the pushes come, and ``:authority`` is in brackets."""

    row: str
    channel: str

    async def run(self, file: Input, labs: Labs) -> str:
        """Listen there, fire, and look at the requests."""
        lab = labs.new(file.name, file.content.decode() + SETTINGS)
        _credentials(lab.data)
        authority = trustme.CA()
        (lab.data / "twins" / "ca.pem").write_bytes(authority.cert_pem.bytes())
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert("::1").configure_cert(context)
        context.set_alpn_protocols(["h2"])
        peer = Peer(port=IPV6_PORT, host="::1")
        async with trio.open_nursery() as nursery:
            await nursery.start(peer.listen, context)
            try:
                await lab.start()
                await lab.add(phones(self.channel, TRIED))
                report = await lab.done(await lab.fire())
            finally:
                with trio.CancelScope(shield=True):
                    await lab.end()
                peer.scope.cancel()
        delivered = report["channels"][self.channel]["delivered"]
        must(delivered == TRIED, f"{delivered} of {TRIED} delivered: {report['reasons']}")
        seen = {request.headers[":authority"] for request in peer.seen}
        must(seen == {f"[::1]:{IPV6_PORT}"}, f":authority is {seen}")
        return f"{delivered} delivered, :authority {seen.pop()}"


@dataclass(frozen=True, kw_only=True)
class Service:
    """A systemd unit that names no way to stop: SIGTERM goes to all processes of the service at once."""

    row: str

    async def run(self, file: Input, labs: Labs) -> str:
        """Run the unit's command in a folder of its own, reload it, stop it in mid-campaign, and start it again."""
        unit = configparser.ConfigParser(interpolation=None)
        unit.optionxform = str  # type: ignore[assignment,method-assign]
        unit.read_string(file.content.decode())
        program, *words = shlex.split(unit["Service"]["ExecStart"])
        must(program.endswith("/broadside"), f"ExecStart runs {program}")
        must(unit["Service"].get("KillMode", "control-group") == "control-group", "the unit says who gets SIGTERM")
        lab = labs.new(file.name, TWINS)
        script = "latency_ms = 300\n"
        lab.data.mkdir(mode=0o700)
        (lab.data / "twins").mkdir(mode=0o700)
        (lab.data / "twins" / "apns.script.toml").write_text(script)
        command = ["env", "-C", str(lab.folder), sys.executable, "-m", "broadside.cli", *words]
        try:
            lab.spawn(command)
            await lab.serving(90)
            await lab.add(phones("ios-news", FLEET))
            lab.signal(signal.SIGHUP)
            campaign = await lab.fire()
            await until(lambda: len(lab.accepted("apns")) > 200, "push", 60)
            must(lab.running, "SIGHUP ended the node")
            began, before = trio.current_time(), len(lab.accepted("apns"))
            for pid in lab.family():
                os.kill(pid, signal.SIGTERM)
            code = await lab.ended(STOPPED_WITHIN)
            took = trio.current_time() - began
            must(code == 0, f"exit code {code}: {lab.said()[-200:]}")
            must(before < FLEET, "the campaign was done before the stop")
            lab.spawn(command)
            await lab.serving(90)
            await lab.done(campaign)
            accepted = Counter(lab.accepted("apns"))
            twice = sum(accepted.values()) - len(accepted)
            must(len(accepted) == FLEET, f"{FLEET - len(accepted)} phones got nothing")
            must(twice == 0, f"{twice} pushes are repeated")
            return f"SIGHUP survived; SIGTERM to all: exit 0 after {took:.1f} s; of {FLEET:,} lost 0, repeated 0"
        finally:
            with trio.CancelScope(shield=True):
                await lab.end()


def _credentials(data: Path) -> None:
    """Make what a twin of Apple makes at its start: a key, and an authority."""
    data.mkdir(mode=0o700)
    ensure_credentials(data / "twins")
