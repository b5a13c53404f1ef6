"""What each clause is for: the smallest world in which the walk goes wrong without it, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from tests.model.clauses import Clauses
from tests.model.world import Scenario


@dataclass(frozen=True)
class Removal:
    """A clause, and where it is missed."""

    clause: str  # the switch in `Clauses`, or two with a blank between that guard against the same
    number: int  # of the clause in docs/walk.md
    scenario: Scenario
    breaks: str  # part of the law that is then broken

    def without(self) -> Scenario:
        """The scenario with this clause removed."""
        return replace(self.scenario, clauses=replace(Clauses(), **dict.fromkeys(self.clause.split(), False)))


def small(*kinds: str, faults: int = 1, nodes: int = 2, workers: int = 1, pages: int = 1, **more: Any) -> Scenario:
    """Two nodes, a page, a fault."""
    return Scenario(nodes=nodes, workers=workers, pages=pages, faults=faults, kinds=frozenset(kinds), **more)


def alone(*kinds: str, **more: Any) -> Scenario:
    """One node, a page, a fault."""
    return small(*kinds, nodes=1, **more)


STUCK = "can never be done"
REPEAT = "once more than the law allows"

REMOVALS = [
    Removal("join_raises_the_epoch", 1, alone("blank"), STUCK),
    Removal("join_purges", 1, small("wrong forget"), REPEAT),
    Removal("epoch_is_remembered", 2, small("wrong forget"), "more"),
    Removal(
        "claim_asks_for_the_channels",
        3,
        small("crash", "lost reply", "lost baton", pages=2, lacking=frozenset({0})),
        "is settled and was never sent to",
    ),
    Removal("claim_asks_for_the_epoch", 3, small("wrong forget"), STUCK),
    Removal("claim_asks_for_the_cursor", 3, alone("lost reply", pages=2), "twice"),
    Removal("claim_can_be_repeated", 3, alone("lost reply"), STUCK),
    Removal("claim_leaves_out_what_is_settled", 3, alone("blank", recipients=2, attempts=2), REPEAT),
    Removal("read_waits_for_the_claim", 4, alone(faults=0), "done, and r0 has no outcome"),
    Removal("put_asks_for_the_mark", 4, alone("lost reply"), "is put twice in one epoch"),
    Removal("put_is_one_transaction", 4, alone("crash"), "is put twice in one epoch"),
    Removal("put_counts_what_was_settled", 4, alone("blank", recipients=2, attempts=2), "done, and r1 has no outcome"),
    Removal("put_replaces_what_was_skipped", 4, alone("blank", recipients=2, fickle=True), "skipped of 2 rows"),
    Removal("baton_is_acked", 5, alone(faults=0), STUCK),
    Removal("send_asks_for_the_lease", 6, alone("cut off", pause=True), "sent while the campaign is paused"),
    Removal("settle_asks_for_the_take", 7, alone("zombie", workers=2, recipients=2, attempts=2), ""),
    Removal("settle_is_one_transaction", 7, alone("crash"), STUCK),
    Removal("part_leaves_its_batch", 7, alone("crash", recipients=2, parts=True), "outcomes"),
    Removal("part_is_settled_once", 7, alone("lost reply", recipients=2, parts=True), "outcomes"),
    Removal(
        "settled_is_kept_by_id",
        7,
        alone("blank", recipients=3, interleaved=True),
        "done, and r1 has no outcome",
    ),
    Removal("remainders_end", 7, alone(faults=0, attempts=2, always_refused=True), STUCK),
    Removal("lines_are_numbered", 8, alone("lost reply"), "is settled, and then gets one more line"),
    Removal("lines_carry_their_epoch", 8, alone("wrong forget", "slow reporter", faults=2), STUCK),
    Removal("report_asks_for_the_epoch", 8, small("wrong forget"), STUCK),
    Removal("lease_is_waited_for", 9, small("wrong forget"), REPEAT),
    Removal("lease_counts_from_the_question", 9, alone("wrong forget", "slow renewal", faults=2), REPEAT),
    Removal("reports_are_refused_first", 9, small("wrong forget"), STUCK),
    Removal("forgotten_pages_turn_open", 9, small("lost node"), STUCK),
    Removal("shepherd_looks_at_cursors", 10, alone("lost baton", pages=2), STUCK),
    Removal("shepherd_looks_at_open_pages", 10, alone("blank"), STUCK),
    Removal("shepherd_looks_at_own_pages ack_follows_the_put", 10, alone("crash"), STUCK),
    Removal("done_waits_for_the_cursor", 11, alone(faults=0, pages=2), "done, and r1 has no outcome"),
    Removal("done_waits_for_the_put", 11, alone(faults=0, pages=2), "done, and r1 has no outcome"),
    Removal("done_waits_for_the_settlements", 11, alone(faults=0), "done, and r0 has no outcome"),
    Removal("marks_outlive_the_leases", 11, alone("early shepherd", workers=2), "is put twice in one epoch"),
    Removal("pausing_stops_claims", 12, alone(faults=0, pause=True), "the cut line moved"),
    Removal("pausing_stops_takes", 12, alone(faults=0, pause=True), "sent while the campaign is paused"),
    Removal("paused_waits_for_quiet", 12, alone(faults=0, pause=True), "paused"),
    Removal("paused_waits_for_the_outboxes", 12, alone(faults=0, pause=True), "does not know that r0 was reached"),
    Removal("resume_asks_whether_done", 12, alone(faults=0, pause=True), STUCK),
    Removal("correct_waits_for_paused", 13, alone(faults=0, pause=True, correct=True), "after it was corrected"),
    Removal("texts_come_with_the_lease", 13, alone(faults=0, pause=True, correct=True), "after it was corrected"),
    Removal("second_walk_goes_to_the_settled", 13, alone(faults=0, pause=True, correct=True), REPEAT),
    Removal("lines_carry_their_texts", 13, small("cut off", pause=True, correct=True), "has the old text"),
]

SECOND_LOCKS = [
    "put_asks_for_the_lease",
    "take_asks_for_the_lease",
    "ack_follows_the_put",
    "lines_come_from_the_owner",
    "shepherd_looks_at_own_pages",
]
"""Without one of these nothing goes wrong in any world that was searched: another clause stands behind it."""
