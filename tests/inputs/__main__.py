"""The command: ``python -m tests.inputs FOLDER``.

FOLDER holds files that each broke something once; ``table.py`` knows them by their names. If there is a program
``make-large`` in FOLDER, it is run to write more of them. Each file is tried against a real node with twins. One line a
file says what became of it; the exit code is 1 if that differs for one of them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import trio

from broadside.errors import first_error
from tests.inputs.lab import Differs, Input, Labs
from tests.inputs.table import CASES
from tests.system.processes import Failed

NO_INPUTS = {"README.md", "make-large"}
LONGEST = 300.0
"""Seconds for one file."""


async def tried(files: Sequence[Input], labs: Labs) -> list[str]:
    """Try the files one after the other, and print a line for each; returns the names of those that differ."""
    differing = []
    try:
        for file in files:
            began = time.monotonic()
            case = CASES.get(file.path.name)
            try:
                if case is None:
                    raise Differs("nobody has said what must become of it (tests/inputs/table.py)")
                with trio.fail_after(LONGEST):
                    verdict, figures = "ok", await case.run(file, labs)
            except* Exception as errors:
                error = first_error(errors)
                known = isinstance(error, Differs | Failed)
                verdict, figures = "DIFFERS", str(error) if known else f"{type(error).__name__}: {error}"
                differing.append(file.path.name)
            row, took = "" if case is None else case.row, time.monotonic() - began
            print(f"{file.path.name:36} {row:7} {verdict:8} {took:5.1f} s  {figures}", flush=True)
    finally:
        with trio.CancelScope(shield=True):
            await labs.end()
    return differing


def main(folder: Path, only: Sequence[str]) -> int:
    """Try all files of ``folder``, or those whose names begin with one of ``only``; returns the exit code."""
    with tempfile.TemporaryDirectory(prefix="broadside-inputs-") as room:
        paths = [path for path in folder.iterdir() if path.is_file() and path.name not in NO_INPUTS]
        maker, large = folder / "make-large", Path(room) / "large"
        large.mkdir()
        if maker.exists():
            subprocess.run([sys.executable, str(maker), str(large)], check=True)
        files = {path.name: path for path in sorted([*paths, *large.iterdir()], key=lambda path: path.name)}
        chosen = [path for name, path in files.items() if not only or name.startswith(tuple(only))]
        if not chosen:
            print(f"{folder}: there is no file to try", file=sys.stderr)
            return 1
        inputs = [Input(path, path.read_bytes()) for path in chosen]
        differing = trio.run(tried, inputs, Labs(Path(room) / "nodes", files))
    print(f"{len(chosen)} files, {len(differing)} differ{': ' if differing else ''}{', '.join(differing)}")
    return 1 if differing else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.inputs", description="Try files that once broke something.")
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where they are")
    parser.add_argument("only", nargs="*", metavar="NAME", help="only files whose names begin so")
    arguments = parser.parse_args()
    sys.exit(main(arguments.folder.absolute(), arguments.only))
