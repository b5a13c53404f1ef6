"""The fields of a channel's ``credentials`` table for Apple, and the environments that it may name."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from transports.contract import DELIVERY_EXPIRES, DELIVERY_ORIGIN, CredentialField

_identifier = partial(CredentialField, pattern=r"[A-Za-z0-9]{10}", form="10 letters and digits")

TEAM = _identifier("team_id", "your team's 10 characters, under Membership at developer.apple.com")
SIGNING_KEY = (
    CredentialField("key", "the AuthKey_….p8 file from developer.apple.com", file=True),
    _identifier("key_id", "the key's 10 characters, shown beside it at developer.apple.com"),
    TEAM,
)
CERTIFICATE = (
    CredentialField(
        "certificate",
        "the PEM file with the push certificate, and its key if certificate_key is not given",
        file=True,
        public_beside="certificate_key",
    ),
    CredentialField("certificate_key", "the PEM file with the certificate's key", required=False, file=True),
)
ENVIRONMENTS = {
    "production": "https://api.push.apple.com:443",
    "sandbox": "https://api.sandbox.push.apple.com:443",
}
EXPORT_TOKEN = CredentialField("token", "a file with the data export token from the CloudKit console", file=True)
DELIVERY = (EXPORT_TOKEN, replace(TEAM, required=False), DELIVERY_EXPIRES, DELIVERY_ORIGIN)
"""The entries of a channel's ``delivery`` table. Without a team there, it is that of the credentials."""
MANAGEMENT = {
    "production": "https://api-manage-broadcast.push.apple.com:2196",
    "sandbox": "https://api-manage-broadcast.sandbox.push.apple.com:2195",
}
"""Where broadcast channels are made and deleted. Broadcasts themselves go where pushes go."""
