"""How many examples a drawn law gets: a third in each run of the tests, and all of them with the sweep.

Every run draws other examples, so three commits see together what one saw before.
"""

from __future__ import annotations

import os

WHOLE = os.environ.get("BROADSIDE_DRAWS") == "all"
"""Set by ``./dev sweep``."""


def drawn(examples: int) -> int:
    """Answer how many of these examples are to be drawn in this run."""
    return examples if WHOLE else -(-examples // 3)
