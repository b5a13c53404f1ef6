"""The fields of a channel's ``credentials`` table for RuStore, and its origin."""

from __future__ import annotations

from transports.contract import CredentialField

SERVICE_TOKEN = CredentialField(
    "service_token",
    "a file with the service token: in the RuStore console, the app's Push notifications, Projects",
    file=True,
)
ORIGIN = "https://vkpns.rustore.ru"
