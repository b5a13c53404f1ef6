"""The editions of a campaign's message on one platform: each text is rendered once, at its first recipient.

A campaign with one text costs what it cost before there were several: its only edition is rendered once. With several
texts a recipient costs one look-up by locale, and with personal fields the filling of the gaps. What differs between a
campaign's batches (how long a push may be kept) is filled in once a batch and text.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from campaigns import personal, text_choice
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.personal import Blanks
from campaigns.receipt import KEY
from campaigns.recipient import PersonalRecipient, Recipient
from campaigns.text_choice import DEFAULT
from transports.contract import Exceptional
from transports.errors import PayloadError

T = TypeVar("T")

_MOST = 2_000
"""Locales that are remembered: more than there are, so that odd ones cannot make the cache a leak."""
_MESSAGES = 16
"""Messages whose editions are kept: breaking news overtakes a digest, and either is shown awake or asleep."""


def _as_it_is(content: bytes) -> bytes:
    return content


class Edition(NamedTuple, Generic[T]):
    """One text of a message, rendered."""

    made: T
    """What the platform's ``render`` made of it."""
    blanks: Blanks | None
    """Its content with gaps for the personal fields; None: it has none, and is the same for everybody."""


class Contents(NamedTuple):
    """What a batch's recipients get."""

    keys: list[int]
    """Positions of the recipients that get something …"""
    bodies: list[bytes]
    """… and each one's JSON."""
    rejected: list[Exceptional]


class Editions(Generic[T]):
    """A message in all its texts for one platform.

    ``render`` makes one from a message of one text (raises ``PayloadError``), and ``content`` returns its JSON.
    """

    def __init__(
        self, message: Message, platform: str, render: Callable[[Message], T], content: Callable[[T], bytes]
    ) -> None:
        self._message = message
        self._platform = platform
        self._render = render
        self._content = content
        self._fields = personal.fields(message)
        self.alike = not self._fields and len(text_choice.locales(message, platform)) == 1
        """Whether all recipients get the same bytes."""
        self._by_locale: dict[str, Edition[T] | PayloadError] = {}
        self._by_text: dict[tuple[str | None, ...], Edition[T] | PayloadError] = {}

    def of(self, locale: str) -> Edition[T]:
        """The edition for a phone with this locale. Raises ``PayloadError`` if the platform cannot carry its text."""
        edition = self._by_locale.get(locale)
        if edition is None:
            edition = self._add(locale)
        if isinstance(edition, PayloadError):
            raise edition
        return edition

    def contents(self, recipients: Sequence[Recipient], fill: Callable[[bytes], bytes] = _as_it_is) -> Contents:
        """Each recipient's own JSON. Recipients whose text the platform cannot carry are rejected; the others are not
        affected: only a node that serves the channel has checked the texts before Fire.

        Those of one text follow each other: a connection writes requests of one size faster. ``fill`` puts into a
        text's JSON, or into a piece of it, what all these recipients have in common.
        """
        by_locale: defaultdict[str, list[int]] = defaultdict(list)
        if self.alike:
            by_locale[DEFAULT] = list(range(len(recipients)))
        else:
            for key, recipient in enumerate(recipients):
                by_locale[recipient.locale].append(key)
        contents = Contents([], [], [])
        for locale, keys in by_locale.items():
            self._add_contents(contents, locale, keys, recipients, fill)
        return contents

    def _add_contents(
        self,
        contents: Contents,
        locale: str,
        keys: list[int],
        recipients: Sequence[Recipient],
        fill: Callable[[bytes], bytes],
    ) -> None:
        """Add what the recipients ``keys``, all with ``locale``, get."""
        edition = self._by_locale.get(locale) or self._add(locale)
        if isinstance(edition, PayloadError):
            contents.rejected.extend(_rejected(key, edition) for key in keys)
            return
        contents.keys.extend(keys)
        if edition.blanks is None:
            contents.bodies.extend([fill(self._content(edition.made))] * len(keys))
        else:
            blanks = edition.blanks._replace(pieces=tuple(map(fill, edition.blanks.pieces)))
            contents.bodies.extend([blanks.filled(_values(recipients[key])) for key in keys])

    def _add(self, locale: str) -> Edition[T] | PayloadError:
        """Render the text of ``locale``, unless another locale has the same one."""
        if len(self._by_locale) >= _MOST:
            self._by_locale.clear()
        wanted = text_choice.in_words(self._message, self._platform, locale)
        text = wanted.title, wanted.body, wanted.url, wanted.image
        edition = self._by_text.get(text)
        if edition is None:
            edition = self._by_text[text] = self._rendered(wanted)
        self._by_locale[locale] = edition
        return edition

    def _rendered(self, wanted: Message) -> Edition[T] | PayloadError:
        try:
            marked = personal.marked(wanted, self._fields) if self._fields else None
            made = self._render(wanted if marked is None else marked.message)
            return Edition(made, None if marked is None else marked.cut(self._content(made)))
        except PayloadError as error:
            return error


class Messages(Generic[T]):
    """The messages that a transport sends just now, in all their texts."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[Message, Editions[T]]] = {}

    def of(self, key: Hashable, message: Message, make: Callable[[], Editions[T]]) -> Editions[T]:
        """The editions of ``message``, made once. ``key``: all but the message that its rendering depends on.

        A message with a phone's own address for a receipt does not drive out the one that all others get.
        """
        key = key, KEY in message.data
        known = self._known.get(key)
        if known is None or known[0] != message:
            while len(self._known) >= _MESSAGES:
                del self._known[next(iter(self._known))]
            known = self._known[key] = message, make()
        return known[1]


def _values(recipient: Recipient) -> tuple[str, ...]:
    return recipient.values if isinstance(recipient, PersonalRecipient) else ()


def _rejected(key: int, error: PayloadError) -> Exceptional:
    return Exceptional(key, Outcome.REJECTED, str(error))


def check(message: Message, platform: str, render: Callable[[Message], object]) -> None:
    """Render every text of a message, each personal field at its longest, and again with its default.

    Raises ``PayloadError``, which names the text that the platform cannot carry.
    """
    for locale, edition in longest(message, platform):
        defaults = personal.with_defaults(text_choice.in_words(message, platform, locale))
        try:
            render(edition)
            if defaults != edition:  # an empty default may leave nothing to read
                render(defaults)
        except PayloadError as error:
            raise _about(error, locale) from None


def longest(message: Message, platform: str) -> Iterator[tuple[str, Message]]:
    """Every text of a message on a platform with its locale, each personal field at its longest."""
    for locale in text_choice.locales(message, platform):
        yield locale, personal.at_longest(text_choice.in_words(message, platform, locale))


def _about(error: PayloadError, locale: str) -> PayloadError:
    """The same error about the text of ``locale``; options and data are the same for all texts."""
    said = str(error)
    if not locale or said.startswith(("message.options", "message.data")) or not said.startswith("message"):
        return error
    return PayloadError(f"message.texts.{locale}" + said.removeprefix("message"))
