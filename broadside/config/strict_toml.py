"""Reads TOML strictly into frozen msgspec Structs: every mistake is collected as a ``Problem``, nothing is guessed."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from broadside import machine_users
from broadside.errors import ConfigError, Problem, UsageError, shown

T = TypeVar("T", bound=msgspec.Struct)

_KINDS = {"str": "text in quotes", "int": "a whole number", "float": "a number", "bool": "true or false"}
_KINDS |= {"object": "a table", "array": "an array", "null": "nothing"}
_ESCAPE = re.compile(r"backslash|hex|escape", re.I)
"""What tomllib says about a backslash, as in ``"C:\\Users"``."""
_INLINE_SECRETS = {"password", "secret", "passphrase", "api_key", "private_key"}


def parse(path: Path) -> dict[str, Any]:
    """Read the TOML file ``path`` (raises ``ConfigError``: missing, unreadable, another user's, not UTF-8, not TOML).

    A byte-order mark at its start, which some editors write, is ignored.
    """
    try:
        with path.open("rb") as file:
            whose, raw = machine_users.stranger(os.fstat(file.fileno()).st_uid), file.read()
    except FileNotFoundError:
        remedy = "copy broadside.example.toml, which `broadside example` prints; without --config the demo runs"
        raise ConfigError([Problem(str(path), "no such file", remedy)]) from None
    except OSError as error:
        remedy = "name a file that this user may read"
        raise ConfigError([Problem(str(path), (error.strerror or str(error)).lower(), remedy)]) from None
    if whose is not None and not machine_users.mounted(path):
        ours = machine_users.own_name()
        remedy = f"run the command as {whose}; or read the file, and if it is right: chown {ours} {path}"
        raise ConfigError([Problem(str(path), f"belongs to {whose}, not to {ours}", remedy)])
    try:
        return tomllib.loads(raw.decode("utf-8-sig"))
    except RecursionError:
        remedy = "no key of broadside.toml needs more than two levels"
        raise ConfigError([Problem(str(path), "arrays or tables are nested too deeply", remedy)]) from None
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        raise ConfigError([Problem(f"{path} line {line}", what, "save the file as UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", str(error), re.S)
        what = found[1] if found else str(error)
        place = f" line {found[2]}, column {found[3]}" if found and found[2] else " at its end" if found else ""
        remedy = "the file is TOML: key = value, text in quotes"
        if _ESCAPE.search(what):
            remedy = "in double quotes a backslash begins an escape: write a path with / or \\, or in 'single quotes'"
        raise ConfigError([Problem(f"{path}{place}", what[:1].lower() + what[1:], remedy)]) from None


class Reader:
    """Turns tables into records, and collects their mistakes in ``problems``."""

    def __init__(self, folder: Path, *, confined: bool = False) -> None:
        """Resolve paths against ``folder``, the file's own. ``confined``: no path may lead out of it."""
        self.folder = folder
        self._confined = confined
        self._paths = f"it belongs into {folder}" if confined else "paths are relative to broadside.toml"
        self.problems: list[Problem] = []
        self.warnings: list[str] = []
        """What is not as it should be, and cannot be mended from here."""
        self.trust_file_modes = False
        """Whether a secret's file may be open to every user."""

    def problem(self, where: str, what: str, remedy: str = "", value: object = None) -> None:
        """Add one mistake."""
        self.problems.append(Problem(where, what, remedy, "" if value is None else shown(value)))

    def table(self, cls: type[T], table: object, key: str, remedies: Mapping[str, str]) -> T | None:
        """Build ``cls`` from ``table`` at ``key``; None if anything in it is wrong.

        ``remedies`` maps ``KEY.field`` (``node.workers``, ``channels.*.rate``) to advice for a bad value.
        """
        before = len(self.problems)
        if not isinstance(table, dict):
            self.problem(key, f"{shown(table)} where a table belongs", f"write it as [{key}]", table)
            return None
        fields = {field.encode_name: field for field in msgspec.structs.fields(cls)}
        self.unknown(table, fields, key)
        values: dict[str, Any] = {}
        for name, field in fields.items():
            where = f"{key}.{name}"
            if name not in table:
                if field.required:
                    self.problem(where, "is missing", remedies.get(_general(where), "it has no default"))
                continue
            try:
                values[name] = msgspec.convert(table[name], field.type, dec_hook=self._path)
            except msgspec.ValidationError as error:
                self._invalid(where, table[name], str(error), remedies)
        return cls(**values) if len(self.problems) == before else None

    def unknown(self, table: Mapping[str, object], known: Collection[str], key: str) -> None:
        """Refuse keys of ``table`` that are not ``known``, and suggest the nearest known key."""
        for name in table:
            if name in known:
                continue
            where = f"{key}.{name}" if key else name
            if name in _INLINE_SECRETS:
                remedy = "put it into a file of mode 0600 and name the file"
                remedy += " as password_file" if "password_file" in known else ""
                self.problem(where, "a secret does not belong in the configuration", remedy)
                continue
            near = difflib.get_close_matches(name, list(known), 1)
            guess = f'did you mean "{near[0]}"?' if near else f"known here: {', '.join(sorted(known)) or 'none'}"
            self.problem(where, "unknown key", guess)

    def file(self, where: str, written: str | Path, *, secret: bool) -> Path:
        """Resolve and check a file that must exist; a ``secret`` is not empty, and closed to other users.

        Where this user cannot close it (a secret that Docker or Kubernetes mounts), its mode is not ours to judge.
        """
        try:
            path = self.folder / machine_users.expanded(Path(written))
        except UsageError as error:
            self.problem(where, str(error), self._paths, str(written))
            return Path(written)
        if self._confined and not Path(os.path.normpath(path)).is_relative_to(self.folder):
            # whoever may change channels over the network must not send any file of this machine anywhere
            self.problem(where, f"{shown(str(written))} is outside of the folder for credentials", self._paths)
            return path
        named = shown(str(path.relative_to(self.folder) if path.is_relative_to(self.folder) else path))
        try:
            mode = path.stat().st_mode
            if not path.is_file():
                self.problem(where, f"{named} is not a file", "name the file itself", str(written))
            elif secret and mode & 0o007 and not self._may_be_open(where, named, path):
                remedy = f"chmod 600 {path}; or [node] trust_file_modes = true, if something else keeps others away"
                self.problem(where, f"file {named} is secret but open to every user", remedy, str(written))
            elif not path.read_bytes().strip() and secret:
                self.problem(where, f"file {named} is empty", "write the secret into it", str(written))
        except FileNotFoundError:
            self.problem(where, f"file {named} not found", self._paths, str(written))
        except OSError as error:
            reason = (error.strerror or "unknown reason").lower()
            self.problem(where, f"file {named} cannot be read: {reason}", "let this user read it", str(written))
        return path

    def _may_be_open(self, where: str, named: str, path: Path) -> bool:
        if not self.trust_file_modes and not os.access(path, os.W_OK):
            self.warnings.append(f"{where}: file {named} is open to every user")
            return True
        return self.trust_file_modes

    def _path(self, kind: type, value: object) -> object:
        if kind is Path and isinstance(value, str) and value and "\0" not in value:
            try:
                return self.folder / machine_users.expanded(Path(value))
            except UsageError as error:
                raise ValueError(str(error)) from None
        raise ValueError("Expected `str`")

    def _invalid(self, where: str, value: object, message: str, remedies: Mapping[str, str]) -> None:
        """Translate msgspec's message, which names Python types, and neither key nor value."""
        remedy = remedies.get(_general(where), "broadside.example.toml shows every key")
        text, _, inner = message.partition(" - at ")
        if inner and isinstance(value, dict):
            bad = next((name for name, item in value.items() if not isinstance(item, str)), "")
            where, value = (f"{where}.{bad}", value[bad]) if bad else (where, value)
        if wanted := re.match(r"Expected `([^`]+)`(?:, got| (>=|<=|>|<) (\S+))?", text):
            if wanted[2]:
                limit = float(wanted[3])
                bound = f"{limit:g}" if abs(limit) < 1e6 else f"{limit:.0f}"
                # msgspec writes the exclusive bound of a float as its next neighbour
                sign = ">" if wanted[2] == ">=" and 0 < limit < 1e-300 else wanted[2]
                what = f"{shown(value)} is out of range, must be {sign} {bound if sign != '>' else '0'}"
            else:
                kinds = [kind for kind in wanted[1].split(" | ") if kind != "null"]
                kind = "float" if "float" in kinds else kinds[0]
                what = f"{shown(value)} is not {_KINDS.get(kind, kind)}"
        else:
            what = text if text.startswith(shown(value)) else f"{shown(value)}: {text}"
        self.problem(where, what, remedy, value)


def _general(where: str) -> str:
    """``channels.ios.rate`` → ``channels.*.rate``; ``peers[1].uri`` → ``peers.uri``."""
    where = re.sub(r"\[\d+\]", "", where)
    parts = where.split(".")
    return ".".join([parts[0], "*", *parts[2:]]) if parts[0] in ("channels", "kinds") and len(parts) > 2 else where
