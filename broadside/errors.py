"""Errors that a user of Broadside can cause or meet. Each is one line that says what to do.

The command line prints ``str(error)``, without a traceback, and exits with ``error.exit_code``.
"""

from __future__ import annotations

import dataclasses


class BroadsideError(Exception):
    """Base of every error in this folder."""

    exit_code = 1


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in an input, as one line."""

    where: str
    """The key path (``channels.ios.key``) or field (``tz``)."""
    what: str
    """The value and what is wrong with it: ``file "AuthKey.p8" not found``."""
    remedy: str = ""
    """What to do about it."""
    value: str = ""
    """The offending value alone, shortened; empty for a secret or a missing value."""

    def __str__(self) -> str:
        """Write ``where: what (remedy)``."""
        return f"{self.where}: {self.what}" + (f" ({self.remedy})" if self.remedy else "")


class ConfigError(BroadsideError):
    """The configuration has mistakes. ``problems`` lists them all; the text has one line for each."""

    exit_code = 2

    def __init__(self, problems: list[Problem]) -> None:
        """Keep ``problems``, at least one."""
        self.problems = problems
        super().__init__("\n".join(f"configuration: {problem}" for problem in problems))


class ChannelInUse(ConfigError):
    """A channel cannot leave: a campaign under way goes to it. ``campaign``: the id of the first such campaign."""

    def __init__(self, problems: list[Problem], campaign: str) -> None:
        """Keep ``problems``, one for each campaign and channel."""
        self.campaign = campaign
        super().__init__(problems)


class DataFolderError(BroadsideError):
    """The data folder cannot be used: another node uses it, other users can read it, or it is not writable."""

    exit_code = 2


class UsageError(BroadsideError):
    """A command got an argument that it cannot use (a missing file, contradictory options)."""

    exit_code = 2


class NodeUnreachable(BroadsideError):
    """No node answers at the address in the data folder. ``sent``: the request may have reached it."""

    exit_code = 3

    def __init__(self, text: str, *, sent: bool = False) -> None:
        """Keep the sentence for the user."""
        self.sent = sent
        super().__init__(text)


class ApiError(BroadsideError):
    """The node refused a request. ``status`` is the HTTP status; a 4xx is the caller's mistake.

    A failed Fire sets ``campaign`` and ``fired`` (``no`` or ``maybe``). Where a request needs a yes, ``confirm`` is the
    field that says it.
    """

    campaign = ""
    fired = ""
    confirm = ""

    def __init__(
        self,
        status: int,
        message: str,
        field: str = "",
        value: str = "",
        remedy: str = "",
        index: int | None = None,
    ) -> None:
        """Keep the node's answer unchanged; ``index`` is the record's position if several were sent."""
        self.index = index
        self.status, self.message, self.field, self.value, self.remedy = status, message, field, value, remedy
        self.exit_code = 2 if 400 <= status < 500 else 1
        where = f"{field}: " if field and field not in message else ""
        super().__init__(f"{where}{message}" + (f" ({remedy})" if remedy and remedy not in message else ""))


class RecordError(BroadsideError):
    """A record (a subscriber, a message) breaks a rule. ``problem`` names the field, the value and the remedy."""

    def __init__(self, problem: Problem, index: int | None = None) -> None:
        """Keep ``problem``; ``index`` is the record's position if there were several."""
        self.problem = problem
        self.index = index
        super().__init__(str(problem) if index is None else f"record {index}: {problem}")


class NeedsYes(RecordError):
    """A request is valid, but does something that nobody may do by mistake. Nothing was done.

    ``confirm``: the field of the request that says yes; ``campaign``: the id of the campaign that it is about, if any.
    """

    def __init__(self, problem: Problem, confirm: str, campaign: str = "") -> None:
        """Keep what would be done as ``problem``."""
        self.confirm, self.campaign = confirm, campaign
        super().__init__(problem)


class Conflict(BroadsideError):
    """The request conflicts with the current state.

    ``missing``: the thing asked for does not exist; ``campaign``: the id of the campaign that it has become.
    """

    def __init__(
        self,
        what: str,
        remedy: str = "",
        *,
        missing: bool = False,
        field: str = "",
        value: str = "",
        campaign: str = "",
    ) -> None:
        """Keep what the conflict is, what to do about it, and the ``field`` of the request with its ``value``."""
        self.what, self.remedy, self.missing = what, remedy, missing
        self.field, self.value, self.campaign = field, value, campaign
        super().__init__(what + (f" ({remedy})" if remedy else ""))


class FireFailed(BroadsideError):
    """A Fire failed. ``maybe``: the campaign may be firing nevertheless, or whatever else it ``becomes``."""

    def __init__(
        self, campaign: str, why: str, remedy: str = "", *, maybe: bool, status: int = 503, becomes: str = "firing"
    ) -> None:
        """Keep the campaign's id (empty: none was made), and ``status``, the HTTP status to answer with."""
        self.campaign, self.remedy, self.maybe, self.status = campaign, remedy, maybe, status
        outcome = f"campaign {campaign} may be {becomes}" if maybe else "nothing was fired"
        self.message = f"{outcome}: {why}"
        super().__init__(self.message + (f" ({remedy})" if remedy else ""))


def shown(value: object, limit: int = 60) -> str:
    """Write ``value`` for a message: TOML's spelling, one line, at most ``limit`` characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        clipped = value if len(value) <= limit else value[: limit - 1] + "…"
        return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in clipped) + '"'
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "an array"
    text = str(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def first_error(error: BaseException) -> BaseException:
    """The error itself, or the first error in a group, however deep."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
