"""The fields of a channel's ``credentials`` table for Google, and Google's origin."""

from __future__ import annotations

from transports.contract import CredentialField

SERVICE_ACCOUNT = CredentialField(
    "service_account", "the service account's JSON file from console.firebase.google.com", file=True
)
DEVICES = ("android", "ios", "web")
"""What a registration may belong to: each has a part of its own in a request."""
ORIGIN = "https://fcm.googleapis.com"
