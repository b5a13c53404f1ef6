"""``broadside twin``: runs a provider's twin on its own, for trials."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import App, Parameter

from broadside.cli.options import ConfigFile, DataDir, data_folder
from simulators import twins
from transports import registry

_EPILOGUE = """\
Examples:
    broadside twin {first} --port 2197 --ledger pushes.jsonl
    broadside twin {last} --script faults.toml --latency 20

A twin speaks the provider's real protocol on 127.0.0.1: HTTP/2 over TLS, with a
certificate authority of its own. Its first line says how to reach it: origin,
authority and credentials. The ledger has a line of JSON for each accepted push."""

Port: TypeAlias = Annotated[int, Parameter(help="The port to listen on. Default: 0, any free port.")]
ScriptFile: TypeAlias = Annotated[
    Path | None, Parameter(help="Faults to simulate, by share or by token: dead, 429, 503, slow (see docs/twins.md).")
]
LedgerFile: TypeAlias = Annotated[Path | None, Parameter(help="Append a line of JSON for each accepted push.")]
Latency: TypeAlias = Annotated[float, Parameter(help="Milliseconds to wait before each answer.")]
Directory: TypeAlias = Annotated[
    Path | None,
    Parameter(help="The folder of its test credentials, made if missing. Default: twins/ in the data folder."),
]
Apps: TypeAlias = Annotated[
    list[str] | None,
    Parameter(
        name="--app", help="The id of an app (topic, project) to accept; repeat the option for several. Default: any."
    ),
]


def register(app: App) -> None:
    """Add the group: one command, under each platform's name."""
    names = twins.names()
    epilogue = _EPILOGUE.format(first=names[0], last=names[-1]) if names else None
    group = App(name="twin", help="Run a twin of a push provider, without a node.", help_epilogue=epilogue)
    for platform in names:
        group.command(_command(platform), name=platform, help=f"Run the twin of {_service(platform)}.")
    app.command(group)


def _service(platform: str) -> str:
    return registry.load(platform).service if platform in registry.platforms() else platform


def _command(platform: str) -> Callable[..., int]:
    def run(
        *,
        port: Port = 0,
        script: ScriptFile = None,
        ledger: LedgerFile = None,
        latency: Latency = 0.0,
        directory: Directory = None,
        app: Apps = None,
        config: ConfigFile = None,
        data: DataDir = None,
    ) -> int:
        from simulators.twin import run_twin

        if directory is None:
            folder = data_folder(config, data)
            folder.create()
            directory = folder.twins
        return run_twin(
            platform, directory=directory, port=port, script=script, ledger=ledger, latency_ms=latency, app=app or ()
        )

    return run
