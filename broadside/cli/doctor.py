"""``broadside doctor``: checks the installation, and says what to do about each fault."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cyclopts import App

from broadside import machine_users
from broadside.cli.options import ConfigFile, DataDir, Json
from broadside.cli.output import say, say_json

if TYPE_CHECKING:
    from broadside.doctor.findings import Finding

_EPILOGUE = """\
Examples:
    broadside doctor
    broadside doctor --config /etc/broadside/broadside.toml --json

The doctor changes nothing, and may run beside a running node. The exit code is
1 if anything is wrong (!!). A line with ?? is a warning: it may be meant so."""


def register(app: App) -> None:
    """Add the command."""
    app.command(doctor, help_epilogue=_EPILOGUE)


def doctor(*, config: ConfigFile = None, data: DataDir = None, json: Json = False) -> int:
    """Check configuration, data folder, Tarantool, credentials and the path to the providers: one line each."""
    from broadside.doctor.checks import examine  # imports the transports, which no other command needs

    findings: list[Finding] = []
    for finding in examine(config, None if data is None else machine_users.expanded(data).absolute()):
        findings.append(finding)
        if not json:
            say(str(finding))
    fine = all(finding.ok for finding in findings)
    if json:
        say_json({"ok": fine, "checks": [dataclasses.asdict(finding) for finding in findings]})
    return 0 if fine else 1
