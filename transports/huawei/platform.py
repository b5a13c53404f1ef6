"""Huawei's Push Kit, as its entry point describes it."""

from __future__ import annotations

from transports.contract import Platform, Transport, TransportSettings
from transports.huawei import fields, options, tokens


def build(settings: TransportSettings) -> Transport:
    """Build a channel's transport. Raises ``CredentialsError`` naming the field and the remedy."""
    # imported here: recognising tokens (as the import does) needs neither HTTP nor keys
    from transports.huawei import transport

    return transport.build(settings)


PLATFORM = Platform(
    provider="Huawei",
    service="Huawei Push Kit",
    app="the project id (with api = v1, the app id)",
    credentials=(fields.BY_ACCOUNT, fields.BY_CLIENT),
    environments={"production": fields.ORIGIN},
    sample=lambda digits: digits,
    build=build,
    kinds=tokens.KINDS,
    token=tokens.TOKENS.token,
    tokens=tokens.TOKENS.tokens,
    options=options.read,
    distinct=False,
    sleeps=True,
    protocols=("http/1.1",),
)
