"""Where a provider listens, as the configuration writes it and as HTTP/2 does."""

from __future__ import annotations

import pytest

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
