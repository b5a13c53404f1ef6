"""The channels that were put by the API: a file in the data folder, read beside broadside.toml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from broadside.config.config import Config, with_channels
from broadside.config.strict_toml import Reader
from broadside.errors import ConfigError, Problem
from storage.whole_file import write_whole

Tables: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Channel → its table, with the names of broadside.toml."""


class PutChannels:
    """The file, and the folder of the secrets that its tables name."""

    def __init__(self, root: Path) -> None:
        """``root``: the data folder."""
        self.path = root / "channels.json"
        self.credentials = root / "credentials"

    def read(self) -> dict[str, dict[str, Any]]:
        """Return the tables; none without the file (raises ``ConfigError``)."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=dict[str, dict[str, Any]])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}", "let the node's user read it") from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            remedy = "bring it back from a copy, or move it away and put its channels again"
            raise self._error("is not a table of channels in JSON", remedy) from None

    def write(self, tables: Tables) -> None:
        """Keep the tables: mode 0600, as a whole, on the disk when this returns. Raises ``OSError``."""
        write_whole(self.path, msgspec.json.format(msgspec.json.encode(tables), indent=2) + b"\n")

    def merged(self, config: Config, tables: Tables) -> Config:
        """Add the tables to a configuration. Raises ``ConfigError`` with every mistake in them."""
        return with_channels(config, tables, Reader(self.credentials, confined=True)) if tables else config

    def _error(self, what: str, remedy: str) -> ConfigError:
        return ConfigError([Problem(str(self.path), what, remedy)])
