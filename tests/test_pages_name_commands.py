"""README and docs name only commands that exist: a command line in a block parses as a whole, one in a sentence as far
as it goes. Nothing is run here."""

from __future__ import annotations

import itertools
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import CycloptsError, UnknownCommandError, UnknownOptionError

from benchmarks.against.trees import benches
from broadside.cli import build

ROOT = Path(__file__).parents[1]
MADE = {"cli.md"}  # by ./dev reference, from the commands themselves
PAGES = [
    path
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md")))
    if path.name not in MADE and "adr" not in path.parts
]
RECIPE = re.compile(r"^([a-z][\w-]*)(?: .*)?:(?!=)", re.M)
RECIPES = set(RECIPE.findall((ROOT / "justfile").read_text()))
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
LINE = re.compile(r"^(?:\$ )?(?:\.venv/bin/|sudo (?:-u \w+ )?(?:[\w/]+/)?)?(broadside [a-z-].*|\./dev [a-z].*)$")
"""A line of a block that is a command: at its beginning, or after ``$``; in a transcript only after ``$``."""
SENTENCE = re.compile(r"`(broadside [a-z][^`]*|\./dev [a-z][^`]*)`")
PROGRAM = build()
ENDS = {"|", ">", "&&", ";"}


def of_blocks(text: str) -> Iterator[str]:
    """The command lines of the page's blocks."""
    for language, block in BLOCK.findall(text):
        lines = [line.strip() for line in block.replace("\\\n", " ").splitlines()]
        transcript = any(line.startswith("$ ") for line in lines)
        if language in ("", "sh", "bash", "console"):
            for line in lines:
                found = LINE.match(line)
                if found and (line.startswith("$ ") or not transcript):
                    yield found[1]


def of_sentences(text: str) -> Iterator[str]:
    """The command lines in the page's sentences, ``buried|kick`` as two."""
    for line in SENTENCE.findall(BLOCK.sub("", text)):
        words = [word.split("|") if re.fullmatch(r"[a-z|]+", word) else [word] for word in line.split()]
        yield from (" ".join(each) for each in itertools.product(*words))


def wrong(line: str, *, whole: bool) -> str:
    """Why this is no command; empty if it is one. ``whole``: also what is missing, and values of another kind."""
    try:
        program, *words = shlex.split(line, comments=True)
    except ValueError as error:
        return str(error)
    words = list(itertools.takewhile(lambda word: word not in ENDS, words))
    if program == "./dev":
        if words[0] not in RECIPES:
            return f"./dev has no recipe {words[0]}"
        if words[0] == "bench" and len(words) > 1 and words[1].islower() and words[1] not in benches(ROOT):
            return f"there is no bench {words[1]}"
        if words[0] not in ("fire", "run-node"):
            return ""
        words[0] = {"run-node": "node"}.get(words[0], words[0])
    if not whole:
        words = [word.strip("[]") for word in words if word != "…"]
    try:
        PROGRAM.parse_args(words, exit_on_error=False, print_error=False)
    except (UnknownCommandError, UnknownOptionError) as error:
        return str(error)
    except CycloptsError as error:
        return str(error) if whole else ""
    return ""


def mistakes(text: str) -> dict[str, str]:
    """Command lines that are none → why."""
    found = {line: wrong(line, whole=True) for line in of_blocks(text)}
    found |= {line: wrong(line, whole=False) for line in of_sentences(text)}
    return {line: why for line, why in found.items() if why}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_names_exists(page: Path) -> None:
    assert mistakes(page.read_text()) == {}


def test_a_command_that_is_gone_is_noticed() -> None:
    text = """
`broadside import`, `broadside tube buried|kicked`, `broadside fire … --titel X`, `./dev benches`, `./dev bench pipelin`
and `broadside key add NAME --role ROLE`, `./dev bench NAME`, `broadside fire …`, which exist

```sh
broadside campaign show     # which?
broadside store promote /var/lib/broadside-store --quorum two
```

```
$ broadside subscribers import a.csv \\
    --dry-run
broadside subscribers said this
$ ./dev fire --title
```
"""
    assert list(mistakes(text)) == [
        "broadside campaign show     # which?",
        "broadside store promote /var/lib/broadside-store --quorum two",
        "./dev fire --title",
        "broadside import",
        "broadside tube kicked",
        "broadside fire … --titel X",
        "./dev benches",
        "./dev bench pipelin",
    ]
