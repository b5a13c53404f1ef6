"""The options that say yes to what nobody may do by mistake: each overrules a guard, and is in the audit."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Yes:
    """Each is a field of the request by the same name."""

    again: Annotated[
        bool,
        Parameter(
            help="Fire although the same text has just gone to these channels, or will. Without it a terminal asks, "
            "and elsewhere nothing is fired.",
            negative="",
        ),
    ] = False
    over_budget: Annotated[
        bool,
        Parameter(
            help="Fire although some phones had as many of this kind today as its budget says, or as many as their "
            "channel's daily_limit. Without it a terminal asks, and elsewhere nothing is fired.",
            negative="",
        ),
    ] = False
    unapproved: Annotated[
        bool,
        Parameter(
            help="Fire to many phones without another person's approval. For approvers and operators.", negative=""
        ),
    ] = False

    def said(self) -> dict[str, bool]:
        """Return the fields of the request that say yes."""
        return {each.name: True for each in fields(self) if getattr(self, each.name)}


NO = Yes()
QUESTIONS = {
    "expire_asleep": "Fire it nevertheless?",
    "again": "Fire it again?",
    "over_budget": "Fire it nevertheless?",
    "unapproved": "Fire it without an approval?",
    "arm": "Make it ready, and ask another person for the approval?",
}
"""Field that says yes → what a terminal asks."""
