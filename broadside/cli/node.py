"""``broadside node``: run this server's node."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from broadside.cli.options import ConfigFile, DataDir, configuration
from broadside.optional_packages import without

_EPILOGUE = """\
Examples:
    broadside node               the demo, if there is no broadside.toml here
    broadside node --config /etc/broadside/broadside.toml
    broadside node --data /tmp/try --no-demo

Ctrl-C or SIGTERM finishes the batches in hand and stops everything;
a second one stops at once."""


def register(app: App) -> None:
    """Add the command."""
    app.command(node, help_epilogue=_EPILOGUE)


def node(
    *,
    config: ConfigFile = None,
    data: DataDir = None,
    no_demo: Annotated[
        bool, Parameter(name="--no-demo", help="Start with an empty base, and fire no sample campaign.")
    ] = False,
) -> int:
    """Run the node: Tarantool, the workers that send, the HTTP API, and the twins that channels ask for."""
    loaded = configuration(config)
    with without("rich"):  # its logs and lines are plain; only a terminal's bars are drawn with it
        from broadside.node.program import run_node

    return run_node(loaded, data, not no_demo)
