"""The watch over refused tokens: which batch is held, when a person is asked, and what may be settled."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from actors.breaker import Breaker, BreakerState
from actors.refusals import ENOUGH, Doubt, Refusals
from campaigns.batch import Batch
from campaigns.message import Message
from campaigns.outcome import Death, Outcome
from campaigns.recipient import Recipient
from transports.contract import Exceptional, Outcomes

NEWS = Message(title="t", body="b")


def batch(size: int, first: int = 0, campaign: int = 1) -> Batch:
    return Batch(campaign, NEWS, 1, 10**15, [Recipient(first + i, "aa", "token", 1, "") for i in range(size)])


def judged(good: int, bad: int, death: Death | None = Death.DOUBTFUL) -> Outcomes:
    """Of a batch the first ``bad`` are refused."""
    return Outcomes(good, [Exceptional(i, Outcome.REJECTED, "BadDeviceToken", death=death) for i in range(bad)])


class Ledger:
    """The dead ledger's word, and what it was asked."""

    def __init__(self, word: str = "stopped") -> None:
        self.word = word
        self.doubts: list[Doubt] = []

    async def __call__(self, doubt: Doubt) -> str:
        await trio.lowlevel.checkpoint()
        self.doubts.append(doubt)
        return self.word


def watch(limit: float = 0.2) -> tuple[Refusals, Breaker, Ledger]:
    breaker = Breaker()
    return Refusals("ios", breaker, limit), breaker, Ledger()


def held(outcomes: Outcomes) -> int:
    return sum(entry.outcome is Outcome.POSTPONED for entry in outcomes.exceptions)


