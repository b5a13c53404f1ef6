"""RuStore's service token, which does not change."""

from __future__ import annotations

from collections.abc import Mapping

from transports import credential_entries
from transports.rustore.fields import SERVICE_TOKEN


def load(credentials: Mapping[str, str]) -> bytes:
    """Read the file named by ``service_token``. Raises ``CredentialsError`` naming the field and the remedy."""
    (name,) = credential_entries.take(credentials, [SERVICE_TOKEN], "RuStore")
    return credential_entries.read_secret(SERVICE_TOKEN, name, "service token")
