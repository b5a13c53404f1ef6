"""Where a provider listens, as the configuration writes it and as HTTP/2 does."""

from __future__ import annotations

import ssl
from typing import Any

import pytest
import trustme

from tests.transports.scripted_peer import Peer
from transports.http2.connection import parse_origin


@pytest.mark.parametrize(
    ("text", "host", "authority"),
    [
        ("https://[::1]:2197", "::1", b"[::1]:2197"),
        ("https://[2001:db8::443]", "2001:db8::443", b"[2001:db8::443]"),
        ("https://[2001:db8::443]:443", "2001:db8::443", b"[2001:db8::443]"),
        ("https://api.push.apple.com", "api.push.apple.com", b"api.push.apple.com"),
        ("https://api.push.apple.com:2197", "api.push.apple.com", b"api.push.apple.com:2197"),
    ],
)
def test_an_ipv6_address_is_in_brackets_in_authority_and_nowhere_else(text: str, host: str, authority: bytes) -> None:
    """E7, S22: `:authority` was ::1:2197, which servers refuse (RFC 3986 §3.2.2)."""
    origin = parse_origin(text)
    assert (origin.host, origin.authority) == (host, authority)


async def test_pushes_reach_a_provider_at_an_ipv6_address(
    start_peer: Any, authority: trustme.CA, make_apns: Any, make_batch: Any, running: Any
) -> None:
    """E7: from the look-up of the address to its certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("::1").configure_cert(context)
    context.set_alpn_protocols(["h2"])
    peer = await start_peer(Peer(host="::1"), context)
    async with running(make_apns(peer)) as transport:
        outcomes = await transport.send(make_batch(3))
    assert outcomes.delivered == 3
    assert {seen.headers[":authority"] for seen in peer.seen} == {f"[::1]:{peer.port}"}
