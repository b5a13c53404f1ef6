"""Collects the bundle: configuration, doctor, versions, what runs, sizes, and the last lines of the log."""

from __future__ import annotations

import dataclasses
import os
import platform
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from broadside.api.api_client import Client
from broadside.api.v1 import table as routes
from broadside.config import strict_toml
from broadside.config.config import DEFAULT_FILE, Config
from broadside.config.put_channels import PutChannels
from broadside.datafolder import DataFolder
from broadside.demo.demo_config import load_or_demo
from broadside.doctor.checks import examine
from broadside.errors import BroadsideError, ConfigError, UsageError
from broadside.machine_limits import cores, memory
from broadside.release import version
from broadside.support.redaction import Redactor
from storage import admin
from storage.errors import AdminRefused
from storage.tarantool_program import ProgramUnusable, tarantool
from storage.tarantool_program import version as tarantool_version
from storage.whole_file import WholeFile

LINES = 5000
"""Of each log, the last."""
LARGEST_LOG = 4 << 20
"""Bytes of a log that are looked at."""
LARGEST_SECRET = 1 << 16
"""Bytes: a larger file is no secret."""
README = """\
A bundle of `broadside support`: what a person needs who is asked for help.

config.json      broadside.toml, with names, addresses and figures alone
doctor.json      what `broadside doctor` says
versions.json    Broadside, Python, Tarantool, packages, the machine
node.json        what runs, the ring, and what is wrong (if the node answers)
tarantool.json   how large each space is (if the node runs)
files.json       the files of the data folder, and their sizes
logs/            the last lines of the logs

Passwords, keys and the phones' tokens are taken out, and so are the texts of
campaigns. Addresses of servers and names of channels are in it. Look through it
before you send it on.
"""


def write_bundle(to: Path, config_file: Path | None, data: Path | None) -> list[str]:
    """Write the bundle as the new file ``to`` (mode 0600); return the names of its parts (raises ``UsageError``)."""
    if to.exists():
        raise UsageError(f"{to} exists already (name a new file)")
    try:
        with WholeFile(to) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as bundle:
            for name, content in _parts(config_file, data):
                bundle.writestr(name, content)
            return bundle.namelist()
    except OSError as error:
        raise BroadsideError(f"{to}: {(error.strerror or str(error)).lower()}") from None


def _parts(config_file: Path | None, data: Path | None) -> Iterator[tuple[str, str]]:
    yield "README.txt", README
    source = config_file or (Path(DEFAULT_FILE) if Path(DEFAULT_FILE).exists() else None)
    written: dict[str, Any] = {}
    config, wrong = Config(), ""
    try:
        if source is not None:
            written = strict_toml.parse(source)
        config = load_or_demo(config_file)
    except BroadsideError as error:  # the doctor's part says what is wrong with it
        wrong = str(error)
    folder = DataFolder(config.node.data if data is None else data, config.node.log_folder)
    put: dict[str, Any] = {}
    with suppress(ConfigError):  # the same
        put = PutChannels(folder.root).read()
    redactor = Redactor(_secrets(written, put, source, config, folder))
    yield "config.json", _json({"file": str(source or "the demo"), "wrong": redactor.text(wrong),
                                "tables": redactor.configuration(written),
                                "put": redactor.configuration(put)})  # fmt: skip
    yield "versions.json", _json(redactor.record(_versions()))
    yield "doctor.json", _json(redactor.record([dataclasses.asdict(each) for each in examine(config_file, data)]))
    yield "node.json", _json(redactor.record(_node(folder)))
    yield "tarantool.json", _json(redactor.record(_sizes(folder)))
    yield "files.json", _json(redactor.record(_files(folder.root)))
    for path in sorted(folder.logs.glob("*.log*")) if folder.logs.is_dir() else ():
        yield f"logs/{path.name}", "\n".join(_log(path, redactor)) + "\n"


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value)).decode() + "\n"


def _secrets(
    written: dict[str, Any], put: dict[str, Any], source: Path | None, config: Config, folder: DataFolder
) -> Iterator[str]:
    """What must not be in the bundle: the API's key, and all that the configuration's files and variables hold."""
    yield from (os.environ.get(name, "") for name in config.secret_variables())
    yield folder.read_key() or ""
    home = Path() if source is None else source.parent
    named = [(home, text) for text in _texts(written)] + [(folder.credentials, text) for text in _texts(put)]
    for place, text in named:
        try:
            path = place / Path(text).expanduser()
            content = path.read_text(errors="replace") if path.stat().st_size <= LARGEST_SECRET else ""
        except (OSError, ValueError, RuntimeError):  # no file, or no path at all
            continue
        yield from (line.strip() for line in content.splitlines())
        yield from (part for line in content.splitlines() for part in line.strip().split(":", 1))  # user:password


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each)


def _versions() -> dict[str, object]:
    program = tarantool()
    try:
        database = "not installed" if program is None else f"{tarantool_version(program).text} at {program}"
    except ProgramUnusable as error:
        database = str(error)
    there, whose = memory()
    packages = {each.name: each.version for each in metadata.distributions()}
    return {
        "broadside": version(),
        "python": sys.version,
        "tarantool": database,
        "system": platform.platform(),
        "cores": cores(),
        "memory": f"{there >> 20} MB, of {whose}",
        "packages": dict(sorted(packages.items())),
    }


def _node(folder: DataFolder) -> dict[str, object]:
    try:
        with Client.of(folder) as client:
            ready, detail = client.ready()
            return {
                "ready": ready,
                "detail": detail,
                "status": _answer(client.status),
                "ring": _answer(lambda: client.call(routes.RING)),
            }
    except BroadsideError as error:
        return {"error": str(error)}


def _answer(ask: Callable[[], msgspec.Struct]) -> object:
    try:
        return msgspec.to_builtins(ask())
    except (BroadsideError, msgspec.MsgspecError) as error:  # it may be of another version
        return {"error": str(error)}


def _sizes(folder: DataFolder) -> dict[str, object]:
    said: dict[str, object] = {}
    for instance in (folder.tarantool, folder.queue):
        if instance.is_dir():
            try:
                said[instance.name] = admin.ask(instance / "admin.sock", "sizes")
            except (OSError, AdminRefused, ValueError) as error:
                said[instance.name] = {"error": str(error)}
    return said


def _files(root: Path) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for path in sorted(root.rglob("*")) if root.is_dir() else ():
        try:
            said = path.lstat()
        except OSError:
            continue
        found.append({"path": str(path.relative_to(root)), "bytes": said.st_size, "mode": oct(said.st_mode & 0o7777)})
    return found


def _log(path: Path, redactor: Redactor) -> list[str]:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LARGEST_LOG))
            lines = file.read(LARGEST_LOG).decode(errors="replace").splitlines()[-LINES:]
    except OSError as error:
        return [f"cannot be read: {error.strerror}"]
    return [_line(line, redactor) for line in lines]


def _line(line: str, redactor: Redactor) -> str:
    try:
        return msgspec.json.encode(redactor.record(msgspec.json.decode(line))).decode()
    except msgspec.MsgspecError:
        return redactor.text(line)
