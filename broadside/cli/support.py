"""``broadside support``: writes a bundle for whoever is asked for help, without secrets and tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from broadside import machine_users
from broadside.cli.options import ConfigFile, DataDir, Json
from broadside.cli.output import say, say_json

_EPILOGUE = """\
Examples:
    broadside support broadside-support.zip
    broadside support /tmp/help.zip --config /etc/broadside/broadside.toml

In it: the configuration's names and figures, what the doctor says, versions,
what runs and what is wrong, sizes, and the last lines of the log. Passwords,
keys, the phones' tokens and the texts of campaigns are taken out. Look through
it before you send it on."""


def register(app: App) -> None:
    """Add the command."""
    app.command(support, help_epilogue=_EPILOGUE)


def support(
    file: Annotated[Path, Parameter(help="The zip file to make.")],
    /,
    *,
    config: ConfigFile = None,
    data: DataDir = None,
    json: Json = False,
) -> int:
    """Write a bundle for whoever is asked for help: a zip file without secrets and tokens."""
    from broadside.support.bundle import write_bundle  # imports the transports, which no other command needs

    path = machine_users.expanded(file).absolute()
    parts = write_bundle(path, config, None if data is None else machine_users.expanded(data).absolute())
    if json:
        say_json({"path": str(path), "bytes": path.stat().st_size, "parts": parts})
    else:
        say(f"{file}: {path.stat().st_size / 1000:,.0f} KB; look through it before you send it on")
    return 0
