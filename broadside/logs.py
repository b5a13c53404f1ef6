"""Logs: children write one JSON object a line to standard error; the node shows them, and keeps them in a file."""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO, cast

import structlog

from broadside.errors import first_error
from supervision import (
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


class _Bridge(logging.Handler):
    """Hands the records of libraries and of ``supervision``, which use the standard library's logging, to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info if record.exc_info and record.exc_info[0] else None
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=error)


def _bridge() -> None:
    root = logging.getLogger()
    root.handlers = [_Bridge()]
    root.setLevel(logging.INFO)
    for loud in ("asynctnt", "httpx", "httpcore", "hypercorn", "hypercorn.error", "hypercorn.access"):
        logging.getLogger(loud).setLevel(logging.WARNING)


class _Voice:
    """Standard error, for which nobody may listen any more: a log line must never be what ends an actor."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def configure_child() -> None:
    """For a child process: JSON lines on standard error, which the node reads."""
    structlog.configure(
        processors=[*_SHARED, structlog.processors.JSONRenderer(default=repr)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(cast(TextIO, _Voice())),
        cache_logger_on_first_use=True,
    )
    _bridge()


def configure_node(folder: Path, show: Callable[[str], None], level: str = "info") -> None:
    """For the node: from INFO on into ``folder/node.log`` (3 × 10 MB), from ``level`` on to ``show`` as text."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keeper = logging.handlers.RotatingFileHandler(folder / "node.log", maxBytes=10_000_000, backupCount=2)
    least = LEVELS[level]
    plain = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)

    def split(logger: Any, method: str, event: Any) -> Any:
        text = json.dumps(event, default=repr, ensure_ascii=False)
        keeper.emit(logging.makeLogRecord({"msg": text, "levelno": 20, "levelname": "INFO"}))
        if LEVELS.get(event.get("level", "info"), 20) >= least:
            # a person gets one line; the traceback is in the file
            line = {key: value for key, value in event.items() if key != "exception"}
            show(str(plain(logger, method, line)).splitlines()[0])
        raise structlog.DropEvent

    structlog.configure(
        processors=[*_SHARED, split],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=False,
    )
    _bridge()


def child_line(process: str) -> Callable[[str, str], None]:
    """Log one output line of the child named ``process``: parsed where it is ours, as it is where not."""
    log = structlog.get_logger("child")

    def line(stream: str, text: str) -> None:
        try:
            event = json.loads(text)
            message, level = str(event.pop("event")), LEVELS[event.pop("level")]
        except (ValueError, TypeError, KeyError, AttributeError):
            if text.strip():
                log.info(text.rstrip(), process=process)
            return
        event.pop("timestamp", None)
        event["process"] = process
        log.log(level, message, **{str(key): value for key, value in event.items()})

    return line


def observe(event: SupervisionEvent, quiet: bool = False) -> None:
    """Log what a supervisor tells: one line each, the traceback of a crash beside it. ``quiet``: nothing above INFO."""
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
            log.warning("restarts", actor=actor, times=event.restarts, after=round(event.delay, 3))
        case ChildStuck():
            log.error("does not end", actor=actor, seconds=round(event.seconds, 1))
        case Escalated():
            loud("gives up", actor=actor, because_of=event.child)
        case _:
            pass  # a supervisor's own start and end say nothing that its parent's do not


def first_line(error: BaseException) -> str:
    """What an error says, in one line: of a group, its first error."""
    error = first_error(error)
    if not str(error).strip():
        return type(error).__name__
    text = str(error).strip().partition("\n")[0]
    return text if len(text) <= 300 else text[:299] + "…"
