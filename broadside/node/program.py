"""Runs a node as a program: from its command line to its exit code, with its output on the terminal."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import structlog
import trio

from broadside import logs
from broadside.config.config import Config
from broadside.config.put_channels import PutChannels
from broadside.datafolder import DataFolder
from broadside.demo import demo
from broadside.errors import BroadsideError, ConfigError, first_error
from broadside.node.node import Node
from broadside.node.service_manager import ServiceManager
from broadside.outlet import open_standard_streams
from storage.errors import EmbeddedUnavailable, LinkDown, LinkLost, StorageError, VerbRefused
from supervision import IntensityExceeded, ProcessDied, StartFailed, SupervisionError, kill_running
from transports.errors import TransportError

log = structlog.get_logger(__name__)

CANNOT_START = "cannot start: "
"""The prefix of the line in which storage/lua/embedded.lua gives the reason."""

FORCE = 6.0
"""Seconds from the second signal until the remaining processes are killed."""


class StartError(BroadsideError):
    """The node cannot start; the text says why and what to do."""


class GaveUp(BroadsideError):
    """The node's processes failed more often than ``[supervision]`` allows; the text names the last failure."""


def run_node(config: Config, data: Path | None = None, demo_wanted: bool = True) -> int:
    """Run a node until SIGINT or SIGTERM; returns the exit code.

    Args:
        config: the configuration; with ``demo`` set the node fills an empty base and fires a sample campaign.
        data: data folder instead of the configured one.
        demo_wanted: False turns the demo off.
    """
    open_standard_streams()
    manager = ServiceManager.of(os.environ)
    folder = DataFolder(config.node.data if data is None else data.absolute(), config.node.log_folder)
    terminal = demo.Terminal()
    try:
        with folder.locked():
            first = config.demo is not None and demo_wanted
            logs.configure_node(folder.logs, terminal.log, "warning" if first else "info")
            put = PutChannels(folder.root)
            config = put.merged(config, put.read())
            if config.demo is not None:
                demo.write_twin_scripts(folder.twins, [c.platform for c in config.channels.values()])
            return trio.run(_main, config, folder, terminal, manager, first)
    except (BaseExceptionGroup, BroadsideError) as raised:
        error = first_error(raised)
        if not isinstance(error, BroadsideError):
            raise
        terminal.error(str(error))
        return error.exit_code
    finally:
        logs.close()


async def _main(
    config: Config, folder: DataFolder, terminal: demo.Terminal, manager: ServiceManager, first: bool
) -> int:
    node = Node(config, folder)
    node.check_channels()
    started = time.monotonic()
    terminal.say(f"broadside node {config.node.name}: starting (data in {folder.root}, logs in {folder.logs}/node.log)")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_signals, node, terminal, manager, nursery)
        nursery.start_soon(manager.watch, lambda: node.tree.state)

        async def serving() -> None:
            manager.ready(f"serving at {node.url}")
            terminal.say(f"ready after {time.monotonic() - started:.1f} s: {node.url}")
            if node.tarantool:
                terminal.say(node.tarantool)
            if node.twins:
                terminal.say(f"pushes go to twins of {', '.join(node.twins)} on this machine")
            for warning in config.warnings:
                log.warning("configuration", why=warning)
            for name, allowance in node.allowances.items():
                terminal.say(f"quota: {name} {allowance.text}")
            nursery.start_soon(_warn_of_no_zone, node)
            if first:
                await demo.show(node.newsroom, config, terminal)
            if terminal.interactive:
                await _say_link(node, terminal)
            terminal.say("serving; Ctrl-C drains and stops")

        try:
            await node.run(lambda: nursery.start_soon(serving))
        except StartFailed as error:
            raise StartError(_why(error, folder)) from error
        except IntensityExceeded as error:
            limit = config.supervision
            raise GaveUp(
                f"the node gives up: {error.child} failed again after {limit.restarts} restarts in {limit.period:g} s: "
                f"{logs.first_line(error.__cause__ or error)} (the tracebacks are in {folder.logs}/node.log)"
            ) from error
        nursery.cancel_scope.cancel()
    terminal.say("stopped")
    return 0


