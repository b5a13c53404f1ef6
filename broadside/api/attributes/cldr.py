"""Tables of Unicode's CLDR, as the library babel brings them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal


@functools.cache
def table(name: Literal["territory_aliases", "windows_zone_mapping"]) -> Mapping[str, Any]:
    """Return a table. Loaded at its first use: most rows need none, and no start waits for it."""
    from babel.core import get_global

    return get_global(name)