async def test_a_refused_batch_is_held_once_and_then_the_ledger_is_asked(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A1"""
    refusals, _, ledger = watch()
    outcomes = await refusals.weigh(batch(250), judged(0, 250), ledger)
    assert (held(outcomes), outcomes.stop, ledger.doubts) == (250, None, [])
    await trio.sleep(1)
    outcomes = await refusals.weigh(batch(250), judged(0, 250), ledger)
    assert held(outcomes) == 250
    assert outcomes.stop is not None
    assert "BadDeviceToken" in outcomes.stop
    assert "dead confirm or dead keep ios" in outcomes.stop
    assert ledger.doubts == [Doubt(1, {"BadDeviceToken": 250}, [0, 1, 2, 3, 4], 0.2)]


async def test_what_no_wrong_key_can_cause_holds_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A2, A3: a provider's certain word, and our own refusals."""
    refusals, _, ledger = watch()
    for death in (Death.CERTAIN, None):
        for _ in range(5):
            outcomes = await refusals.weigh(batch(500), judged(0, 500, death), ledger)
            assert (held(outcomes), outcomes.stop) == (0, None)
            await trio.sleep(1)
    assert ledger.doubts == []


async def test_deliveries_prove_the_key(autojump_clock: trio.testing.MockClock) -> None:
    """S4: while some of the campaign arrive, what is refused is settled, whole batches too."""
    refusals, _, ledger = watch()
    await refusals.weigh(batch(500), judged(500, 0), ledger)
    outcomes = await refusals.weigh(batch(500, 500), judged(0, 500), ledger)
    assert (held(outcomes), outcomes.stop) == (0, None)
    assert {entry.death for entry in outcomes.exceptions} == {Death.DOUBTFUL}


async def test_a_few_deliveries_among_very_many_refusals_prove_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A1: phones of the testers get it, all the others are of the other environment."""
    refusals, _, ledger = watch()
    for n in range(5):
        outcomes = await refusals.weigh(batch(500, n * 500), judged(30, 470), ledger)
        assert held(outcomes) == 470
        await trio.sleep(1)
    assert outcomes.stop is not None


@pytest.mark.parametrize("word", ["sound", "few", "confirmed"])
async def test_what_the_ledger_lets_pass_is_settled_as_it_is(autojump_clock: trio.testing.MockClock, word: str) -> None:
    """A1"""
    refusals, _, ledger = watch()
    ledger.word = word
    await refusals.weigh(batch(15), judged(0, 15), ledger)
    await trio.sleep(1)
    outcomes = await refusals.weigh(batch(15), judged(0, 15), ledger)
    assert (held(outcomes), outcomes.stop) == (0, None)
    assert len(ledger.doubts) == 1


async def test_while_the_ledger_is_away_nobody_is_settled_and_nothing_stops(
    autojump_clock: trio.testing.MockClock,
) -> None:
    refusals, _, ledger = watch()
    ledger.word = ""
    for _ in range(5):
        outcomes = await refusals.weigh(batch(250), judged(0, 250), ledger)
        assert (held(outcomes), outcomes.stop) == (250, None)
        await trio.sleep(1)


async def stopped() -> tuple[Refusals, Breaker, Ledger]:
    """A channel that was stopped over one batch of 100."""
    refusals, breaker, ledger = watch()
    await refusals.weigh(batch(100), judged(0, 100), ledger)
    await trio.sleep(1)
    outcomes = await refusals.weigh(batch(100), judged(0, 100), ledger)
    assert outcomes.stop is not None
    breaker.open(outcomes.stop, trio.current_time())
    return refusals, breaker, ledger


async def test_a_channel_that_waits_for_a_person_says_so(autojump_clock: trio.testing.MockClock) -> None:
    """C3"""
    refusals, breaker, _ = await stopped()
    assert refusals.asking
    refusals.hear({1: "denied"})
    breaker.success()
    assert not refusals.asking
    breaker.open("Apple refuses the key", 0.0)
    assert not refusals.asking


async def test_a_stopped_channels_probe_is_a_batch_of_which_nothing_was_refused(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """S4"""
    refusals, breaker, _ = await stopped()
    await trio.sleep(1)
    breaker.probe(trio.current_time())
    assert refusals.spares(batch(10, 95)), "five of these ten were refused before"
    assert 0 < breaker.retry_in(trio.current_time()) < 1, "another one may be the probe soon"
    assert not refusals.spares(batch(10, 100))
    assert not refusals.spares(batch(10, campaign=2))
    breaker.open("Apple refuses the key", trio.current_time())
    assert not refusals.spares(batch(10)), "this is another fault: any batch shows when it is over"


@pytest.mark.parametrize("state", ["confirmed", "denied", "withdrawn"])
async def test_an_answer_is_taken_up_at_once(autojump_clock: trio.testing.MockClock, state: str) -> None:
    """A2: without a restart."""
    refusals, breaker, ledger = await stopped()
    refusals.hear({1: "stopped"})
    assert breaker.retry_in(trio.current_time()) > 0
    refusals.hear({} if state == "withdrawn" else {1: state})
    assert breaker.retry_in(trio.current_time()) == 0
    assert not refusals.spares(batch(100))
    ledger.word = state
    outcomes = await refusals.weigh(batch(100), judged(0, 100), ledger)
    assert held(outcomes) == (0 if state == "confirmed" else 100)


async def test_another_nodes_question_stops_this_workers_channel_too(autojump_clock: trio.testing.MockClock) -> None:
    """A1"""
    refusals, breaker, ledger = watch()
    refusals.hear({1: "stopped"})
    assert breaker.state is BreakerState.OPEN
    breaker.success()
    refusals.hear({1: "stopped"})
    assert breaker.state is BreakerState.CLOSED, "heard once"
    # whoever has been refused nothing yet asks at the first refusal
    outcomes = await refusals.weigh(batch(100), judged(0, 100), ledger)
    assert outcomes.stop is not None


async def test_a_worker_that_delivers_is_not_stopped_by_others(autojump_clock: trio.testing.MockClock) -> None:
    """S4"""
    refusals, breaker, ledger = watch()
    await refusals.weigh(batch(500), judged(500, 0), ledger)
    refusals.hear({1: "stopped"})
    assert breaker.state is BreakerState.CLOSED


async def test_another_campaign_is_judged_by_itself(autojump_clock: trio.testing.MockClock) -> None:
    refusals, _, ledger = watch()
    await refusals.weigh(batch(500), judged(500, 0), ledger)
    assert held(await refusals.weigh(batch(500, campaign=2), judged(0, 500), ledger)) == 500


async def test_a_limit_of_one_holds_nothing(autojump_clock: trio.testing.MockClock) -> None:
    refusals, _, ledger = watch(1.0)
    assert held(await refusals.weigh(batch(5_000), judged(0, 5_000), ledger)) == 0


@given(
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 500)), max_size=30),
    st.sampled_from(["sound", "few", "stopped", "confirmed", "denied", ""]),
)
def test_nobody_is_lost_and_a_proven_key_holds_nobody(batches: list[tuple[int, int]], word: str) -> None:
    async def run() -> None:
        refusals, _, ledger = watch()
        ledger.word = word
        delivered = refused = 0
        for n, (good, bad) in enumerate(batches):
            outcomes = await refusals.weigh(batch(good + bad, n * 1000), judged(good, bad), ledger)
            delivered, refused = delivered + good, refused + bad
            assert outcomes.delivered == good
            assert sorted(e.index for e in outcomes.exceptions) == list(range(bad))
            assert held(outcomes) in (0, bad)
            if bad <= 0.2 * (good + bad) or (delivered >= ENOUGH and delivered >= 0.1 * (delivered + refused)):
                assert held(outcomes) == 0
            await trio.sleep(0.5)

    trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_batch_that_straddles_the_mending_ends_nobody(autojump_clock: trio.testing.MockClock) -> None:
    """S4: 62 of 500 were refused before the key was mended, 438 delivered after: a usual share, and all 62 alive."""
    refusals, _, ledger = watch()
    for _ in range(2):
        assert held(await refusals.weigh(batch(250), judged(0, 250), ledger, trio.current_time())) == 250
        await trio.sleep(1)
    began = trio.current_time()
    await trio.sleep(1)
    outcomes = await refusals.weigh(batch(500, 1000), judged(438, 62), ledger, began)
    assert (held(outcomes), outcomes.stop) == (62, None)
    outcomes = await refusals.weigh(batch(500, 2000), judged(490, 10), ledger, began)
    assert held(outcomes) == 10, "it was sent before the key was proved, and is heard of after"
    outcomes = await refusals.weigh(batch(500, 1000), judged(499, 1), ledger, trio.current_time())
    assert held(outcomes) == 0, "refused by a key that is proved"
    assert len(ledger.doubts) == 1


async def test_a_key_that_goes_wrong_in_mid_campaign_is_noticed(autojump_clock: trio.testing.MockClock) -> None:
    """S4: what it delivered before proves nothing for ever."""
    refusals, _, ledger = watch()
    for _ in range(2):
        await refusals.weigh(batch(500), judged(500, 0), ledger, trio.current_time())
    answers = []
    for n in range(30):
        answers.append(held(await refusals.weigh(batch(500, 500 * n), judged(0, 500), ledger, trio.current_time())))
        await trio.sleep(1)
    assert answers[0] == 0
    assert set(answers[20:]) == {500}
    assert ledger.doubts
