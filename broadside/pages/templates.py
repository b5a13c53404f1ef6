"""The pages' templates: HTML in which every value is escaped, and the few filters that bring values to words."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
from markupsafe import Markup, escape

from broadside.api.forecast_text import about
from broadside.api.report_text import span


class Templates:
    """Renders templates. ``asset``: name of a file of ours → its address."""

    def __init__(self, asset: Callable[[str], str]) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("broadside.pages", "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals["asset"] = asset
        self._environment.filters.update(
            count=count, span=span, when=when, share=share, clock=clock, size=size, about=about
        )

    def render(self, template: str, **values: Any) -> str:
        """Render a template."""
        return self._environment.get_template(template).render(**values)


def count(number: int) -> str:
    """Write a number with its thousands apart: ``2,004,112``."""
    return f"{number:,}"


def share(part: float, whole: float) -> str:
    """Write a part of a whole in per cent; nothing of nothing is 0 %."""
    return f"{100 * part / whole if whole else 0:.1f} %"


def size(octets: int) -> str:
    """Write a number of bytes: ``820 bytes``, ``1.3 MB``."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if octets >= one:
            return f"{octets / one:.1f} {unit}"
    return f"{octets} bytes"


def clock(ms: int, zone: str | None) -> str:
    """Write the time of day (ms UTC) in ``zone`` (None: UTC): ``12:04``."""
    return f"{datetime.fromtimestamp(ms / 1000, ZoneInfo(zone) if zone else UTC):%H:%M}"


def when(ms: int | None, zone: str | None) -> Markup:
    """Write a moment (ms UTC) in ``zone`` (None: UTC), as an element that a script may read."""
    if ms is None:
        return Markup("–")
    utc = datetime.fromtimestamp(ms / 1000, UTC)
    local = utc.astimezone(ZoneInfo(zone)) if zone else utc
    text = f"{local:%a} {local.day} {local:%b %Y, %H:%M:%S}"
    # the parts are ours or escaped
    return Markup(f'<time datetime="{utc:%Y-%m-%dT%H:%M:%SZ}" title="{escape(zone or "UTC")}">{text}</time>')  # noqa: S704
