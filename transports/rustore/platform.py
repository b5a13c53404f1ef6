"""RuStore's push notifications, as their entry point describes them."""

from __future__ import annotations

from transports.contract import Platform, Transport, TransportSettings
from transports.rustore import fields, options, tokens


def build(settings: TransportSettings) -> Transport:
    """Build a channel's transport. Raises ``CredentialsError`` naming the field and the remedy."""
    # imported here: recognising tokens (as the import does) needs neither HTTP nor keys
    from transports.rustore import transport

    return transport.build(settings)


PLATFORM = Platform(
    provider="RuStore",
    service="RuStore push notifications",
    app="the project id",
    credentials=((fields.SERVICE_TOKEN,),),
    environments={"production": fields.ORIGIN},
    sample=lambda digits: digits,
    build=build,
    kinds=tokens.KINDS,
    token=tokens.TOKENS.token,
    tokens=tokens.TOKENS.tokens,
    options=options.read,
    distinct=False,
    sleeps=True,
    protocols=("h2", "http/1.1"),
    keys=frozenset({"quiet_channel"}),
)
