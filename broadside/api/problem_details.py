"""Every error of the API as one record, ``application/problem+json`` (RFC 9457)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

MEDIA_TYPE = "application/problem+json"


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not done. The first seven fields are always there; a text that says nothing is empty."""

    type: str
    """``about:blank``: the status says which kind of error it is."""
    title: str
    """The status in words."""
    status: int
    """The HTTP status."""
    detail: str
    """What is wrong, in a sentence for a person."""
    field: str
    """The field, parameter or header field that is wrong, as in ``message.title``."""
    value: str
    """The value that is wrong, shortened."""
    remedy: str
    """What to do about it."""
    id: str | UnsetType = UNSET
    """Of a failure in the node: the id under which its log has the reason."""
    campaign: str | UnsetType = UNSET
    """Of a failed Fire: the campaign's id; empty if none was made. Of a draft that was fired: what it has become.
    Of a campaign that repeats another one: that one."""
    fired: Literal["no", "maybe"] | UnsetType = UNSET
    """Of a failed Fire: ``maybe`` if the campaign may be firing nevertheless."""
    confirm: str | UnsetType = UNSET
    """Of a request that does what nobody may do by mistake: the field that says yes. Nothing was done."""


def problem(
    status: int, detail: str, *, field: str = "", value: str = "", remedy: str = "", **more: Any
) -> ProblemDetails:
    """Return the record of an error. ``more``: its other fields."""
    title = HTTPStatus(status).phrase
    return ProblemDetails(
        type="about:blank", title=title, status=status, detail=detail, field=field, value=value, remedy=remedy, **more
    )
