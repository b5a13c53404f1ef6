"""Imports libraries without the packages that they use only if these are installed.

structlog loads rich for coloured tracebacks, and httpx loads click and rich for a command line of its own. Broadside
uses neither (docs/benchmarks.md says what a start costs).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without(*packages: str) -> Iterator[None]:
    """Let the imports inside find none of ``packages``, unless they are loaded already."""
    hidden = [name for name in packages if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's way to say that a module is missing
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
