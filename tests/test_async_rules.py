"""The async rules run without flake8's other checks, and still find each breach."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

BREACHES = """
import trio
from trio import sleep  # 106


async def stop(link):
    try:
        await link.run()
    finally:
        await link.close()  # 102


async def swallow(link):
    try:
        await link.run()
    except BaseException:  # 103
        pass


async def answer(link):
    try:
        await link.run()
    except BaseException:  # 103
        return 1  # 104


async def read(path, parse):
    async with trio.open_nursery() as nursery:
        with path.open() as file:
            nursery.start_soon(parse, file)  # 111
        await trio.sleep(1)


async def alone(parse):
    async with trio.open_nursery() as nursery:  # 112
        nursery.start_soon(parse)


class Server:
    async def __aenter__(self):
        self.nursery.start_soon(trio.serve_tcp, print, 80)  # 113


async def tell(link):
    try:
        await link.run()
    except ValueError:
        await link.close()  # 120
        raise


async def first(link):
    try:
        await link.run()
    except ExceptionGroup as errors:
        raise errors.exceptions[0]  # 123


async def lines(link):  # 900
    yield await link.receive()
"""
IN_TESTS = {"102", "103", "106", "112", "120", "123"}


def test_each_breach_of_an_async_rule_is_found_on_its_line_unless_a_noqa_names_the_rule(tmp_path: Path) -> None:
    marked = [(n, line[-3:]) for n, line in enumerate(BREACHES.splitlines(), 1) if re.search(r"# \d{3}$", line)]
    assert len(marked) == 11
    named = re.sub(r"# (\d{3})$", r"# noqa: ASYNC\1", BREACHES, flags=re.MULTILINE)
    folders = {
        "product": (BREACHES, marked),
        "tests": (BREACHES, [(n, rule) for n, rule in marked if rule in IN_TESTS]),
        "noqa": (named, []),
        "other-noqa": (named.replace("ASYNC1", "ASYNC9").replace("ASYNC900", "ASYNC999"), marked),
    }
    for name, (source, _) in folders.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "house.py").write_text(source)
    ended = subprocess.run(
        [sys.executable, ROOT / ".ci/async_rules.py", *folders], cwd=tmp_path, capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (1, "")
    found = re.findall(r"^([\w-]+)/house.py:(\d+):\d+: ASYNC(\d+) ", ended.stdout, flags=re.MULTILINE)
    for name, (_, breaches) in folders.items():
        assert [(int(line), rule) for folder, line, rule in found if folder == name] == breaches, name
