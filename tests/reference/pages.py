"""The reference pages, each made from what it is about."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

from broadside.cli import build
from tests.reference.metrics import metrics
from tests.reference.verbs import ROLES, Verb, verbs

ROOT = Path(__file__).parents[2]
_MADE = "<!-- Made by ./dev reference: do not edit. -->\n\n"
_METRICS = f"""\
# Metrics

{_MADE}What `GET /metrics` tells Prometheus ([watching.md](watching.md)). Labels are names of the configuration and ids
of campaigns, never a token or a text. A counter's name ends with `_total` there; a histogram has `_bucket`, `_count`
and `_sum`.

| metric | kind | labels | what it says |
| --- | --- | --- | --- |"""
_VERBS = f"""\
# Lua verbs

{_MADE}All that Broadside asks of Tarantool: functions of a role, called by the user `broadside`, who may call them and
nothing else ([security.md](security.md)). Those marked *peer* may be called by other nodes of the ring, too. Moments
are milliseconds, UTC. A verb that writes is one transaction.
"""


def cli() -> str:
    """Every command and option, as ``--help`` says them."""
    with patch("sys.argv", ["broadside"]):  # it would say how this process was called
        text = build().generate_docs(output_format="markdown")
    title, _, rest = text.partition("\n")
    assert title == "# broadside"
    return f"# The command line\n\n{_MADE}{rest.strip()}\n"


def of_metrics() -> str:
    """Every metric of ``/metrics``."""
    lines = [_METRICS]
    for each in metrics():
        labels = ", ".join(f"`{label}`" for label in each.labels)
        lines.append(f"| `{each.name}` | {each.kind} | {labels} | {each.text} |")
    return "\n".join(lines) + "\n"


def of_verbs() -> str:
    """Every verb of the store and of the queue."""
    lines = [_VERBS]
    for role, about in ROLES.items():
        lines += [f"## `{role}`\n", f"{about}\n"]
        lines += [_verb(role, each) for each in verbs(role)]
    return "\n".join(lines).rstrip() + "\n"


def _verb(role: str, verb: Verb) -> str:
    peer = " · *peer*" if verb.peer else ""
    return f"### `{role}.{verb.name}({verb.arguments})`{peer}\n\n{verb.text}\n"


PAGES: dict[Path, Callable[[], str]] = {
    ROOT / "docs" / "cli.md": cli,
    ROOT / "docs" / "metrics.md": of_metrics,
    ROOT / "docs" / "verbs.md": of_verbs,
}
