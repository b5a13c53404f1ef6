"""Options that several commands share, and the functions that interpret them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from broadside import machine_users
from broadside.api.api_client import Client
from broadside.config.config import Config
from broadside.datafolder import DataFolder
from broadside.demo.demo_config import load_or_demo
from broadside.errors import UsageError, shown
from campaigns.duration import EXAMPLES, parse_duration
from campaigns.identity import parse_campaign

ConfigFile: TypeAlias = Annotated[
    Path | None,
    Parameter(name="--config", help="The configuration. Default: broadside.toml in this folder, else the demo."),
]
DataDir: TypeAlias = Annotated[
    Path | None, Parameter(name="--data", help="The node's data folder, instead of the configured one (demo: var).")
]
Json: TypeAlias = Annotated[bool, Parameter(name="--json", help="Print the result as one line of JSON, for scripts.")]


def data_folder(config: Path | None, data: Path | None) -> DataFolder:
    """Return the data folder: ``data`` if given (the configuration is then not read), else the configured one."""
    return DataFolder(machine_users.expanded(data).absolute() if data is not None else configuration(config).node.data)


def configuration(path: Path | None) -> Config:
    """Load the configuration."""
    return load_or_demo(path)


def client(config: Path | None, data: Path | None) -> Client:
    """Return a client of the running node."""
    return Client.of(data_folder(config, data))


def campaign_id(text: str) -> str:
    """Check a campaign's id (raises ``UsageError``)."""
    try:
        parse_campaign(text)
    except ValueError as error:
        raise UsageError(f"{error} (broadside campaign list shows the ids)") from None
    return text.lower()


def duration(option: str, text: str) -> int:
    """Parse ``90``, ``90s``, ``15m``, ``2h``, ``1d`` into seconds (raises ``UsageError``)."""
    seconds = parse_duration(text)
    if seconds is None:
        raise UsageError(f"{option}: {shown(text)} is not a duration (write {EXAMPLES})")
    return seconds
