"""The fields of a channel's ``credentials`` table for Google, and Google's origin."""

from __future__ import annotations

from transports.contract import CredentialField

SERVICE_ACCOUNT = CredentialField(
    "service_account", "the service account's JSON file from console.firebase.google.com", file=True
)
ORIGIN = "https://fcm.googleapis.com"
