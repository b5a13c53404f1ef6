"""The TLS settings of every connection to a provider."""

from __future__ import annotations

import platform
import ssl
from collections.abc import Sequence
from pathlib import Path

import certifi
import truststore

from transports.errors import CredentialsError


def client_context(
    ca: Path | None, alpn: Sequence[str] = (), certificate: tuple[Path, Path] | None = None
) -> ssl.SSLContext:
    """A verifying client context, TLS 1.2 or later, that offers the protocols ``alpn`` (RFC 7301).

    ``ca`` is a PEM file that replaces the system's trust store. ``certificate``: PEM files of a client certificate and
    of its key, which is not encrypted. Raises ``CredentialsError`` if one of them cannot be read.
    Providers' certificates are never pinned: Apple changed its root in 2025.
    """
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cafile=ca)
        except FileNotFoundError:
            raise CredentialsError(f'ca: file "{ca}" not found; name the PEM file of the authority') from None
        except (OSError, ssl.SSLError) as error:
            raise CredentialsError(f'ca: "{ca}" is not a readable PEM certificate ({error})') from None
    elif _system_has_authorities():
        context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        context = ssl.create_default_context(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if certificate is not None:
        try:
            context.load_cert_chain(*certificate)
        except (OSError, ssl.SSLError) as error:
            raise CredentialsError(f'certificate: "{certificate[0]}" cannot be used ({error})') from None
    return context


def _system_has_authorities() -> bool:
    # A bare container has no ca-certificates: an empty store would refuse every provider.
    if platform.system() in ("Windows", "Darwin"):
        return True
    paths = ssl.get_default_verify_paths()
    # Both are None where the path does not exist, whatever their types say.
    return bool(paths.cafile) or (bool(paths.capath) and any(Path(paths.capath).glob("[0-9a-f]*.[0-9]")))
