"""The pages of keys and of the audit: who may do what, and who did what."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from broadside.access.roles import ROLES
from broadside.api.access_records import KeyCreated, KeyRecord
from broadside.api.v1 import table
from broadside.pages.page import PageCall, PageRoute

ROLE_WORDS = {
    "viewer": "sees everything, changes nothing",
    "editor": "writes, fires, stops",
    "approver": "an editor who may also approve",
    "operator": "everything: also tubes, nodes and keys",
    "app": "the app's backend: registers subscribers, sees nothing",
}
ENTRIES = 50


async def keys(call: PageCall) -> Response:
    """List the keys."""
    return call.show("operator/keys.html", **await _values(call))


async def add(call: PageCall) -> Response:
    """Make a key, and show it this once."""
    form = await call.form()
    made = await call.api(table.KEY_ADD, body=_request(form), key=_first(form, "once") or None)
    return call.show("operator/keys_part.html", **await _values(call, made))


async def revoke(call: PageCall) -> Response:
    """Revoke a key."""
    gone = await call.api(table.KEY_REVOKE, key_id=call.named("id"))
    said = f"{gone.name}'s key {gone.id} is revoked: within 5 s no node takes it any more."
    return call.show("operator/keys_part.html", **await _values(call, said=said))


async def audit(call: PageCall) -> Response:
    """List who changed what."""
    cursor = call.request.query_params.get("cursor")
    page = await call.api(table.AUDIT, query={"limit": ENTRIES, "cursor": cursor})
    zone = (await call.api(table.NEWSROOM)).zone
    return call.show("operator/audit.html", page=page, first=cursor is None, zone=zone)


def _request(form: Mapping[str, list[str]]) -> dict[str, Any]:
    """A form as the API's record; the API checks it and names what is wrong."""
    lists = {name: [part.strip() for part in _first(form, name).split(",") if part.strip()] for name in _LISTS}
    numbers = {name: _first(form, name).strip() for name in _NUMBERS}
    return {
        "name": _first(form, "name").strip(),
        "role": _first(form, "role"),
        **{name: found for name, found in lists.items() if found},
        **{name: int(text) if text.isdecimal() and len(text) < 19 else text for name, text in numbers.items() if text},
    }


_LISTS, _NUMBERS = ("channels", "kinds"), ("most", "days")


def _first(form: Mapping[str, list[str]], name: str) -> str:
    return form.get(name, [""])[0]


async def _values(call: PageCall, made: KeyCreated | None = None, said: str = "") -> dict[str, Any]:
    return {
        "keys": (await call.api(table.KEYS)).keys,
        "holds": _holds,
        "roles": {role: ROLE_WORDS.get(role, "") for role in ROLES},
        "zone": (await call.api(table.NEWSROOM)).zone,
        "once": secrets.token_hex(12),
        "made": made,
        "said": said,
    }


def _holds(key: KeyRecord) -> bool:
    return key.revoked_at is None and (key.expires_at is None or key.expires_at > 1000 * time.time())


PAGES = (
    PageRoute("/operator/keys", keys),
    PageRoute("/operator/keys/add", add, "POST"),
    PageRoute("/operator/keys/{id}/revoke", revoke, "POST"),
    PageRoute("/operator/audit", audit),
)
