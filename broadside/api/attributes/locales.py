"""Locales as Android, iOS, Java and POSIX write them → BCP 47 (RFC 5646): language, script, region, variants."""

from __future__ import annotations

import re

_RENAMED = {"iw": "he", "in": "id", "ji": "yi", "tl": "fil", "mo": "ro"}
"""Codes that Java and old Androids still write."""
_PARTS = re.compile(r"[-_]+").split


def locale(text: str) -> str | None:
    """Return ``text`` as BCP 47, as in ``zh_CN_#Hans`` → ``zh-Hans-CN``; None: it names no language.

    Extensions (``-u-nu-latn``, ``@calendar=…``) and encodings (``.UTF-8``) are left out: no text is written for them.
    """
    parts = _PARTS(re.split(r"[.@]", text, maxsplit=1)[0])
    language = parts[0].lower()
    if not re.fullmatch(r"[a-z]{2,3}", language):
        return None
    script, region, variants = "", "", []
    for part in parts[1:]:
        subtag = part.removeprefix("#")
        if not (subtag.isascii() and (subtag.isalnum() or not subtag)) or len(subtag) > 8:
            return None
        if len(subtag) == 1:  # an extension begins
            break
        if not script and re.fullmatch(r"[A-Za-z]{4}", subtag):
            script = subtag.title()
        elif not region and re.fullmatch(r"[A-Za-z]{2}|[0-9]{3}", subtag):
            region = subtag.upper()
        elif len(subtag) >= 5 and subtag.upper() != "POSIX":
            variants.append(subtag.lower())
    written = "-".join(filter(None, (_RENAMED.get(language, language), script, region, *variants)))
    return written if len(written) <= 64 else None
