"""Which text a phone gets, against a slow and obvious model."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from campaigns.message import Message, PlatformText, Text
from campaigns.text_choice import DEFAULT, fallback, in_words, locales

LOCALES = ["pt", "pt-BR", "pt-PT", "zh", "zh-Hant", "zh-Hant-TW", "ar", "de"]
PHONES = [*LOCALES, "", "pt-AO", "zh-Hans-CN", "zh-Hant-HK", "fr", "de-CH-1996", "p", "pt-"]

WORDS = [None, "", " ", "one", "two", "\u200fشمال", "👩‍👩‍👧"]
ADDRESSES = [None, "https://a", "https://b"]


def drawn(draw: random.Random) -> Message:
    """A message with texts in some languages, for all platforms or for one."""

    def fields() -> dict[str, Any]:
        words = {name: draw.choice(WORDS) for name in ("title", "body")}
        return words | {name: draw.choice(ADDRESSES) for name in ("url", "image")}

    def several() -> dict[str, Text]:
        return {locale: Text(**fields()) for locale in draw.sample(LOCALES, draw.randrange(5))}

    plain = fields()
    return Message(
        **{**plain, "title": plain["title"] or "", "body": plain["body"] or ""},
        texts=several(),
        platforms={
            platform: PlatformText(**fields(), texts=several())
            for platform in draw.sample(["apns", "fcm"], draw.randrange(3))
        },
    )


def model(message: Message, platform: str, locale: str) -> dict[str, Any]:
    """A list of all texts that a phone might get, the best first; of it the first words, link and picture."""
    plain = msgspec.to_builtins(message)
    mine = plain.get("platforms", {}).get(platform, {})
    parts = locale.split("-")
    levels = []
    for size in range(len(parts), 0, -1):
        name = "-".join(parts[:size])
        general, special = plain.get("texts", {}).get(name, {}), mine.get("texts", {}).get(name, {})
        levels.append((special, general))
    levels.append((mine, plain))

    def given_by(level: tuple[dict[str, Any], dict[str, Any]], field: str) -> Any:
        return level[0][field] if level[0].get(field) is not None else level[1].get(field)

    result: dict[str, Any] = {"title": "", "body": "", "url": None, "image": None}
    chosen = levels[-1]
    for level in levels:
        if any((given_by(level, field) or "").strip() for field in ("title", "body")):
            chosen = level
            break
    for field in ("title", "body"):
        result[field] = given_by(chosen, field) or ""
    for field in ("url", "image"):
        result[field] = next((given_by(level, field) for level in levels if given_by(level, field) is not None), None)
    return result


@pytest.mark.parametrize("seed", range(20))
def test_a_phone_gets_the_text_that_the_model_gives_it(seed: int) -> None:
    draw = random.Random(seed)
    for _ in range(100):
        message = drawn(draw)
        platform, locale = draw.choice(["apns", "fcm", "webpush"]), draw.choice(PHONES)
        found = in_words(message, platform, locale)
        wanted = model(message, platform, locale)
        assert {name: getattr(found, name) for name in ("title", "body", "url", "image")} == wanted
        assert (found.texts, found.platforms) == ({}, {}), "one text is left"
        # and every text that a phone can get is one of those that Fire checks
        assert found in [in_words(message, platform, each) for each in locales(message, platform)]


def test_a_locale_falls_back_part_by_part_to_the_default_text() -> None:
    assert [*fallback("pt-BR")] == ["pt-BR", "pt", DEFAULT]
    assert [*fallback("zh-Hant-TW")] == ["zh-Hant-TW", "zh-Hant", "zh", DEFAULT]
    assert [*fallback("")] == [DEFAULT]


def test_no_push_mixes_languages() -> None:
    message = Message(
        title="Storm", body="Stay inside", url="https://e.com/en", texts={"pt": Text(body="Fique em casa")}
    )
    brazil = in_words(message, "apns", "pt-BR")
    assert (brazil.title, brazil.body, brazil.url) == ("", "Fique em casa", "https://e.com/en")


def test_a_platform_says_it_shorter_in_the_same_language() -> None:
    message = Message(
        title="Storm tonight, stay inside",
        body="Red alert",
        texts={"de": Text(title="Sturm heute Nacht, bleibt drin", body="Rot")},
        platforms={"fcm": PlatformText(title="Storm", texts={"de": Text(title="Sturm")})},
    )
    said = {
        (platform, locale): in_words(message, platform, locale)
        for platform in ("apns", "fcm")
        for locale in ("de", "en")
    }
    assert {where: (each.title, each.body) for where, each in said.items()} == {
        ("apns", "de"): ("Sturm heute Nacht, bleibt drin", "Rot"),
        ("apns", "en"): ("Storm tonight, stay inside", "Red alert"),
        ("fcm", "de"): ("Sturm", "Rot"),
        ("fcm", "en"): ("Storm", "Red alert"),
    }


def test_a_message_of_yesterday_reads_as_it_did() -> None:
    stored = b'{"title":"Goal","body":"2:1","url":"https://e.com","data":{"a":"b"},"options":{"apns":{"priority":5}}}'
    message = msgspec.json.decode(stored, type=Message)
    assert in_words(message, "apns", "de") is message
    assert msgspec.json.encode(message) == stored, "and is written as it was: its digest stays the same"
