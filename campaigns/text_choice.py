"""Chooses a campaign's text for a phone: by its locale and its platform, with fallback ``pt-BR → pt → default``.

Title and body come from the same text, so that no push mixes languages: a text without a body shows none, although
the default text has one. Link and picture are of no language: each comes from the first text that has one.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from campaigns.message import Message, PlatformText, Text

DEFAULT = ""
"""The locale of the default text, and of a phone that names no language."""


def locales(message: Message, platform: str) -> list[str]:
    """The locales for which a platform has texts of their own, the default one first."""
    own = message.platforms.get(platform, _NOTHING)
    return [DEFAULT, *sorted({*message.texts, *own.texts})]


def fallback(locale: str) -> Iterator[str]:
    """A locale's texts from the closest to the widest: ``zh-Hant-TW``, ``zh-Hant``, ``zh``, the default."""
    while locale:
        yield locale
        locale = locale.rpartition("-")[0]
    yield DEFAULT


def text_of(message: Message, platform: str, locale: str) -> str:
    """The locale of the text whose words a phone with ``locale`` gets."""
    return next((each for each in fallback(locale) if _has_words(message, platform, each)), DEFAULT)


def in_words(message: Message, platform: str, locale: str) -> Message:
    """The message as a phone with ``locale`` on ``platform`` gets it, with only one text."""
    if not message.texts and not message.platforms:
        return message
    words = text_of(message, platform, locale)
    url: str | None = None
    image: str | None = None
    for each in fallback(locale):
        for text in _texts(message, platform, each):
            url = text.url if url is None else url
            image = text.image if image is None else image
    title, body = _words(message, platform, words)
    return replace(message, title=title, body=body, url=url, image=image, texts={}, platforms={})


_NOTHING = PlatformText()


def _texts(message: Message, platform: str, locale: str) -> list[Text]:
    """What is written for one locale: the platform's own text, then the text for all platforms."""
    own = message.platforms.get(platform, _NOTHING)
    if locale == DEFAULT:
        return [own, Text(title=message.title, body=message.body, url=message.url, image=message.image)]
    return [text for text in (own.texts.get(locale), message.texts.get(locale)) if text is not None]


def _words(message: Message, platform: str, locale: str) -> tuple[str, str]:
    written = _texts(message, platform, locale)
    title = next((text.title for text in written if text.title is not None), "")
    body = next((text.body for text in written if text.body is not None), "")
    return title, body


def _has_words(message: Message, platform: str, locale: str) -> bool:
    return any(text.strip() for text in _words(message, platform, locale))
