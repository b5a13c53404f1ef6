"""Seeded fault schedules for Hypothesis, which only this file imports."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from supervision.testing.report import FaultKind, PlannedFault


def fault_schedules(
    *, actors: Sequence[str] = (), seams: Sequence[str] = (), steps: int = 50, most: int = 4
) -> st.SearchStrategy[list[PlannedFault]]:
    """Lists of up to `most` faults: crashes of `actors`, errors before and after the effect at `seams`.

    `steps`: the highest step, counted from the previous fault. Hypothesis seeds Trio's scheduler, so that a failing
    example replays, and shrinks to few faults at early steps. One example is one `run_schedule`.
    """
    number = st.integers(1, steps)
    kinds: list[st.SearchStrategy[PlannedFault]] = []
    if actors:
        kinds.append(st.builds(PlannedFault, st.sampled_from(actors), number, st.just(FaultKind.CRASH)))
    if seams:
        kinds.append(
            st.builds(
                PlannedFault, st.sampled_from(seams), number, st.sampled_from([FaultKind.BEFORE, FaultKind.AFTER])
            )
        )
    if not kinds:
        raise ValueError("fault_schedules: name actors, seams or both")
    return st.lists(st.one_of(kinds), max_size=most)
