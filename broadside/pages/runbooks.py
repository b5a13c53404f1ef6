"""The runbooks as pages: each alarm's text for the person who must act."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from markupsafe import Markup, escape

from broadside.api.alarm import AlarmName

_NAMES = frozenset(name.value for name in AlarmName)
_BOLD = re.compile(r"\*\*(.+?)\*\*")
_EMPHASIS = re.compile(r"\*(.+?)\*")
_CODE = re.compile(r"`(.+?)`")
_LINK = re.compile(r"\[(.+?)\]\([^)]*\)")


@dataclass(frozen=True)
class Runbook:
    """One alarm's page."""

    title: str
    text: Markup


def runbook(name: str) -> Runbook | None:
    """The runbook of an alarm; None: there is no such alarm, or its text is not installed."""
    if name not in _NAMES:
        return None
    try:
        text = (_folder() / f"{name}.md").read_text(encoding="utf-8")
    except OSError:
        return None
    title, _, rest = text.partition("\n")
    blocks = [block.strip("\n") for block in rest.split("\n\n") if block.strip() and block.strip() != f"`{name}`"]
    return Runbook(title.removeprefix("# "), Markup("\n").join(map(_block, blocks)))


def _folder() -> Traversable:
    """In an installed package beside the pages, in the repository with the other documents."""
    installed = files("broadside.pages") / "runbooks"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "docs" / "runbooks"


def _block(text: str) -> Markup:
    """A paragraph, a list or a piece of code; the runbooks have nothing else."""
    lines = text.split("\n")
    if lines[0].startswith("```"):
        return Markup("<pre>{}</pre>").format("\n".join(lines[1:-1]))
    if lines[0].startswith("- "):
        items = re.split(r"\n- ", text.removeprefix("- "))
        return Markup("<ul>{}</ul>").format(
            Markup().join(Markup("<li>{}</li>").format(in_html(each)) for each in items)
        )
    return Markup("<p>{}</p>").format(in_html(text))


def in_html(text: str) -> Markup:
    """A line of the documents, or of an alarm, with its code and bold words."""
    # escaped first: from here on the only tags are ours
    marked = _LINK.sub(r"\1", str(escape(text.replace("\n", " "))))
    marked = _BOLD.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", marked))
    marked = _EMPHASIS.sub(r"<em>\1</em>", marked)
    return Markup(marked)  # noqa: S704
