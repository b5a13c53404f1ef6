"""The fields of a channel's ``credentials`` table for Web Push, and the push services of today's browsers."""

from __future__ import annotations

from transports.contract import CredentialField

KEY = CredentialField(
    "vapid_key",
    "the file of the site's VAPID private key, a PEM file of P-256 (docs/webpush.md says how to make one)",
    file=True,
)
SUBJECT = CredentialField(
    "subject",
    "whom a push service may write to about the pushes: mailto: and an address, or an https:// page",
    pattern=r"mailto:[^\s<>@]+@[^\s<>@]+\.[^\s<>@.]+|https://[^\s<>]+",
    form="an address like mailto:push@example.com (no blanks) or a page like https://example.com/contact",
)
PUSH_SERVICES = (
    "fcm.googleapis.com",
    "updates.push.services.mozilla.com",
    "*.notify.windows.com",
    "web.push.apple.com",
)
"""Hosts of Chrome and its relatives, Firefox, Edge and Safari."""
