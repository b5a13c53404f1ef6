"""One name, one thing: whoever greps for a class or a file finds the one that is meant."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PRODUCT = ("supervision", "campaigns", "transports", "storage", "actors", "simulators", "broadside")
FILES = [path for folder in PRODUCT for path in sorted((ROOT / folder).rglob("*.py"))]

CLASSES = {
    "Connection": "to Tarantool, and of HTTP/2: each the only one in its folder",
    "Fault": "whose fault a refusal is; and a fault that the harness of supervision's tests injects",
}
MODULES = {
    # a command's file has the command's name
    "campaign": "the command; the record",
    "node": "the command; the node",
    "twin": "the command; the twin",
    "drill": "the command; the record",
    # the same room in each folder
    "errors": "each folder's own base error",
    "credentials": "one per platform",
    "fields": "one per platform",
    "options": "one per platform; the command line's",
    "outcomes": "one per platform",
    "payload": "one per platform",
    "platform": "one per platform",
    "tokens": "one per platform",
    "transport": "one per platform",
    # each the only one in its folder
    "connection": "to Tarantool; of HTTP/2",
    "messages": "between actors; of HTTP/2",
}


def test_no_two_classes_have_one_name() -> None:
    found = defaultdict(list)
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in found.items() if len(where) > 1 and name not in CLASSES} == {}


def test_no_two_modules_have_one_name() -> None:
    found = defaultdict(list)
    for path in FILES:
        if not path.stem.startswith("__"):
            found[path.stem].append(str(path.relative_to(ROOT)))
    assert {name: where for name, where in found.items() if len(where) > 1 and name not in MODULES} == {}
