"""Answers that no provider documents: status, headers and body are random, to prove that a client can read anything.

They keep to HTTP itself (RFC 9113): a whole header block with a final status, field names in lower case, a body that
ends. Frames that break the protocol are made in :mod:`simulators.faults.forgery`.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Literal

from simulators.answers import STATUS, TwinAnswer
from simulators.http2.header_compression import Field

Dialect = Literal["apns", "fcm", "huawei"]
DEPTH: Final = 3_000
"""Depth of a nested value."""
LARGEST: Final = 1_000_000
"""About the size of the largest body, bytes."""
_RETRY_AFTER: Final = (
    "0", "1", "86400", "999999999999999999999", "9" * 4_000, "-1", "1.5", "NaN", "1e9", "soon", "", "\u0663",
    "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Mon, 32 Foo 2026 25:61:61 GMT",
)  # fmt: skip
_TYPES: Final = ("application/json", "text/html; charset=utf-16", "application/json; charset=latin1", "/", "x" * 300)
_NUMBERS: Final = (
    "0", "-1", "-0.0", "1.5", "1e400", "-1e400", "1e-400", "2147483648", "9007199254740993", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "18446744073709551616", "1" + "0" * 30, "9" * 5_000, "NaN",
)  # fmt: skip
_TYPE: Final = "type.googleapis.com/google."
_DETAILS: Final = (
    ("firebase.fcm.v1.FcmError", "errorCode"), ("firebase.fcm.v1.ApnsError", "reason"), ("rpc.ErrorInfo", "reason"),
    ("rpc.BadRequest", "fieldViolations"), ("rpc.QuotaFailure", "violations"), ("nobody.Knows", "this"),
)  # fmt: skip


class Anything:
    """Draws answers. The same seed, token and number of the request give the same answer."""

    def __init__(self, dialect: Dialect, reasons: Mapping[str, int], seed: int) -> None:
        """``reasons``: the provider's own reasons and their statuses, which are drawn among others."""
        self._dialect = dialect
        self._reasons = reasons
        self._seed = seed
        self._asked: Counter[str] = Counter()

    def draw(self, token: str, status: int | None = None) -> tuple[int, TwinAnswer]:
        """Return the status and the answer to the next request for ``token``; a ``status`` given is not drawn."""
        self._asked[token] += 1
        key = f"{self._seed}:{self._asked[token]}:{token}".encode()
        digest = hashlib.blake2b(key, digest_size=16).digest()
        chance = random.Random(digest)  # noqa: S311 - odd answers, not secrets
        draws = _Draws(chance, digest.hex(), tuple(self._reasons))
        if status is None:
            status = draws.status(sorted({200, *self._reasons.values()}))
        return status, TwinAnswer((STATUS[status], *draws.fields()), draws.body(self._dialect))


