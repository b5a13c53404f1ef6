"""Firebase Cloud Messaging, as its entry point describes it."""

from __future__ import annotations

from collections.abc import Mapping

from transports.contract import DeliveryReports, DeliverySource, Platform, Transport, TransportSettings
from transports.fcm import fields, options, tokens
from transports.fcm.fields import DEVICES


def build(settings: TransportSettings) -> Transport:
    """Build a channel's transport. Raises ``CredentialsError`` naming the field and the remedy."""
    # imported here: recognising tokens (as the import does) needs neither HTTP/2 nor keys
    from transports.fcm import transport

    return transport.build(settings)


def build_delivery(settings: TransportSettings, given: Mapping[str, str]) -> DeliverySource:
    """Build the source of Google's own figures. Raises ``CredentialsError`` naming the field and the remedy."""
    from transports.fcm import delivery_data

    return delivery_data.build(settings, given)


PLATFORM = Platform(
    provider="Google",
    service="Firebase Cloud Messaging",
    app="the project id",
    credentials=((fields.SERVICE_ACCOUNT,), (fields.WORKLOAD_IDENTITY,), (fields.METADATA_SERVER,)),
    environments={"production": fields.ORIGIN},
    sample=lambda digits: f"{digits[:22]}:APA91b{digits}",
    build=build,
    kinds=tokens.KINDS,
    token=tokens.token,
    tokens=tokens.tokens,
    options=options.read,
    sleeps=True,
    keys=frozenset({"quiet_channel", "android_v2", "collapse_slots", "devices"}),
    devices=DEVICES,
    delivery=DeliveryReports(fields.DELIVERY, build_delivery, by_campaign=True),
)
