"""Why did this phone not get it: the ledger's answers about single people, against a real Tarantool."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from actors.archivist import LOOK_EVERY, Archivist
from broadside.api.explain_records import Explanation, question
from broadside.api.token_rules import DeviceTokens
from broadside.errors import Conflict
from broadside.newsroom.certificates import signing
from broadside.newsroom.certificates.certificate_desk import CertificateDesk
from broadside.newsroom.explain.explain_desk import ExplainDesk
from campaigns.clock import wall_clock
from campaigns.identity import campaign_text
from campaigns.recipient import pack_recipients, unpack_recipients
from storage.records import KeptAnswer, Remainder, Task, attempt
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, House, house, settlement

__all__ = ["house"]  # a fixture
pytestmark = pytest.mark.tarantool


def desk(house: House, folder: Path | None = None) -> ExplainDesk:
    return ExplainDesk(house.store, {"n1": house.tubes}, DeviceTokens({}), folder, wall_clock)


async def ask(house: House, who: int | str, folder: Path | None = None) -> Explanation:
    found = await desk(house, folder).explain(CAMPAIGN, question(str(who)))
    assert found is not None
    return found.items[0]


def ids(task: Task) -> list[int]:
    return [recipient.id for recipient in unpack_recipients(task.recipients)]


async def walked(house: House) -> dict[str, Task]:
    """A campaign of 40 phones on its tubes, one page, a batch for each channel."""
    await house.subscribers(40)
    await house.fire()
    while await house.walk_page():
        pass
    await house.report()
    return {channel: (await house.batches(channel))[0] for channel in ("ios", "android")}


async def test_each_outcome_is_told_of_whom_it_concerns(house: House) -> None:
    task = (await walked(house))["ios"]
    dead, busy, *rest = ids(task)
    back = [each for each in unpack_recipients(task.recipients) if each.id == busy]
    first = replace(
        settlement(
            task,
            dead=[(dead, f"token-{dead - 1}", NOW, "certain", "Unregistered")],
            remainders=[Remainder(5.0, attempt(2, 0), 1, pack_recipients(back))],
            delivered=len(rest),
            dead_=0,
        ),
        tallies={"delivered": len(rest), "dead": 1, "retried": 1},
        reasons={"Unregistered": 1},
        answers=[KeptAnswer("dead", "Unregistered", 1, [dead]), KeptAnswer("retry", "busy", 1, [busy])],
    )
    assert await house.tubes.settle("ios", [first]) == [True]
    await house.report()
    said = await ask(house, dead)
    assert (said.fate, said.attempts, said.token, said.certain) == ("dead", 1, None, True)
    assert "Unregistered" in said.sentence
    assert said.left_at is not None
    said = await ask(house, busy)
    assert (said.fate, said.attempts, said.answers[0].reason) == ("under_way", 2, "busy")
    assert said.until is not None, "it waits for its next attempt"
    assert (await ask(house, rest[0])).fate == "delivered"
    android = await ask(house, f"token-{0}")
    assert (android.fate, android.attempts, android.batch) == ("under_way", 1, 1), "a worker has it in hand"


async def test_an_ordinary_delivery_leaves_nothing_and_is_recomputed(house: House) -> None:
    tasks = await walked(house)
    for channel, task in tasks.items():
        assert await house.tubes.settle(channel, [settlement(task, delivered=task.size)]) == [True]
    await house.report()
    assert await house.state() == "done"
    assert await house.store.campaign_answers(CAMPAIGN) == []
    said = await ask(house, 7)
    assert (said.fate, said.certain, said.segment, said.page, said.node) == ("delivered", True, 0, 0, "n1")
    assert (await ask(house, 41)).fate == "nobody"


async def test_what_the_ledger_does_not_know_any_more_is_not_certain(house: House) -> None:
    """A settlement that could be written only without its details."""
    tasks = await walked(house)
    task = tasks["ios"]
    poor = replace(settlement(task), tallies={"delivered": task.size - 1, "rejected": 1}, reasons={"x": 1})
    assert await house.tubes.settle("ios", [poor]) == [True]
    await house.tubes.settle("android", [settlement(tasks["android"], delivered=20)])
    await house.report()
    said = await ask(house, ids(task)[0])
    assert (said.fate, said.certain) == ("delivered", False)
    assert any("1 of its page ended as rejected" in note for note in said.notes)


async def test_who_left_who_came_and_who_has_another_token(house: House) -> None:
    await house.subscribers(40)
    assert await house.store.subscribers_remove("ios", "token-3")
    row: tuple[Any, ...] = ("ios", "new-5", "token", NOW, "", "", "", "", "", None, [], {}, "token-5")
    await house.store.subscribers_put([row])
    await house.fire()
    while await house.walk_page():
        pass
    for channel in ("ios", "android"):
        await house.deliver(channel)
    await house.report()
    await house.subscribers(41)
    both = await desk(house).explain(CAMPAIGN, question("token-3"))
    assert both is not None
    told = {each.subscriber: each.fate for each in both.items}
    assert told == {4: "left", 41: "after"}, "it has registered again"
    assert (await ask(house, 4)).fate == "left"
    replaced = await ask(house, "token-5")
    assert (replaced.subscriber, replaced.fate, replaced.token) == (6, "delivered", "new-5…")
    assert replaced.replaced_at is not None
    assert (await ask(house, "token-40")).fate == "after"


async def test_whose_worker_ended_with_the_batch_may_have_it_if_the_campaign_is_cancelled(house: House) -> None:
    tasks = await walked(house)
    assert await house.tubes.batch_release_worker("ios") == 1
    await house.store.campaign_cancel(CAMPAIGN, NOW)
    with trio.fail_after(30):
        while await house.state() != "cancelled":
            await house.tubes.settle("android", [settlement(tasks["android"], delivered=20)])
            await house.report()
            standing = await house.tubes.standing()
            lease = await house.store.node_renew("n1", house.epoch, NOW, standing.still)
            assert lease is not None
            await house.tubes.renew(house.epoch, lease)
    said = await ask(house, ids(tasks["ios"])[0])
    assert (said.fate, said.may_have_it) == ("cancelled", True)
    said = await ask(house, ids(tasks["android"])[0])
    assert (said.fate, said.may_have_it) == ("delivered", False)


async def test_an_archive_answers_as_the_store_did(house: House, tmp_path: Path) -> None:
    tasks = await walked(house)
    first, *rest = ids(tasks["ios"])
    told = replace(
        settlement(tasks["ios"]),
        tallies={"delivered": len(rest), "rejected": 1},
        reasons={"BadTopic": 1},
        answers=[KeptAnswer("rejected", "BadTopic", 1, [first])],
    )
    assert await house.tubes.settle("ios", [told]) == [True]
    await house.tubes.settle("android", [settlement(tasks["android"], delivered=20)])
    await house.report()
    assert await house.state() == "done"
    before = [await ask(house, id) for id in range(1, 42)]
    later = NOW + 90 * 86_400_000 + 1
    archivist = Archivist(node="n1", store=house.store, folder=tmp_path, keep=90 * 86_400_000, clock=lambda: later)
    certificate = await CertificateDesk(house.store, "n1", tmp_path, lambda: NOW).issue(CAMPAIGN)
    with trio.fail_after(60):
        while await archivist.look() < LOOK_EVERY:
            pass
    assert await house.store.campaign_answers(CAMPAIGN) == [], "they have left with the ledger"
    assert [await ask(house, id, tmp_path) for id in range(1, 42)] == before
    assert before[first - 1].fate == "rejected"
    again = await CertificateDesk(house.store, "n1", tmp_path, lambda: NOW).issue(CAMPAIGN)
    assert again == certificate, "the same ranges and totals"
    with pytest.raises(Conflict, match="archive/"):
        await ask(house, 1)


async def test_of_two_keys_proposed_at_once_one_stays_and_signs(house: House) -> None:
    found = []

    async def propose(private: bytes) -> None:
        found.append((await house.store.signing_key(private, NOW)).private)

    async with trio.open_nursery() as nursery:
        for n in range(8):
            nursery.start_soon(propose, bytes([n]) * 32)
    assert len(set(found)) == 1
    desk = CertificateDesk(house.store, "n1", None, lambda: NOW)
    await house.subscribers(4)
    await house.fire()
    with pytest.raises(Conflict, match="is firing"):
        await desk.issue(CAMPAIGN)
    while await house.walk_page():
        pass
    await house.deliver("ios")
    await house.deliver("android")
    await house.report()
    issued = await desk.issue(CAMPAIGN)
    assert issued is not None
    public = signing.read_public((await desk.public()).public.encode())
    assert signing.check(msgspec.json.encode(issued), public) == issued
    assert (issued.campaign, issued.channels["ios"]["delivered"]) == (campaign_text(CAMPAIGN), 2)
    assert sum(each.recipients for each in issued.ranges) == 4
