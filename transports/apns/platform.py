"""Apple Push Notification service, as its entry point describes it."""

from __future__ import annotations

from transports.apns import apns_id, fields, options, tokens
from transports.contract import Platform, Transport, TransportSettings


def build(settings: TransportSettings) -> Transport:
    """Build a channel's transport. Raises ``CredentialsError`` naming the field and the remedy."""
    # imported here: recognising tokens (as the import does) needs neither HTTP/2 nor keys
    from transports.apns import transport

    return transport.build(settings)


PLATFORM = Platform(
    provider="Apple",
    service="Apple's push service",
    app="the bundle id",
    credentials=(fields.SIGNING_KEY, fields.CERTIFICATE),
    environments=fields.ENVIRONMENTS,
    sample=str,
    build=build,
    kinds=tokens.KINDS,
    token=tokens.token,
    tokens=tokens.tokens,
    options=options.read,
    sleeps=True,
    message_id=apns_id.apns_id,
    device="iPhone",
)
