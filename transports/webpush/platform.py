"""Web Push, as its entry point describes it."""

from __future__ import annotations

from transports.contract import Platform, Transport, TransportSettings
from transports.webpush import fields, options, tokens


def build(settings: TransportSettings) -> Transport:
    """Build a channel's transport. Raises ``CredentialsError`` naming the field and the remedy."""
    # imported here: recognising subscriptions (as the import does) needs neither HTTP/2 nor keys
    from transports.webpush import transport

    return transport.build(settings)


PLATFORM = Platform(
    provider="the browsers' push services",
    service="Web Push",
    app="the site's address, as in https://www.example.com",
    credentials=((fields.KEY, fields.SUBJECT),),
    environments={},
    sample=tokens.sample,
    build=build,
    kinds=tokens.KINDS,
    token=tokens.token,
    tokens=tokens.tokens,
    options=options.read,
    sleeps=True,
    keys=frozenset({"push_services"}),
    weight=6.0,  # an estimate: docs/adr/0053
    device="browser",
)
