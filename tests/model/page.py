"""Writes docs/walk.md: `.venv/bin/python -m tests.model.page >docs/walk.md`. A test compares the two."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from tests.model import clauses
from tests.model.removals import REMOVALS, SECOND_LOCKS, STUCK, Removal
from tests.model.search import search

TITLES = {
    1: "Join", 2: "Take a baton", 3: "Claim a page", 4: "Pass, read, put", 5: "Ack", 6: "Take a batch", 7: "Settle",
    8: "Outbox", 9: "Forget", 10: "Shepherd", 11: "Done", 12: "Pause",
}  # fmt: skip

INTRODUCTION = """\
# The walk, clause by clause: what goes wrong without it

The walk's clauses (docs/architecture.md tells them in one piece) are modelled in `tests/model/`: a store, some nodes
with their queues and workers, every step that may come next, and everything that may go wrong between any two steps. A
search goes through all worlds that can come about, breadth first, and looks in each whether a law is broken:

- every page is put on the tubes at most once in an epoch of its owner, and the pages tile the base;
- nobody is lost: at *done* everybody has an end in the ledger, exactly one, and was really sent to;
- nobody is sent to again, unless his batch was unsettled when its worker crashed, its lease ran out, or its queue was
  lost or forgotten with lines that it had not reported;
- a row of the ledger says what is so; a settled page gets no more lines; nothing is sent while paused;
- and from every world a way leads, without another fault, to a campaign that is done and tubes that are empty.

With all clauses no law breaks, with any two faults (`./dev sweep`; a part of it in `./dev test`). Each is a switch.
Below is the shortest way into trouble that the search finds without it, in the smallest world that has one. *FAULT* is
what nobody can prevent; r0, r1 are recipients, worker 0.1 is node 0's second.

What the model does not have: more than one segment, and more than one channel (which a node may lack), deadlines, dead
tokens, copies of the store that elect another master, cancel. Tarantool's transactions are taken to be what they say.
`tests/model/verbs.py` drives the real verbs of two Tarantools through the same faults in drawn orders, against the same
law.
"""

SECOND = """\
## Second locks

Without one of these alone no law breaks in any world that was searched, for another clause stands behind it. They stay:
they cost nothing, and keep a fault of the other one small.

| without | holds, because |
| --- | --- |
| put asks for the lease | what a queue without a lease puts it cannot take, and its next epoch purges it |
| ack follows the put | the shepherd looks at own pages without their mark |
| lines come from the owner | whoever is fenced reports nothing, and a page changes hands by fencing alone |
| shepherd looks at own pages | the ack follows the put: until then the baton comes back by itself |
"""


def words(clause: str) -> str:
    """A switch as a phrase, with what its line in clauses.py says."""
    phrases = []
    source = Path(clauses.__file__).read_text()
    for name in clause.split():
        comment = re.search(rf"    {name}: bool = True(?:  # (.*))?\n", source)
        assert comment is not None
        phrases.append(f"**{name.replace('_', ' ')}**" + (f" ({comment[1]})" if comment[1] else ""))
    return " and ".join(phrases)


def paragraph(removal: Removal) -> str:
    """One clause and its trace."""
    found = search(removal.without(), rest=removal.breaks == STUCK)
    trace = told(found.trace) if found.trace else "From the very beginning"
    lines = [f"- {words(removal.clause)}. Without: *{found.law}*.", f"{trace}."]
    return "".join(
        f"{textwrap.fill(line, 120, initial_indent=at, subsequent_indent='  ')}\n"
        for line, at in zip(lines, ("", "  "), strict=True)
    )


def told(trace: tuple[str, ...]) -> str:
    """A trace in one sentence, which does not name again who goes on."""
    sentence, who = [], ""
    for step in trace:
        name = re.match(r"(worker \d\.\d|node \d) ", step)
        sentence.append(step.removeprefix(who) if who else step)
        who = name[0] if name else ""
    return "; ".join(sentence)


def page() -> str:
    """The whole of docs/walk.md."""
    parts = [INTRODUCTION]
    for number, title in TITLES.items():
        parts.append(f"## {number}. {title}\n")
        parts.append("".join(paragraph(removal) for removal in REMOVALS if removal.number == number))
    parts.append(SECOND)
    for clause in SECOND_LOCKS:
        assert clause.replace("_", " ") in SECOND
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