class _Draws:
    """Draws the parts of one answer."""

    def __init__(self, chance: random.Random, unique: str, reasons: tuple[str, ...]) -> None:
        """``unique``: a text that no other answer has."""
        self._chance = chance
        self._unique = unique
        self._reasons = reasons

    def status(self, documented: list[int]) -> int:
        """A final status: documented, or any (RFC 9110 §15: three digits)."""
        chance = self._chance
        return chance.choice(documented) if chance.random() < 0.7 else chance.randrange(200, 1000)

    def fields(self) -> list[Field]:
        """Fields that belong in no answer, some of them repeated; never more than 12 KB in all."""
        chance = self._chance
        fields: list[Field] = []
        if chance.random() < 0.8:
            fields.append((b"content-type", chance.choice(_TYPES).encode()))
        if chance.random() < 0.3:
            fields.append((b"retry-after", chance.choice(_RETRY_AFTER).encode()))
        if chance.random() < 0.1:
            fields.append((b"content-encoding", chance.choice((b"gzip", b"br", b"identity, gzip"))))
        if chance.random() < 0.1:
            fields += [(b"x-odd", chance.randbytes(40).translate(_VISIBLE))] * 3
        if chance.random() < 0.05:
            fields.append((b"x-long", b"y" * 4_000))
        if chance.random() < 0.05:
            fields += [(b"x-%d" % n, b"z") for n in range(100)]
        return fields

    def body(self, dialect: Dialect) -> bytes:
        """An error in the provider's form with odd values in it, or something else; in any encoding; or damaged."""
        chance = self._chance
        if chance.random() < 0.15:
            text = chance.choice(("", " ", "null", "[]", '"', "<html>" + self._unique, self._nested(), self._number()))
        else:
            text = {"apns": self._apns, "fcm": self._fcm, "huawei": self._huawei}[dialect]()
        if chance.random() < 0.01:
            text += " " * chance.randrange(LARGEST)
        body = text.encode()
        if chance.random() < 0.75:
            return body
        damages: tuple[Callable[[], bytes], ...] = (
            lambda: text.encode("latin-1", "replace"),
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-16-le"),
            lambda: text.encode("utf-8-sig"),
            lambda: body[: chance.randrange(len(body) + 1)],
            lambda: body.replace(b":", b":\0"),
            lambda: b"\x1f\x8b\x08\0" + chance.randbytes(30),
            lambda: chance.randbytes(chance.randrange(2_000)),
        )
        return chance.choice(damages)()

    def _apns(self) -> str:
        members = [f'"reason":{self._value()}']
        if self._chance.random() < 0.7:
            members.append(f'"timestamp":{self._number() if self._chance.random() < 0.8 else self._value()}')
        return self._object(members)

    def _fcm(self) -> str:
        members = [f'"code":{self._number()}', f'"message":{self._text()}', f'"status":{self._value()}']
        if self._chance.random() < 0.8:
            kinds = self._chance.choices(_DETAILS, k=self._chance.choice((1, 1, 1, 1, 1, 1, 1, 2, 2, 30)))
            details = [f'{{"@type":"{_TYPE}{kind}","{name}":{self._value()}}}' for kind, name in kinds]
            members.append(f'"details":[{",".join(details)}]')
        return f'{{"error":{self._object(members)}}}'

    def _huawei(self) -> str:
        listed = self._chance.choice(
            ('"x"', f'{{"illegal_tokens":[{self._value()}]}}', f'{{"illegalTokens":{self._value()}}}')
        )
        said = self._value() if self._chance.random() < 0.5 else json.dumps(listed)
        return self._object([f'"code":{self._value()}', f'"msg":{said}', f'"requestId":{self._text()}'])

    def _object(self, members: list[str]) -> str:
        if self._chance.random() < 0.1:  # a member twice, or none
            members = self._chance.choices(members, k=self._chance.randrange(4))
        self._chance.shuffle(members)
        return f"{{{','.join(members)}}}"

    def _value(self) -> str:
        """One JSON value: most often a text."""
        drawn = self._chance.random()
        if drawn < 0.75:
            return self._text()
        if drawn < 0.85:
            return self._number()
        if drawn < 0.9:
            return self._nested()
        return self._chance.choice(("null", "true", "{}", "[]", '[{"field":null}]', f'[{{"field":{self._text()}}}]'))

    def _text(self) -> str:
        chance = self._chance
        if chance.random() < 0.4:
            return json.dumps(chance.choice(self._reasons))
        text = chance.choice(
            (
                f"request {self._unique}",
                f"{self._unique}\u00fc\u20ac\U0001f4a5",
                f"\x1b[31m\u202e\r\n\0{self._unique}",
                f"{self._unique} " * chance.choice((1, 10, 500)),
                "",
                "%s{0}$(reboot)'\"\\",
            )
        )
        if chance.random() < 0.1:
            return f'"{self._unique}\\ud800"'  # half of a surrogate pair: valid JSON, but not a text
        if chance.random() < 0.005:
            text *= LARGEST // (len(text) + 1)
        return json.dumps(text, ensure_ascii=chance.random() < 0.5)

    def _number(self) -> str:
        return self._chance.choice(_NUMBERS if self._chance.random() < 0.5 else ("0", "400", "1795465790321"))

    def _nested(self) -> str:
        head, tail = self._chance.choice((("[", "]"), ('{"a":', "}"), ('{"error":', "}"), ("[", "")))
        return head * DEPTH + "1" + tail * DEPTH


_VISIBLE: Final = bytes(octet if octet >= 0x80 or 0x21 <= octet <= 0x7E else 0x2A for octet in range(256))
"""RFC 9110 §5.5: visible octets and obs-text are legal in a field's value; the others become asterisks."""
