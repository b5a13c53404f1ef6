"""The data folder: the files of one node, closed to other users.

``lock`` (locked while a node runs) · ``node.json`` (which node runs, and where its API is) · ``api.sock`` (the API for
the command line) · ``api.key`` · ``channels.json`` (channels put by the API) · ``credentials/`` (of these channels) ·
``tarantool/`` · ``queue/`` · ``twins/`` · ``logs/``. Mode 0700; files 0600.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from broadside import machine_users
from broadside.errors import DataFolderError, shown
from storage import socket_path
from storage.whole_file import write_whole

LOCK_WITHIN = 1.0
"""Seconds for which a node tries to lock its folder: a command that only looks at the lock has it for a moment."""


class NodeInfo(msgspec.Struct, frozen=True, kw_only=True):
    """``node.json``: the running node."""

    pid: int
    url: str
    """Base URL of the HTTP API, without a trailing slash."""
    socket: str
    """The Unix socket at which the same API listens for the folder's owner; its path, or its name in the folder."""
    started: int
    """Milliseconds UTC."""
    name: str = ""


class DataFolder:
    """Paths and files of one data folder. Creating the object touches nothing on disk."""

    def __init__(self, root: Path, logs: Path | None = None) -> None:
        """Refer to the folder ``root``. ``logs``: another folder for the logs."""
        self.root = root
        self.lock = root / "lock"
        self.node_json = root / "node.json"
        self.api_key = root / "api.key"
        self.tarantool = root / "tarantool"
        self.queue = root / "queue"
        self.twins = root / "twins"
        self.logs = logs or root / "logs"
        self.archive = root / "archive"
        self.receipts = root / "receipts"
        self.credentials = root / "credentials"

    def archive_of(self, campaign: str) -> Path:
        """The file with the ledger of an old campaign, once it has left the store."""
        return self.archive / f"{campaign}.ndjson.gz"

    def create(self) -> None:
        """Make the folder (0700) and its parts.

        Raises ``DataFolderError`` if it is another user's, open to others or not writable.
        """
        if os.fsencode(self.root) != str(self.root).encode("utf-8", "replace"):
            raise self._error("its path is not UTF-8", "set LC_ALL=C.UTF-8, or name another with --data")
        try:
            if not self.root.exists():
                self.root.mkdir(parents=True, mode=0o700)
            elif not any(self.root.iterdir()) and self.root.stat().st_uid == os.geteuid():
                self.root.chmod(0o700)
            self.check()
            for part in (self.tarantool, self.twins, self.logs, self.credentials):
                part.mkdir(exist_ok=True, mode=0o700)
        except OSError as error:
            raise self._error(f"cannot be made: {error.strerror}", "name another with --data") from None

    def check(self) -> None:
        """Raise ``DataFolderError`` unless the folder is there, a folder, our own, and closed to other users."""
        try:
            there = self.root.stat()
        except FileNotFoundError:
            raise self._error("does not exist", "the first start of a node makes it: broadside node") from None
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}", "name another with --data") from None
        if not self.root.is_dir():
            raise self._error("is not a folder", "name another with --data")
        self._check_owner(there.st_uid)
        if there.st_mode & 0o077:
            raise self._error("is open to other users, and it holds keys", f"chmod 700 {self.root}")

    def check_owner(self) -> None:
        """Raise ``DataFolderError`` if the folder is another user's, who could lead us to a node of their own."""
        try:
            there = self.root.stat()
        except OSError:
            return
        self._check_owner(there.st_uid)

    def _check_owner(self, number: int) -> None:
        if (name := machine_users.stranger(number)) is not None:
            ours = machine_users.own_name()
            raise self._error(f"belongs to {name}, not to {ours}", f"run the command as {name}, or name another folder")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and lock it for this node; raises ``DataFolderError`` while another node has the lock.

        The kernel releases the lock when the process ends, so a ``kill -9`` leaves nothing to clean up.
        """
        self.create()
        descriptor = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _lock(descriptor, LOCK_WITHIN):
                holder = self._holder(descriptor)
                raise self._error(
                    f"another node is running on it{holder}", "stop that node, or give this one another --data"
                )
            self.forget_node()  # left by a killed node: somebody else may listen at its port by now
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            try:
                yield
            finally:
                self.forget_node()
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def socket(self) -> Iterator[Path]:
        """A path for the API's Unix socket that only the folder's owner can reach.

        It lies in the folder itself. If that path is too long, or the file system has no sockets, it lies in a private
        folder with a short path, which is removed at the end.
        """
        path = self.root / "api.sock"
        if socket_path.fits(path) and _takes_sockets(path):
            yield path
            return
        private = socket_path.short_folder(self.root)
        try:
            socket_path.make_private(private)
        except OSError as error:
            raise DataFolderError(str(error)) from None
        path = private / "api.sock"
        try:
            yield path
        finally:
            for remove in (path.unlink, private.rmdir):
                with contextlib.suppress(OSError):
                    remove()

    def in_use(self) -> bool:
        """Whether a node has locked the folder now."""
        try:
            descriptor = os.open(self.lock, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            return False
        finally:
            os.close(descriptor)

    def write_node(self, info: NodeInfo) -> None:
        """Write ``node.json``, by which the command line finds the node."""
        write_whole(self.node_json, msgspec.json.encode(info) + b"\n")

    def forget_node(self) -> None:
        """Remove ``node.json``, so that nobody looks for the node at its address."""
        self.node_json.unlink(missing_ok=True)

    def read_node(self) -> NodeInfo | None:
        """Return the running node; None if there is none, or it has not written its address yet.

        ``node.json`` is believed only if the process that wrote it holds the lock.
        """
        try:
            info = msgspec.json.decode(self.node_json.read_bytes(), type=NodeInfo)
            holder = self.lock.read_bytes().strip()
        except (OSError, msgspec.DecodeError, RecursionError):
            return None
        return info if self.in_use() and holder == str(info.pid).encode() else None

    def owns(self, socket: Path) -> bool:
        """Whether ``socket`` exists, and only this folder's owner can listen on it or reach it."""
        try:
            there = socket.parent.lstat()
            socket.lstat()
        except OSError:
            return False
        if socket.parent == self.root:
            return True
        return (
            stat.S_ISDIR(there.st_mode) and not there.st_mode & 0o077 and machine_users.stranger(there.st_uid) is None
        )

    def key(self) -> str:
        """Return the API's key; the first call creates it."""
        try:
            key = self.api_key.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            key = ""
        except (OSError, UnicodeDecodeError) as error:
            raise DataFolderError(f"api key {self.api_key}: cannot be read: {error}") from None
        if not key:
            key = secrets.token_urlsafe(32)
            write_whole(self.api_key, key.encode() + b"\n")
        elif self.api_key.stat().st_mode & 0o077:
            raise DataFolderError(f"api key {self.api_key}: is open to other users (chmod 600 {self.api_key})")
        return key

    def renew_key(self) -> str:
        """Make the API's key anew; the old one is refused from now on."""
        key = secrets.token_urlsafe(32)
        write_whole(self.api_key, key.encode() + b"\n")
        return key

    def read_key(self) -> str | None:
        """Return the API's key; None if there is none, or this user cannot read it."""
        try:
            return self.api_key.read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            return None

    def _holder(self, descriptor: int) -> str:
        pid = os.pread(descriptor, 32, 0).strip().decode("ascii", "replace")
        return f" (pid {pid})" if pid.isdigit() else ""

    def _error(self, what: str, remedy: str) -> DataFolderError:
        return DataFolderError(f"data folder {shown(str(self.root))}: {what} ({remedy})")


def _lock(descriptor: int, seconds: float) -> bool:
    """Lock the file for this process alone; False if another process still has it after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.01)
        else:
            return True


def _takes_sockets(path: Path) -> bool:
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.bind(str(path))
        except OSError:
            return False
    path.unlink()
    return True
