"""Apple Push Notification service, as its entry point describes it."""

from __future__ import annotations

from collections.abc import Mapping

from transports.apns import apns_id, fields, options, tokens
from transports.contract import DeliveryReports, DeliverySource, Platform, Transport, TransportSettings


def build(settings: TransportSettings) -> Transport:
    """Build a channel's transport. Raises ``CredentialsError`` naming the field and the remedy."""
    # imported here: recognising tokens (as the import does) needs neither HTTP/2 nor keys
    from transports.apns import transport

    return transport.build(settings)


def build_delivery(settings: TransportSettings, given: Mapping[str, str]) -> DeliverySource:
    """Build the source of Apple's own figures. Raises ``CredentialsError`` naming the field and the remedy."""
    from transports.apns import delivery_metrics

    return delivery_metrics.build(settings, given)


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
    keys=frozenset({"broadcast_origin", "manage_origin"}),
    sleeps=True,
    message_id=apns_id.apns_id,
    delivery=DeliveryReports(fields.DELIVERY, build_delivery, by_campaign=False),
    device="iPhone",
)
