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
    8: "Outbox", 9: "Forget", 10: "Shepherd", 11: "Done", 12: "Pause", 13: "Correct",
}  # fmt: skip

INTRODUCTION = """\
# The walk, clause by clause: what goes wrong without it

docs/architecture.md lists the clauses of the walk on one page. Here each clause is taken away, and the shortest way
into trouble is shown.

The clauses are modelled in `tests/model/`: a store, some nodes with their queues and workers, every step that may come
next, and every fault that may happen between two steps. A breadth-first search visits all states that can be reached
and checks in each of them that these laws hold:

- Every page is put on the tubes at most once in an epoch of its owner, and the pages tile the base.
- Nobody is lost: when the campaign is *done*, every recipient has exactly one outcome in the ledger and was really sent
  to, or is counted as skipped, because it is not in the audience.
- Nobody is sent to again, unless the batch was unsettled when its worker crashed, its lease ran out, or its queue was
  lost or forgotten with lines that it had not reported.
- Each version of the texts is a push of its own: nobody is shown the old one after the new one, and nobody who had the
  old one is left with it.
- A row of the ledger is true. A settled page gets no further lines. Nothing is sent while the campaign is paused.
- From every state, without another fault, the campaign can still be done and the tubes empty.

With all clauses in place no law breaks under any two faults (`./dev sweep` searches all of it, `./dev test` a part).
Each clause is a switch in the model. Below, each is switched off in the smallest model in which that does harm. A
numbered step is what one worker or node does before another one acts. **FAULT** marks what nobody can prevent. `r0` and
`r1` are recipients; `worker 0.1` is the second worker of node 0.

The model leaves out: more than one segment, more than one channel (though a node may lack the channel), deadlines, dead
tokens, replicas of the store that elect another master, and cancel. It takes Tarantool's transactions at their word.
`tests/model/verbs.py` drives the real verbs of two Tarantools through the same faults in drawn orders, and checks the
same laws.
"""

SECOND = """\
## Clauses that another clause also covers

Take away one of these alone, and no law breaks in any state that was searched, because another clause stands behind it.
They stay: they cost nothing, and they keep a fault in the other clause small.

| without | no law breaks, because |
| --- | --- |
| put asks for the lease | a queue without a lease cannot take what it puts, and its next epoch purges it |
| take asks for the lease | nothing is begun of a batch that was taken without a lease |
| ack follows the put | the shepherd looks at own pages without a mark |
| lines come from the owner | a fenced node reports nothing, and a page changes hands only by fencing |
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
    """One clause, and the numbered steps into trouble without it."""
    found = search(removal.without(), rest=removal.breaks == STUCK)
    steps = told(found.trace) if found.trace else ["Fire is enough: no further step is needed"]
    clause = filled(f"{words(removal.clause)}. Without it: *{found.law}*.", "- ", "  ")
    return "\n".join([clause, *(filled(step, f"  {n}. ", "     ") for n, step in enumerate(steps, 1))]) + "\n"


def filled(text: str, first: str, others: str) -> str:
    """A paragraph of 120 columns."""
    return textwrap.fill(text, 120, initial_indent=first, subsequent_indent=others)


def told(trace: tuple[str, ...]) -> list[str]:
    """A trace as steps. What one worker or node does in a row is one step, which names it once."""
    turns: list[list[str]] = []
    who = ""
    for step in trace:
        named = re.match(r"(worker \d\.\d|node \d) (?!lacks)", step)
        if named and named[0] == who:
            turns[-1].append(step.removeprefix(who))
        else:
            turns.append([step.replace("FAULT", "**FAULT**:")])
        who = named[0] if named else ""
    return ["; ".join(turn) for turn in turns]


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
