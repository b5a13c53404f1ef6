"""``broadside store`` and ``broadside schema``: Tarantool servers outside the node, through their admin sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeAlias

from cyclopts import App, Parameter

from broadside.cli.options import Json
from broadside.cli.output import say, say_json
from broadside.errors import BroadsideError, UsageError
from storage import admin
from storage.errors import AdminRefused
from storage.tarantool_program import support

_STORE = """\
Examples:
    broadside store status /var/lib/broadside/store
    broadside store promote /var/lib/broadside/store --quorum 1
    broadside store forget /var/lib/broadside/store 858ddc1a-4bb3-4c15-8303-2ca15048c7d5

Run these commands on the server itself, as the user that runs Tarantool. Before
a promotion the old master must be down, and stay down. Where the servers elect
their leader (failover: raft), it needs none: promote hands over to this one, and
only with --quorum 1 must the others stay down (docs/cluster.md)."""
_SCHEMA = """\
Examples:
    tarantool "$(broadside schema server)" /etc/broadside/store.yaml
    broadside schema apply /var/lib/broadside/store

The first command belongs in a systemd unit. The second upgrades a running
server after a newer Broadside is installed: upgrade the master first."""

Folder: TypeAlias = Annotated[Path, Parameter(help="The server's data folder, with its admin.sock.")]


def register(app: App) -> None:
    """Add both groups."""
    store = App(name="store", help="Show which server is the store's master, or promote one.", help_epilogue=_STORE)
    store.command(status)
    store.command(promote)
    store.command(forget)
    app.command(store)
    schema = App(name="schema", help="Run the store and the queue as Tarantool servers.", help_epilogue=_SCHEMA)
    schema.command(server)
    schema.command(apply)
    app.command(schema)


def status(folder: Folder, /, *, json: Json = False) -> int:
    """Show whether this instance is the master, and how the others follow."""
    _tell(_ask(folder, "status"), json)
    return 0


def promote(
    folder: Folder,
    /,
    *,
    quorum: Annotated[
        int | None,
        Parameter(
            help="Instances that must have a write before it is acknowledged, with this one. "
            "Default: 1; the majority, where the servers elect their leader."
        ),
    ] = None,
    json: Json = False,
) -> int:
    """Make this instance the master; on the master itself, change its quorum."""
    if quorum is not None and quorum < 1:
        raise UsageError(f"--quorum: {quorum} is too few (1 is this instance alone)")
    _tell(_ask(folder, "promote", **({} if quorum is None else {"quorum": quorum})), json)
    return 0


def forget(
    folder: Folder,
    uuid: Annotated[str, Parameter(help="The instance's uuid, as store status shows it.")],
    /,
    *,
    json: Json = False,
) -> int:
    """Let an instance that never comes back no longer count for the majority. Run it on the leader."""
    _tell(_ask(folder, "forget", uuid=uuid), json)
    return 0


def server() -> int:
    """Print the path of the script that Tarantool runs, for a unit file."""
    say(str(admin.SERVER))
    return 0


def apply(folder: Folder, /, *, json: Json = False) -> int:
    """Upgrade a running server's spaces and verbs to this version of Broadside."""
    done = _ask(folder, "apply")
    if json:
        say_json(done)
    else:
        say("applied" + (f": the store has schema {done['schema']}" if done["schema"] is not None else ""))
    return 0


def _ask(folder: Path, command: str, **arguments: Any) -> dict[str, Any]:
    path = folder.absolute() / "admin.sock"
    try:
        answer: dict[str, Any] = admin.ask(path, command, **arguments)
    except AdminRefused as error:
        raise BroadsideError(f"{path}: {error}") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UsageError(f"{path}: {reason} (is the server running, and are you the user that runs it?)") from None
    return answer


def _tell(status: dict[str, Any], json: bool) -> None:
    if json:
        say_json(status)
        return
    lead = "leader" if status["failover"] == "raft" else "master"
    role = "read replica" if status["read_only"] else f"{lead}, quorum {status['quorum']}"
    say(f"{status['uuid']}: {role} (term {status['term']})")
    say(f"  {support(status['version'], status['failover'], len(status['instances']) + 1)}")
    for other in status["instances"]:
        if status["read_only"]:
            lag = f"{(other['lag'] or 0.0) * 1000:.1f} ms behind" if other["followed"] else "not followed"
            say(f"  {other['uuid']}: {lag}")
        else:
            say(f"  {other['uuid']}: " + (f"follows, {other['behind']} behind" if other["follows"] else "away"))
