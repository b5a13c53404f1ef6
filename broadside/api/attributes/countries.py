"""Countries → ISO 3166 alpha-2."""

from __future__ import annotations

import re

from broadside.api.attributes.cldr import table

_NOWHERE = frozenset({"ZZ", "XX"})


def country(text: str) -> str | None:
    """Return ``text`` as two capital letters, as in ``DEU`` → ``DE``, ``UK`` → ``GB``; None: it is no one country."""
    code = text.upper()
    if not re.fullmatch(r"[A-Z]{2,3}", code):
        return None
    successors = table("territory_aliases").get(code, [])
    if len(successors) == 1:
        code = successors[0]
    return code if len(code) == 2 and code not in _NOWHERE else None
