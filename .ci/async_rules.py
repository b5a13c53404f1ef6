"""Checks the rules of flake8-async that ruff lacks: .ci/async_rules.py FOLDER… (exit code 1: a rule is broken).

All of them are visitors of Python's own syntax tree. For its other rules the plugin also walks a tree of libcst,
several times for each file, and flake8 runs pycodestyle and pyflakes: together 25 times the work. So only the visitors
run here.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tokenize
from pathlib import Path

from flake8.defaults import NOQA_INLINE_REGEXP
from flake8_async import Plugin
from flake8_async.base import Error, Options
from flake8_async.runner import Flake8AsyncRunner
from flake8_async.visitors import ERROR_CLASSES

RULES = ["102", "103", "104", "106", "111", "112", "113", "120", "123", "900"]
# tests swallow Cancelled and leave nurseries in odd orders on purpose, and their fixtures are generators
LEFT_OUT_IN_TESTS = ["104", "111", "113", "900"]


def main(folders: list[Path]) -> int:
    everywhere, in_tests = _options(RULES), _options([rule for rule in RULES if rule not in LEFT_OUT_IN_TESTS])
    broken = read = 0
    for folder in folders:
        for file in sorted(folder.rglob("*.py")):
            read += 1
            for error in _errors(file, in_tests if folder.name == "tests" else everywhere):
                broken += 1
                sys.stdout.write(f"{file}:{error}\n")
    if not read:
        sys.exit(f"async rules: there is no Python file in {', '.join(map(str, folders)) or 'no folder'}; name folders")
    if not broken:
        sys.stdout.write(f"async rules: {read} files, none broken\n")
    return 1 if broken else 0


def _options(rules: list[str]) -> Options:
    """Make the plugin's options for the rules; exits if a rule is not one of the visitors that run here."""
    codes = {f"ASYNC{rule}" for rule in rules}
    if missing := codes - {code for visitor in ERROR_CLASSES for code in visitor.error_codes}:
        sys.exit(f"async rules: {', '.join(sorted(missing))}: not a rule on Python's syntax tree; run flake8 for it")
    parser = argparse.ArgumentParser()
    Plugin.add_options(parser)
    Plugin.parse_options(parser.parse_args(["--enable", ",".join(sorted(codes)), "--disable", ""]))
    return Plugin._options


def _errors(file: Path, options: Options) -> list[Error]:
    with tokenize.open(file) as opened:
        text = opened.read()
    lines = text.splitlines()
    found = Flake8AsyncRunner.run(ast.parse(text, filename=str(file)), options)
    return sorted(error for error in found if not _excused(lines[error.line - 1], error.code))


def _excused(line: str, code: str) -> bool:
    """Whether the line ends in ``# noqa``, alone or with this rule's code."""
    noqa = NOQA_INLINE_REGEXP.search(line)
    return noqa is not None and (noqa["codes"] is None or code in noqa["codes"].upper())


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
