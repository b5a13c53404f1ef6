"""Logs: children write one JSON object a line to standard error; the node shows them, and keeps them in a file.

A log line that cannot be written never ends an actor (`outlet`).
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from broadside.errors import first_error
from broadside.outlet import Outlet, RotatingFile, harmless, open_standard_streams, standard
from supervision import (
    ActorParked,
    ChildExited,
    ChildRestarting,
    ChildStarted,
    ChildStartFailed,
    ChildStuck,
    Escalated,
    SupervisionEvent,
)

LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]


_TAKEN = frozenset(("self", "level", "event", "method_name"))
"""Names that structlog uses for its own arguments."""
_Filtering: Any = structlog.make_filtering_bound_logger(logging.INFO)
_outlets: list[Outlet] = []


class _Logger(_Filtering):  # type: ignore[misc]  # structlog makes the class it is made from
    """A logger that never raises: a line that cannot be rendered is reported in another line."""

    def _proxy_to_logger(self, method_name: str, event: str | None = None, *args: Any, **values: Any) -> Any:
        try:
            return super()._proxy_to_logger(method_name, event, *args, **values)
        except Exception as error:
            with suppress(Exception):
                super()._proxy_to_logger("error", "a log line cannot be written", line=repr(event), why=repr(error))
            return None


class _Bridge(logging.Handler):
    """Passes records of the standard library's logging, which libraries and ``supervision`` use, to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception as error:  # the arguments do not fit the text
            text = f"{record.msg!r} ({error!r})"
        exc_info = record.exc_info if record.exc_info and record.exc_info[0] else None
        structlog.get_logger(record.name).log(record.levelno, text, exc_info=exc_info)


def _bridge() -> None:
    root = logging.getLogger()
    root.handlers = [_Bridge()]
    root.setLevel(logging.INFO)
    for loud in ("httpx", "httpcore"):
        logging.getLogger(loud).setLevel(logging.WARNING)
    # whatever the driver calls an error the link reports in its own words, or expects: a stop in the midst of a log-in
    logging.getLogger("asynctnt").setLevel(logging.CRITICAL)


def configure_child() -> None:
    """Set up a child process's logs: JSON lines on standard error, which the node reads."""
    open_standard_streams()
    outlet = standard(sys.stderr, "standard error", _lost_json)
    _outlets.append(outlet)
    structlog.configure(
        processors=[*_SHARED, structlog.processors.JSONRenderer(default=repr)],
        wrapper_class=_Logger,
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, outlet)),
        cache_logger_on_first_use=True,
    )
    _bridge()


def configure_node(folder: Path, show: Callable[[str], None], level: str = "info") -> None:
    """Set up the node's logs: INFO and above to ``folder/node.log`` (3 × 10 MB), ``level`` and above to ``show``."""
    file = Outlet("node.log", RotatingFile(folder / "node.log", largest=10_000_000, keep=2).write, _lost_json)
    _outlets.append(file)
    least = LEVELS[level]
    plain = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)

    def split(logger: Any, method: str, event: Any) -> Any:
        file.write(harmless(json.dumps(event, default=repr, ensure_ascii=False)) + "\n")
        if LEVELS.get(event.get("level", "info"), 20) >= least:
            # the terminal shows one line; the traceback is in the file
            line = {key: value for key, value in event.items() if key != "exception"}
            show(str(plain(logger, method, line)).splitlines()[0])
        raise structlog.DropEvent

    structlog.configure(
        processors=[*_SHARED, split],
        wrapper_class=_Logger,
        logger_factory=structlog.ReturnLoggerFactory(),  # never reached, and it needs no standard output
        cache_logger_on_first_use=False,
    )
    _bridge()


def _lost_json(lines: int, why: str) -> str:
    event = f"{lines} lines could not be written here"
    return json.dumps({"event": event, "why": why, "level": "warning"})


def said(stream: TextIO | None, name: str) -> TextIO:
    """An outlet for text to a person: standard output or error, whether or not anybody reads it."""
    outlet = standard(stream, name, lambda lines, why: f"broadside: {lines} lines could not be written here: {why}")
    _outlets.append(outlet)
    return cast(TextIO, outlet)


def troubles() -> list[str]:
    """A sentence while node.log cannot be written."""
    return [
        f"{outlet.name} cannot be written: {outlet.trouble}"
        for outlet in _outlets
        if outlet.name == "node.log" and outlet.trouble
    ]


def close() -> None:
    """Write the waiting lines; at the process's end."""
    for outlet in _outlets:
        outlet.close()
    _outlets.clear()


def child_line(process: str) -> Callable[[str, str], None]:
    """Log one output line of the child named ``process``: parsed if it is one of our JSON lines, else unchanged."""
    log = structlog.get_logger("child")

    def line(stream: str, text: str) -> None:
        try:
            event = json.loads(text)
            message, level = str(event.pop("event")), LEVELS[event.pop("level")]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            if text.strip():
                log.info(text.rstrip(), process=process)
            return
        event.pop("timestamp", None)
        event["process"] = process
        log.log(level, message, **{f"{key}_" if key in _TAKEN else key: value for key, value in event.items()})

    return line


def observe(event: SupervisionEvent, quiet: bool = False) -> None:
    """Log a supervisor's event as one line, with a crash's traceback. ``quiet``: failed starts are logged at INFO."""
    log = structlog.get_logger("supervision")
    actor = "/".join(filter(None, (event.supervisor, getattr(event, "child", ""))))
    if isinstance(event, Escalated):
        actor = event.supervisor
    loud = log.info if quiet else log.error
    match event:
        case ChildStarted():
            log.info("started", actor=actor, incarnation=event.incarnation, took=round(event.took, 3))
        case ChildExited() if event.reason.error is not None:
            log.error("crashed", actor=actor, why=first_line(event.reason.error), exc_info=event.reason.error)
        case ChildExited():
            log.info("ended", actor=actor, how=event.reason.kind.value)
        case ChildStartFailed():
            loud("failed to start", actor=actor, why=first_line(event.error), exc_info=event.error)
        case ChildRestarting():
            log.warning("restarts", actor=actor, times=event.restarts)
        case ChildStuck():
            log.error("does not end", actor=actor, seconds=round(event.seconds, 1))
        case ActorParked():
            log.error("parked", actor=actor, why=event.why, seconds=round(event.seconds, 1))
        case Escalated():
            loud("gives up", actor=actor, because_of=event.child)


def first_line(error: BaseException) -> str:
    """An error's text as one line; of a group, its first error's."""
    error = first_error(error)
    if not str(error).strip():
        return type(error).__name__
    text = str(error).strip().partition("\n")[0]
    return text if len(text) <= 300 else text[:299] + "…"
