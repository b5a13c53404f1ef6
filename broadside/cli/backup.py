"""``broadside backup`` and ``broadside restore``: a running node's base, or a store server's, and the way back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import App, Parameter

from broadside import machine_users
from broadside.api.report_text import moment
from broadside.cli.options import ConfigFile, DataDir, Json, data_folder
from broadside.cli.output import bars, complain, say, say_json
from broadside.datafolder import DataFolder
from broadside.errors import BroadsideError, NodeUnreachable, UsageError, shown
from broadside.release import version
from campaigns.identity import campaign_text
from storage.backups.backing_up import back_up
from storage.backups.manifest import Manifest, Progress
from storage.backups.restoring import Restored
from storage.backups.restoring import restore as restore_backup
from storage.errors import BackupFailed, BackupRefused, EmbeddedUnavailable

_BACKUP = """\
Examples:
    broadside backup /backup/2026-11-30
    broadside backup /backup/store-2026-11-30 --server /var/lib/broadside/store

Makes a new folder while everything goes on. Run it on the server itself, as the
user that the node or the store server runs as. In a ring the base is in the
store: back up a store server, a read replica best; a node's own queue needs no
backup. Keep the folder as safe as the base: it holds every phone's token, and
the key that signs certificates. broadside.toml, the providers' credentials and
passwords are not in it: keep them elsewhere (docs/backup.md)."""
_RESTORE = """\
Examples:
    broadside restore /backup/2026-11-30 --data /var/lib/broadside/node
    broadside restore /backup/store-2026-11-30 --server /var/lib/broadside/store

The folder must be empty or missing, and the node or server stopped. Campaigns
that were firing come back paused, and scheduled ones armed, so that a person
decides: who got the news after the backup may get it again, in the place of the
first push. --go-on lets them go on by themselves (docs/backup.md)."""

Server: TypeAlias = Annotated[
    Path | None, Parameter(name="--server", help="The data folder of a store server, instead of a node's.")
]
_STEPS = {"checkpoint": "checkpoint", "copy": "copying", "open": "opening"}


def register(app: App) -> None:
    """Add both commands."""
    app.command(backup, help_epilogue=_BACKUP)
    app.command(restore, help_epilogue=_RESTORE)


def backup(
    to: Annotated[Path, Parameter(help="The folder to make.")],
    /,
    *,
    server: Server = None,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Back up the base of a running node or store server into a new folder."""
    folder = None if server is not None else data_folder(config, data)
    instance = _instance(folder, server)
    with _errors(), _shown() as progress:
        try:
            made = back_up(
                instance,
                machine_users.expanded(to).absolute(),
                broadside=version(),
                progress=progress,
                archive=None if folder is None else folder.archive,
            )
        except OSError as error:
            raise _unreachable(folder, instance, error) from None
    if json:
        say_json({"path": str(machine_users.expanded(to).absolute()), "bytes": made.bytes, "manifest": made})
    else:
        say(f"{to}: {_content(made)}, {_size(made.bytes)} in {len(made.files)} files")
    return 0


def restore(
    backup: Annotated[Path, Parameter(help="The folder that `broadside backup` has made.")],
    /,
    *,
    server: Server = None,
    go_on: Annotated[
        bool, Parameter(name="--go-on", help="Let campaigns go on by themselves, as if nothing had happened.")
    ] = False,
    json: Json = False,
    config: ConfigFile = None,
    data: DataDir = None,
) -> int:
    """Restore a backup into an empty data folder."""
    with _errors(), _shown() as progress:
        if server is not None:
            instance = machine_users.expanded(server).absolute()
            manifest, restored = restore_backup(backup, instance, go_on=go_on, progress=progress)
        else:
            folder = data_folder(config, data)
            if there := _content_of(folder):
                raise UsageError(
                    f"data folder {folder.root}: is not empty, it has {there}: its data would be lost (name an empty "
                    "one with --data, or move this one away)"
                )
            folder.create()
            with folder.locked():
                manifest, restored = restore_backup(
                    backup,
                    folder.tarantool,
                    go_on=go_on,
                    progress=progress,
                    archive=folder.archive,
                    roles=frozenset({"store", "tubes"}),
                )
    _tell(manifest, restored, json=json, go_on=go_on)
    return 0


def _tell(manifest: Manifest, restored: Restored, *, json: bool, go_on: bool) -> None:
    held = [{"id": campaign_text(id), "title": title, "state": state} for id, title, state in restored.held]
    if json:
        say_json({"manifest": manifest, "subscribers": restored.subscribers, "campaigns": restored.campaigns,
                  "held": held, "forgotten": restored.forgotten})  # fmt: skip
        return
    say(
        f"restored {restored.subscribers:,} subscribers and {restored.campaigns:,} campaigns, "
        f"of {moment(manifest.made_at)}"
    )
    for each in held:
        act = "campaign resume" if each["state"] == "paused" else "campaign fire"
        say(f"  {each['id']} {shown(each['title'])} waits, {each['state']}: broadside {act} {each['id']}")
    if restored.forgotten:
        say(f"  {', '.join(restored.forgotten)}: forgotten; each joins anew with the first start of its node")
    if go_on:
        complain("campaigns that were under way go on with the next start")


def _content_of(folder: DataFolder) -> str:
    """What is in a data folder beside what an interrupted restoration has made; empty: nothing."""
    skeleton = {"lock", "logs", "twins", ".tarantool-restoring", "lost+found"}
    if not folder.root.exists():
        return ""
    for part in (folder.tarantool, folder.credentials):
        if part.is_dir() and not any(part.iterdir()):
            skeleton.add(part.name)
    return min((path.name for path in folder.root.iterdir() if path.name not in skeleton), default="")


def _instance(folder: DataFolder | None, server: Path | None) -> Path:
    if folder is None:
        assert server is not None
        return machine_users.expanded(server).absolute()
    folder.check_owner()
    if folder.queue.exists():
        raise UsageError(
            f"data folder {folder.root}: has a queue alone, and the store knows its work too; the base is in the store "
            "(on a server of the store: broadside backup FOLDER --server /var/lib/broadside/store)"
        )
    return folder.tarantool


def _unreachable(folder: DataFolder | None, instance: Path, error: OSError) -> BroadsideError:
    if folder is not None and not folder.in_use():
        remedy = "start it, or copy the folder of the stopped node as it is"
        return NodeUnreachable(f"no node is running on the data folder {folder.root} ({remedy})")
    if folder is not None and not (instance / "admin.sock").exists():
        return NodeUnreachable(f"the node on the data folder {folder.root} is starting or stopping; try again")
    why = (error.strerror or str(error)).lower()
    return UsageError(f"{instance / 'admin.sock'}: {why} (is the server running, and are you the user that runs it?)")


@contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except (BackupRefused, EmbeddedUnavailable) as error:
        raise UsageError(str(error)) from None
    except BackupFailed as error:
        raise BroadsideError(str(error)) from None


@contextmanager
def _shown() -> Iterator[Progress]:
    """Draw a bar for each step."""
    with bars(counted=False) as drawn:
        tasks = {}

        def progress(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = drawn.add_task(_STEPS[step], note="")
            drawn.update(tasks[step], completed=done, total=max(1, total), note=_size(done))

        yield progress


def _content(made: Manifest) -> str:
    if made.subscribers is None:
        return "a queue"
    return f"{made.subscribers:,} subscribers and {made.campaigns or 0:,} campaigns, of {moment(made.made_at)}"


def _size(octets: int) -> str:
    return f"{octets / 1e6:,.1f} MB"
