"""Reads the entries of a channel's ``credentials`` table, for every platform in the same words."""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from transports import foreign
from transports.contract import CredentialField
from transports.errors import CredentialsError

_SECRET = re.compile(rb"[!-~]{8,4096}")


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


def read_secret(field: CredentialField, name: str, what: str) -> bytes:
    """The text of a file that holds a secret alone, in one line. ``what`` it should be, for the error."""
    text = read_file(field, name).strip()
    if not _SECRET.fullmatch(text):
        remedy = f"put the {what} alone into it, in one line, as the console shows it"
        raise CredentialsError(f'credentials.{field.name}: "{name}" holds no {what}; {remedy}')
    return text


class KeyFile:
    """A JSON file with an RSA key and what belongs to it, as providers' consoles give it out."""

    def __init__(self, field: CredentialField, name: str) -> None:
        """Read the file ``name``. Raises ``CredentialsError``, as the other methods."""
        self._where, self._name = f"credentials.{field.name}", name
        try:
            self.raw = msgspec.json.decode(read_file(field, name), type=dict[str, object])
        except foreign.UNREADABLE:
            raise self.mistake("is not a JSON object") from None

    def mistake(self, what: str, remedy: str = "download it again") -> CredentialsError:
        """The error about this file."""
        return CredentialsError(f'{self._where}: "{self._name}" {what}; {remedy}')

    def text(self, key: str) -> str:
        """The text of an entry, which must not be empty."""
        value = self.raw.get(key)
        if not isinstance(value, str) or not value:
            raise self.mistake(f"has no {key}")
        return value

    def rsa_key(self) -> rsa.RSAPrivateKey:
        """The entry ``private_key``."""
        try:
            # out of an environment variable or a template it often comes with its line ends escaped twice
            key = load_pem_private_key(self.text("private_key").replace("\\n", "\n").encode(), password=None)
        except (ValueError, TypeError):
            raise self._key_mistake("is not a PEM key") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise self._key_mistake("is not an RSA key")
        return key

    def _key_mistake(self, what: str) -> CredentialsError:
        return CredentialsError(f'{self._where}: private_key of "{self._name}" {what}; download it again')
