"""Who may ask for what: the only place that looks at a request's key."""

from __future__ import annotations

import hmac

from starlette.requests import Request

from broadside.api.v1.route import Scope
from broadside.console.http_answers import ApiFailure
from broadside.console.http_server import ADMITTED


class Admission:
    """Admits requests with the node's own key, which has every scope."""

    def __init__(self, key: str) -> None:
        self._key = key.encode()

    def admit(self, request: Request, scope: Scope) -> None:
        """Raise ``ApiFailure`` unless the request's key has ``scope``."""
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._key):
            raise ApiFailure(
                401,
                "the key is missing or wrong",
                field="authorization",
                remedy="send `Authorization: Bearer KEY` with the key in the data folder's api.key",
                headers={"www-authenticate": "Bearer"},
            )
        setattr(request.state, ADMITTED, True)
