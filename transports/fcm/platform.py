"""Firebase Cloud Messaging, as its entry point describes it."""

from __future__ import annotations

from transports.contract import Platform, Transport, TransportSettings
from transports.fcm import fields, options, tokens
from transports.fcm.fields import DEVICES


def build(settings: TransportSettings) -> Transport:
    """Build a channel's transport. Raises ``CredentialsError`` naming the field and the remedy."""
    # imported here: recognising tokens (as the import does) needs neither HTTP/2 nor keys
    from transports.fcm import transport

    return transport.build(settings)


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
)
