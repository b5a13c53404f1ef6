"""C3: why channels stand still, from each node's heartbeat to whoever asks the store."""

from __future__ import annotations

from campaigns.channel_state import LONGEST, MOST, ChannelState, worst
from storage.link import Link
from storage.store import Store
from tests.storage.test_walk_verbs import NOW


def state(channel: str, reason: str = "breaker", since: int = NOW, **more: str) -> ChannelState:
    return ChannelState(channel=channel, reason=reason, sentence="Apple refuses the key.", since=since, **more)


async def joined(store: Store, name: str) -> int:
    epoch = await store.node_join(name, f"uuid-{name}", 0, NOW, ["ios"])
    assert epoch is not None
    return epoch


async def test_any_node_knows_why_the_channels_of_all_nodes_stand_still(own_link: Link) -> None:
    """C3: a provider out of reach was written in the log of its node and nowhere else."""
    store = Store(own_link)
    one, two = await joined(store, "n1"), await joined(store, "n2")
    away = ChannelState(
        channel="ios", reason="unreachable", sentence="no route", since=NOW - 5, until=NOW + 9, remedy="look"
    )
    await store.node_renew("n1", one, NOW, [], [away, state("android")])
    await store.node_renew("n2", two, NOW, [], [state("ios")])
    found = sorted(await store.channel_states(), key=lambda each: (each.node, each.channel))
    assert [(each.node, each.channel, each.reason) for each in found] == [
        ("n1", "android", "breaker"),
        ("n1", "ios", "unreachable"),
        ("n2", "ios", "breaker"),
    ]
    assert (found[1].sentence, found[1].since, found[1].until, found[1].remedy) == (
        "no route",
        NOW - 5,
        NOW + 9,
        "look",
    )
    assert found[0].until is None
    await store.node_renew("n1", one, NOW, [], [])
    assert {each.node for each in await store.channel_states()} == {"n2"}, "what is not reported again is over"


async def test_a_node_that_is_forgotten_or_refused_leaves_no_state_behind(own_link: Link) -> None:
    store = Store(own_link)
    epoch = await joined(store, "n1")
    assert await store.node_renew("n1", epoch + 1, NOW, [], [state("ios")]) is None
    assert await store.channel_states() == []
    await store.node_renew("n1", epoch, NOW, [], [state("ios")])
    await store.node_forget("n1")
    assert await store.channel_states() == []


async def test_what_a_node_may_report_is_bounded(own_link: Link) -> None:
    store = Store(own_link)
    epoch = await joined(store, "n1")
    long = [state(f"c{n}", remedy="ä" * 9000) for n in range(MOST + 50)]
    await store.node_renew("n1", epoch, NOW, [], long)
    found = await store.channel_states()
    assert len(found) == MOST
    assert {len(each.remedy) for each in found} == {LONGEST}
    # and the store trusts no node to keep the bounds itself
    told = {f"c{n}": ["x" * 9000, "ä" * 9000, NOW, None, ""] for n in range(MOST + 50)}
    await own_link.call("store", "store.node_renew", "n1", epoch, NOW, [], told)
    found = await store.channel_states()
    assert len(found) == MOST
    assert {(len(each.reason), len(each.sentence)) for each in found} == {(LONGEST, LONGEST)}


def test_of_several_reasons_the_worst_is_told_and_of_one_reason_the_oldest() -> None:
    chosen = worst(
        [
            state("ios", "limiter", NOW - 9),
            state("ios", "breaker", NOW),
            state("ios", "breaker", NOW - 1),
            state("android", "a word of tomorrow", NOW),
        ]
    )
    assert {name: (each.reason, each.since) for name, each in chosen.items()} == {
        "ios": ("breaker", NOW - 1),
        "android": ("a word of tomorrow", NOW),
    }