async def _say_link(node: Node, terminal: demo.Terminal) -> None:
    """Print a link that logs one browser in: on a terminal alone, because a log would keep it."""
    with suppress(StorageError):  # `broadside key link` makes another
        terminal.say(f"the page, logged in once within ten minutes: {await node.login_link()}")


async def _warn_of_no_zone(node: Node) -> None:
    """Log how many people have no quiet hours, because nobody knows their time zone."""
    with suppress(LinkLost, LinkDown):  # Fire says it, too
        if found := await node.newsroom.zoneless():
            log.warning("no quiet hours", why=found)


def _why(error: BaseException, folder: DataFolder) -> str:
    """Return one line for a failed start, from the deepest cause that a person can use."""
    cause: BaseException | None = error
    deepest = error
    while cause is not None:
        cause = first_error(cause)
        if isinstance(cause, BroadsideError | EmbeddedUnavailable | TransportError):
            return str(cause)
        if isinstance(cause, VerbRefused):
            return cause.text
        if isinstance(cause, ProcessDied):
            for line in cause.last_lines:
                if line.startswith(CANNOT_START):
                    return f"{cause.name}: {line.removeprefix(CANNOT_START)}"
        deepest, cause = cause, cause.__cause__
    return f"the node cannot start: {logs.first_line(deepest)} (the traceback is in {folder.logs}/node.log)"


async def _signals(node: Node, terminal: demo.Terminal, manager: ServiceManager, nursery: trio.Nursery) -> None:
    """Drain at the first signal; at the second cancel everything, and end the node within `FORCE` seconds.

    SIGHUP reloads the configuration.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        _force_at_second(signal.SIGINT, signal.SIGTERM)
        async for number in signals:
            if number == signal.SIGHUP:
                nursery.start_soon(_reload, node, manager)
                continue
            terminal.say(f"{signal.Signals(number).name}: draining; a second signal stops at once")
            manager.stopping()
            node.stop()
            break
        async for number in signals:
            if number != signal.SIGHUP:
                nursery.cancel_scope.cancel()
                return


async def _reload(node: Node, manager: ServiceManager) -> None:
    """Reload the configuration, and say what came of it: in the log, and to the service manager."""
    if node.tree.state != "running":
        log.warning("SIGHUP: the node is starting or stopping; send it again when it serves")
        return
    manager.reloading()
    try:
        found = await node.reload()
    except (BroadsideError, TransportError, SupervisionError) as error:
        problems = [str(each) for each in error.problems] if isinstance(error, ConfigError) else [str(error)]
        more = f", and {len(problems) - 1} more in the log" if len(problems) > 1 else ""
        said = f"reload refused, nothing has changed: {problems[0]}{more}"
        log.error("reload refused", problems=problems)
    except Exception as error:  # a bug in here is no reason to stop a node that sends
        log.exception("reload failed")
        said = f"reload failed: {logs.first_line(error)} (the traceback is in the log)"
    else:
        for warning in found.config.warnings:
            log.warning("configuration", why=warning)
        log.info("configuration reloaded", changed=found.live, waits_for_a_restart=found.later)
        said = f"reloaded, {len(found.live) or 'no'} change{'s' if len(found.live) != 1 else ''}"
        if found.later:
            said += f"; waits for a restart: {', '.join(found.later)}"
    manager.ready(f"serving at {node.url}; {said}")


def _force_at_second(*numbers: signal.Signals) -> None:
    """Count signals where they arrive, before Trio's own handler: Trio's loop itself may hang."""
    came = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came += 1
        if came == 2:
            last_resort = threading.Timer(FORCE, _end)
            last_resort.daemon = True
            last_resort.start()
        handlers[number](number, frame)

    handlers: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, handler)


def _end() -> None:
    kill_running()
    logs.close()
    os._exit(1)
