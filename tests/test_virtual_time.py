"""Trap 12: a virtual clock never meets sockets, processes or asyncio. It would fire their deadlines at once."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
CLOCKS = {"autojump_clock", "mock_clock", "virtual"}
REAL = {
    "linked", "Server", "ChildProcess", "open_process", "run_process", "open_tcp_stream", "open_tcp_listeners",
    "open_ssl_over_tcp_stream", "open_loop", "serve_twin", "tarantool", "own_tarantool", "link", "own_link", "peer",
}  # fmt: skip


def offenders(source: str) -> list[str]:
    """Names of test functions that take a virtual clock and touch something real."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if isinstance(function, ast.AsyncFunctionDef | ast.FunctionDef) and function.name.startswith("test_"):
            arguments = {argument.arg for argument in function.args.args}
            names = {node.id for node in ast.walk(function) if isinstance(node, ast.Name)}
            attributes = {node.attr for node in ast.walk(function) if isinstance(node, ast.Attribute)}
            if arguments & CLOCKS and (arguments | names | attributes) & REAL:
                found.append(function.name)
    return found


def test_a_virtual_clock_never_meets_sockets_processes_or_asyncio() -> None:
    for path in TESTS.rglob("test_*.py"):
        assert offenders(path.read_text()) == [], path


def test_the_search_finds_an_offender() -> None:
    assert offenders("async def test_x(autojump_clock, own_link): ...") == ["test_x"]
    assert offenders("async def test_y(virtual):\n    await trio.open_tcp_stream('h', 1)") == ["test_y"]
