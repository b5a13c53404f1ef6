"""Seeded fault schedules for Hypothesis, which only this file imports."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from supervision.testing.report import Fault, Kind


def fault_schedules(
    *, actors: Sequence[str] = (), seams: Sequence[str] = (), steps: int = 50, most: int = 4
) -> st.SearchStrategy[list[Fault]]:
    """Lists of up to `most` faults: crashes of `actors`, errors before and after the effect at `seams`.

    `steps`: the highest step, counted from the fault before. Hypothesis seeds Trio's scheduler, so that a failing
    example replays, and shrinks to few faults at early steps. One example is one `run_schedule`.
    """
    number = st.integers(1, steps)
    kinds: list[st.SearchStrategy[Fault]] = []
    if actors:
        kinds.append(st.builds(Fault, st.sampled_from(actors), number, st.just(Kind.CRASH)))
    if seams:
        kinds.append(st.builds(Fault, st.sampled_from(seams), number, st.sampled_from([Kind.BEFORE, Kind.AFTER])))
    if not kinds:
        raise ValueError("fault_schedules: name actors, seams or both")
    return st.lists(st.one_of(kinds), max_size=most)
