from __future__ import annotations

import dataclasses
from collections import Counter

from campaigns.outcome import Death, Outcome


async def test_every_recipient_is_pushed_once_with_apples_headers(peer, make_apns, make_batch, running):
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(500))
    assert outcomes.delivered == 500
    assert outcomes.exceptions == []
    assert set(Counter(seen.token for seen in peer.seen).values()) == {1}
    headers = peer.seen[3].headers
    assert headers.pop("authorization").startswith("bearer ey")
    assert headers.pop("content-length") == str(len(peer.seen[3].body))
    assert headers == {
        ":method": "POST",
        ":scheme": "https",
        ":authority": f"localhost:{peer.port}",
        ":path": "/3/device/" + f"{3:064x}",
        "apns-topic": "com.example.news",
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-expiration": "4000000000",
        "apns-collapse-id": "aaaaaaaaaaaah",
        "apns-id": "00000000-0000-0007-0000-0000000003eb",
    }


async def test_a_dry_run_sends_apple_nothing(peer, make_apns, make_batch, running):
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(dataclasses.replace(make_batch(3), validate_only=True))
    assert {(e.outcome, e.reason) for e in outcomes.exceptions} == {
        (Outcome.DROPPED, "Apple has no dry run: only checked here")
    }
    assert (len(outcomes.exceptions), peer.seen) == (3, [])


async def test_a_dead_phone_costs_its_neighbours_nothing(peer, make_apns, make_batch, running, reason):
    peer.answer = lambda seen: (
        reason(410, "Unregistered", timestamp=12_345) if seen.token.endswith("3") else (200, {}, b"")
    )
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(20))
    assert outcomes.delivered == 18
    assert [(e.index, e.outcome, e.unregistered_at, e.death) for e in outcomes.exceptions] == [
        (3, Outcome.DEAD, 12_345, Death.CERTAIN),
        (19, Outcome.DEAD, 12_345, Death.CERTAIN),
    ]


async def test_our_own_objection_to_a_token_says_nothing_of_the_phone(peer, make_apns, make_batch, running):
    """A3"""
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(tokens=["00ab", "not hexadecimal", "00cd"]))
    assert [(e.index, e.outcome, e.death) for e in outcomes.exceptions] == [(1, Outcome.REJECTED, None)]
    assert outcomes.delivered == 2
