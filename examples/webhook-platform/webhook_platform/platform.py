"""The webhook platform, as its entry point describes it: a POST of JSON for each person, to an address of your own."""

from __future__ import annotations

from collections.abc import Mapping

from transports.contract import CredentialField, Platform, Transport, TransportSettings
from transports.device_tokens import OpaqueTokens
from transports.errors import PayloadError


class Addresses(OpaqueTokens):
    """What the receiver knows people by: e-mail addresses, say."""

    SHORTEST = 3


ADDRESSES = Addresses("the webhook", "@._+-")
SECRET = CredentialField("secret", "a file with the secret that the receiver asks for", file=True)
PATH = CredentialField("path", "the webhook's path", required=False, pattern=r"/[!-~]*", form="a path, as in /push")


def options(given: Mapping[str, object]) -> None:
    """Raise ``PayloadError``: the webhook has no options."""
    if given:
        raise PayloadError(f"message.options.webhook.{min(given)}: unknown, for a webhook has no options; remove it")


def build(settings: TransportSettings) -> Transport:
    """Build a channel's transport. Every command reads the description, so the code for sending is imported here."""
    from webhook_platform import transport

    return transport.build(settings)


PLATFORM = Platform(
    provider="the webhook's receiver",
    service="the webhook",
    app="the app's name, for the receiver",
    credentials=((SECRET, PATH),),
    environments={},
    sample=lambda digits: f"{digits}@example.invalid",
    build=build,
    kinds=("token",),
    token=ADDRESSES.token,
    tokens=ADDRESSES.tokens,
    options=options,
    distinct=False,
    sleeps=True,
    protocols=("h2", "http/1.1"),
)
