"""Reads the entries of a channel's ``credentials`` table, for every platform in the same words."""

from __future__ import annotations

import codecs
from collections.abc import Mapping, Sequence
from pathlib import Path

from transports.contract import CredentialField
from transports.errors import CredentialsError


def take(credentials: Mapping[str, str], fields: Sequence[CredentialField], service: str, *others: str) -> list[str]:
    """The values of a set of fields, in its order; an optional field that is not given is empty.

    ``service``: the provider's service, for the error; ``others``: entries that are read elsewhere. Raises
    ``CredentialsError`` for an entry that is unknown, missing or malformed.
    """
    known = [*(field.name for field in fields), *others]
    unknown = sorted(set(credentials).difference(known))
    if unknown:
        raise CredentialsError(f"credentials.{unknown[0]}: unknown; {service} takes {', '.join(known)}")
    values = [credentials.get(field.name, "") for field in fields]
    for field, value in zip(fields, values, strict=True):
        if not value and field.required:
            raise CredentialsError(f"credentials.{field.name}: missing; it is {field.meaning}")
        if value and not field.fits(value):
            raise CredentialsError(f'credentials.{field.name}: "{value}" is not {field.form}; it is {field.meaning}')
    return values


def read_file(field: CredentialField, name: str) -> bytes:
    """The content of the file that an entry names, without the byte-order mark that some editors write.

    Raises ``CredentialsError`` if it cannot be read.
    """
    try:
        return Path(name).read_bytes().removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError:
        raise CredentialsError(f'credentials.{field.name}: file "{name}" not found; it is {field.meaning}') from None
    except OSError as error:
        raise CredentialsError(f'credentials.{field.name}: "{name}" cannot be read ({error.strerror})') from None
