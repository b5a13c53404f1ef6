"""The product names no platform: they are known by their entry points, so that a new one changes no file of it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from transports import registry

TREE = Path(__file__).parent.parent
PRODUCT = ("supervision", "campaigns", "transports", "storage", "actors", "broadside")
"""Twins (``simulators``) are the platforms' own."""
NAMES = "|".join(registry.platforms())
THEIR_OWN = (*(f"transports/{name}/" for name in registry.platforms()), "broadside/demo/", "broadside/imports/presets/")
"""The presets say which of another service's words means which platform: data about that service's exports."""
QUOTED = re.compile(rf"""(["'`])({NAMES})\1""")
WORD = re.compile(rf"(?<![\w.-])({NAMES})(?![\w.-])")
"""As a command line or a configuration has it; ``apns-id`` and ``transports.fcm`` are other words."""


def named(source: str, suffix: str = ".py") -> Iterator[int]:
    """Lines that name a platform: in quotes anywhere, or as a word in a text (a help text, a docstring)."""
    for number, line in enumerate(source.splitlines(), 1):
        if QUOTED.search(line):
            yield number
    if suffix == ".py":
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for found in WORD.finditer(node.value):
                    yield node.lineno + node.value.count("\n", 0, found.start())


def test_the_product_names_no_platform() -> None:
    found = []
    for folder in PRODUCT:
        for path in sorted((TREE / folder).rglob("*")):
            name = path.relative_to(TREE).as_posix()
            if path.suffix in (".py", ".lua", ".toml", ".html", ".css", ".js") and not name.startswith(THEIR_OWN):
                found += [f"{name}:{line}" for line in sorted(set(named(path.read_text(), path.suffix)))]
    assert found == []


def test_the_search_finds_a_name() -> None:
    assert list(named("x = 1\nif platform == 'apns': ...")) == [2, 2]
    assert list(named('"""One line.\n\n    broadside twin fcm --port 1\n"""')) == [3]
    assert list(named('f"{x}, as in apns"')) == [1]
    assert list(named("-- like `fcm`", ".lua")) == [1]
    assert list(named('"apns-id"; "message.options.fcm"; from_fcm = transports.fcm')) == []
