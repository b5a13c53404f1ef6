"""The clauses of the walk (docs/walk.md), one switch each. All on is what Broadside does; off brings a fault back."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Clauses:
    """A field's comment says what is so while it is on."""

    # 1. join
    join_raises_the_epoch: bool = True  # a queue that came back blank is another owner than the one that was lost
    join_purges: bool = True  # a queue that enters a new epoch forgets its batches, marks and outbox
    # 2. take a baton
    epoch_is_remembered: bool = True  # what is put belongs to the epoch in which the baton was taken
    # 3. claim a page
    claim_asks_for_the_channels: bool = True  # a walker without one of them hands the baton on unclaimed
    claim_asks_for_the_epoch: bool = True  # a forgotten node claims nothing
    claim_asks_for_the_cursor: bool = True  # the cursor stands where the baton says, or the baton is stale
    claim_can_be_repeated: bool = True  # the owner gets its page again, for as long as it has not put it
    claim_leaves_out_what_is_settled: bool = True  # the next owner of a page leaves out who is settled
    # 4. pass, read, put
    read_waits_for_the_claim: bool = True  # the replica that is read already has the claim
    put_asks_for_the_lease: bool = True  # a queue without a lease puts nothing
    put_asks_for_the_mark: bool = True  # a page is put once
    put_is_one_transaction: bool = True  # batches, mark and outbox line: all or none
    put_counts_what_was_settled: bool = True  # the page owes this put and what was settled before
    put_replaces_what_was_skipped: bool = True  # a page that is put again counts anew who is not in the audience
    # 5. ack
    baton_is_acked: bool = True  # a baton that is dealt with leaves the tube
    ack_follows_the_put: bool = True  # and comes no earlier: not after the claim
    # 6. take a batch
    take_asks_for_the_lease: bool = True  # a queue without a lease hands out nothing
    send_asks_for_the_lease: bool = True  # nothing is begun of a batch once the lease under which it was taken is over
    # 7. settle
    settle_asks_for_the_take: bool = True  # (batch, take number) names what is settled; task ids are reused
    settle_is_one_transaction: bool = True  # ack, remainder and outbox line: all or none
    part_leaves_its_batch: bool = True  # who is settled in a part leaves the batch, which stays taken
    part_is_settled_once: bool = True  # a part that is repeated after a lost answer is known by the batch's size
    settled_is_kept_by_id: bool = True  # not as a range, which covers ids of other batches too
    remainders_end: bool = True  # at the last attempt, and when the news expires
    # 8. outbox
    lines_are_numbered: bool = True  # the ledger takes each line once
    lines_carry_their_epoch: bool = True  # read with their epoch, reported and trimmed in that epoch only
    report_asks_for_the_epoch: bool = True  # a fenced node reports nothing
    lines_come_from_the_owner: bool = True  # the ledger takes no line from anybody else
    # 9. forget
    lease_is_waited_for: bool = True  # pages turn open when the forgotten queue's lease has run out, not before
    lease_counts_from_the_question: bool = True  # not from the store's answer, which may be late
    reports_are_refused_first: bool = True  # before the first of the forgotten owner's pages turns open
    forgotten_pages_turn_open: bool = True
    # 10. shepherd
    shepherd_looks_at_cursors: bool = True
    shepherd_looks_at_open_pages: bool = True
    shepherd_looks_at_own_pages: bool = True
    # 11. done
    done_waits_for_the_cursor: bool = True  # every segment is walked to its end
    done_waits_for_the_put: bool = True  # every page that was claimed is put
    done_waits_for_the_settlements: bool = True  # every page that was put is settled
    marks_outlive_the_leases: bool = True  # a mark stays while anybody may still put its page
    # 12. pause
    pausing_stops_claims: bool = True
    pausing_stops_takes: bool = True
    paused_waits_for_quiet: bool = True  # no worker has a batch in hand
    paused_waits_for_the_outboxes: bool = True  # every line has reached the ledger
    resume_asks_whether_done: bool = True

    # 13. correct
    correct_waits_for_paused: bool = True  # the texts change when nothing old is under way
    texts_come_with_the_lease: bool = True  # a batch goes out with the texts of the lease under which it was taken
    second_walk_goes_to_the_settled: bool = True  # and to nobody else: the others get the new texts from their tubes
    lines_carry_their_texts: bool = True  # what was sent with the old texts and is reported late is corrected, too


ALL = Clauses()
