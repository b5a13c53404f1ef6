"""A process's start is paid by every restart and every command: it loads what it uses, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

_COMMAND = """
import sys
from broadside.cli import run
code = run(sys.argv[1:])
print(*sys.modules)
sys.exit(code)
"""
DRAWING = {"rich", "click", "pygments"}
"""What structlog and httpx load if it is installed."""
SERVING = {"trio", "asyncio", "asynctnt", "structlog", "starlette", "prometheus_client", "cryptography", "h2"}
"""What a node or a worker needs, and a command that asks a node does not."""


def loaded(code: str, *arguments: str, expected: int = 0) -> set[str]:
    """The modules of a Python process after it ran ``code``."""
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    assert run.returncode == expected, run.stderr
    return set(run.stdout.split())


def test_a_command_that_asks_a_node_loads_no_node(tmp_path: Path) -> None:
    """It loaded Trio, asyncio, Tarantool's driver, structlog and rich to say that no node runs."""
    found = loaded(_COMMAND, "campaign", "list", "--data", str(tmp_path), expected=3)
    assert "broadside.api.api_client" in found, "it went as far as asking"
    assert not (DRAWING | SERVING) & found


def test_help_loads_no_node() -> None:
    """Cyclopts lays out the page with rich; the rest is not needed."""
    found = loaded(_COMMAND, "--help")
    assert "rich" in found
    assert not SERVING & found


def test_a_worker_loads_no_console_and_nothing_that_draws() -> None:
    """As the node starts it, with a pair of sockets; it ends because the other end is closed."""
    code = """
import atexit, runpy, socket, sys
ours, theirs = socket.socketpair()
ours.close()
sys.argv = ["worker", str(theirs.detach())]
runpy.run_module("broadside.worker", run_name="__main__")
print(*[name for name, module in sys.modules.items() if module])
"""
    found = loaded(code)
    assert {"broadside.worker.worker", "broadside.topology"} <= found
    assert not (DRAWING | {"starlette", "prometheus_client", "cyclopts", "cryptography", "httpx"}) & found
    assert not {"broadside.console", "broadside.newsroom"} & found


def test_a_nodes_parent_loads_nothing_that_draws(tmp_path: Path) -> None:
    """Its lines and logs are plain; the bars of a terminal load it when they are drawn."""
    file = tmp_path / "file"
    file.touch()
    found = loaded(_COMMAND, "node", "--data", str(file), expected=2)  # it goes as far as its data folder
    assert "broadside.console.console" in found
    assert not DRAWING & found


def test_packages_are_hidden_only_meanwhile() -> None:
    """On a terminal the node draws with rich, which structlog did not get."""
    code = """
import sys
from broadside.optional_packages import without
with without("rich"):
    import structlog
from rich.console import Console
with without("rich"):
    import rich  # it is loaded already, so it stays
print(structlog.dev.rich is None, Console.__name__)
"""
    assert loaded(code) == {"True", "Console"}


def test_a_twin_loads_nothing_of_broadside() -> None:
    """A node starts one for each platform, and a trial starts one alone."""
    modules = "simulators.twin, simulators.apns.apns_twin, simulators.fcm.fcm_twin"
    found = loaded(f"import sys, {modules}; print(*sys.modules)")
    assert not {"broadside", "structlog", "asyncio", "httpx", *DRAWING} & found
