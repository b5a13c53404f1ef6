"""By what two texts of campaigns are the same text: a fingerprint of their words."""

from __future__ import annotations

import hashlib
import unicodedata

from campaigns.message import Message
from campaigns.text_choice import in_words, locales


def fingerprints(message: Message) -> list[str]:
    """Return the fingerprints of all texts that phones may show of a message, sorted; of no words there is none."""
    found = set()
    for platform in ("", *message.platforms):
        for locale in locales(message, platform):
            words = in_words(message, platform, locale)
            if text := normalised(f"{words.title} {words.body}"):
                found.add(hashlib.sha256(text.encode()).hexdigest()[:32])
    return sorted(found)


def normalised(text: str) -> str:
    """Return the words of a text: in Unicode's form NFKC, without case, and a space for punctuation and white space.

    Characters that nobody sees are left out. A text of punctuation alone keeps it. Signs and digits count: 1:0 is not
    2:0, and +2 % is not 2 %.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(char for char in folded if char.isspace() or unicodedata.category(char)[0] != "C")
    words = "".join(" " if unicodedata.category(char)[0] == "P" else char for char in seen)
    return " ".join(words.split()) or " ".join(seen.split())
