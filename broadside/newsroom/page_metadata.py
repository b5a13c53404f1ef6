"""Reads what an HTML page says of itself: title, description, picture, canonical address. Pure: bytes in, a record out.

The names are those of the Open Graph protocol (https://ogp.me) and of X's cards, which news sites write for previews.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from urllib.parse import urljoin

from broadside.api.bounds import LONGEST_URL, url_problem
from broadside.api.link_records import LinkMetadata

LONGEST = 500
"""Characters of a title or a description."""
_TITLES = ("og:title", "twitter:title", "title")
_DESCRIPTIONS = ("og:description", "twitter:description", "description")
_IMAGES = ("og:image:secure_url", "og:image:url", "og:image", "twitter:image", "twitter:image:src")
_ADDRESSES = ("canonical", "og:url")
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_WEB = re.compile("https?://", re.IGNORECASE)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202d\u202e]")


def read_page(body: bytes, charset: str, url: str) -> LinkMetadata:
    """Read the beginning of a page. ``charset``: of its ``Content-Type``, may be empty; ``url``: where it was found."""
    reader = _Head()
    reader.feed(_decoded(body, charset))
    found = reader.found
    return LinkMetadata(
        url=_first(_address(url, found[name]) for name in _ADDRESSES if name in found) or url,
        title=_first(_text(found[name]) for name in _TITLES if name in found),
        description=_first(_text(found[name]) for name in _DESCRIPTIONS if name in found),
        image=_first(_address(url, found[name]) for name in _IMAGES if name in found),
    )


class _Head(HTMLParser):
    """Collects the first value of each name, up to the page's visible part."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.found: dict[str, str] = {}
        self._title: list[str] | None = None
        self._done = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "meta":
            name = (given.get("property") or given.get("name") or "").strip().lower()
            self._keep(name, given.get("content", ""))
        elif tag == "link" and "canonical" in given.get("rel", "").lower().split():
            self._keep("canonical", given.get("href", ""))
        elif tag == "title" and not self._done:
            self._title = []
        elif tag == "body":
            self._done = True  # a drawing in the text has a <title>, too

    def handle_data(self, data: str) -> None:
        if self._title is not None:
            self._title.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "title" and self._title is not None:
            self._keep("title", "".join(self._title))
            self._title, self._done = None, True

    def _keep(self, name: str, value: str) -> None:
        if name and value.strip():
            self.found.setdefault(name, value.strip())


def _decoded(body: bytes, charset: str) -> str:
    """The text: by its byte order mark, else as the header says, else as the page says, else as UTF-8."""
    for mark, name in _BOMS:
        if body.startswith(mark):
            return body[len(mark) :].decode(name, "replace")
    said = _CHARSET.search(body, 0, 4096)
    for name in filter(None, (charset, said[1].decode("ascii", "replace") if said else "")):
        try:
            return body.decode(name, "replace")
        except (LookupError, ValueError):  # no charset of this name, or none of texts
            continue
    return body.decode("utf-8", "replace")


def _first(values: Iterable[str]) -> str:
    return next(filter(None, values), "")


def _text(value: str) -> str:
    return " ".join(_CONTROL.sub(" ", value).split())[:LONGEST]


def _address(base: str, value: str) -> str:
    """The absolute address of a value; empty: it is none that a phone could open."""
    try:
        found = urljoin(base, value)
    except ValueError:
        return ""
    return found if len(found.encode()) <= LONGEST_URL and url_problem(found) is None and _WEB.match(found) else ""
