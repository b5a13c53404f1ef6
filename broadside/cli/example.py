"""``broadside example``: prints the configuration with every key."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from cyclopts import App

from broadside.cli.output import say

NAME = "broadside.example.toml"
_EPILOGUE = """\
Examples:
    broadside example > broadside.toml

Each key is there, with what it means; most are commented out. Change it, and let
`broadside doctor` look at it."""


def register(app: App) -> None:
    """Add the command."""
    app.command(example, help_epilogue=_EPILOGUE)


def example() -> int:
    """Print a configuration with every key, to begin one of your own with."""
    installed = files("broadside.demo") / NAME  # of a wheel; a checkout has it at its top
    source = installed if installed.is_file() else Path(__file__).parents[2] / NAME
    say(source.read_text(encoding="utf-8").rstrip("\n"))
    return 0
