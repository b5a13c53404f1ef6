"""Roles of keys: which scopes of the API each has."""

from __future__ import annotations

from collections.abc import Mapping

from broadside.api.v1.route import Scope

ROLES: Mapping[str, frozenset[Scope]] = {
    "viewer": frozenset({"any", "viewer"}),
    "app": frozenset({"any", "app"}),
    "editor": frozenset({"any", "viewer", "editor"}),
    "approver": frozenset({"any", "viewer", "editor", "approver"}),
    "operator": frozenset({"any", "viewer", "editor", "approver", "operator", "app"}),
}
"""Role → its scopes. ``app`` is for an app's backend, which registers subscribers and sees nothing."""
