"""Who may ask for what: the only place that looks at a request's key, or at the cookie of a page's session."""

from __future__ import annotations

import hmac

from starlette.requests import Request

from broadside.access.keyring import Holder, Keyring
from broadside.access.sessions import OpenSession, Sessions
from broadside.api.v1.route import Scope
from broadside.console.http_answers import ApiFailure
from broadside.console.http_server import ADMITTED

CSRF = "x-csrf-token"
_SAFE = ("GET", "HEAD")


class Admission:
    """Admits requests. ``cookie``: the name of the session's cookie."""

    def __init__(self, keyring: Keyring, sessions: Sessions, cookie: str) -> None:
        self._keyring = keyring
        self._sessions = sessions
        self.cookie = cookie

    async def admit(self, request: Request, scope: Scope) -> Holder:
        """Return whom the request comes from (raises ``ApiFailure`` unless they have ``scope``)."""
        holder = await self._holder(request)
        setattr(request.state, ADMITTED, True)
        if not holder.may(scope):
            raise ApiFailure(
                403,
                f"your key is for the role {holder.role}, which may not do this",
                field="authorization",
                value=holder.role,
                remedy=f"ask for a key with the scope {scope}: `broadside key add`",
            )
        return holder

    async def holds(self, request: Request, scope: Scope) -> bool:
        """Whether a request that was admitted still would be: its key or session may have ended."""
        try:
            return (await self._holder(request)).may(scope)
        except ApiFailure:
            return False

    async def session(self, request: Request) -> OpenSession | None:
        """Return the open session of a request's cookie."""
        secret = request.cookies.get(self.cookie)
        return await self._sessions.find(secret) if secret else None

    async def _holder(self, request: Request) -> Holder:
        given = request.headers.get("authorization")
        if given is None and (session := await self.session(request)) is not None:
            if request.method not in _SAFE:
                _check_page(request, session)
            return session.holder
        kind, _, key = (given or "").partition(" ")
        holder = await self._keyring.holder(key.strip()) if kind.lower() == "bearer" else None
        if holder is None:
            raise ApiFailure(
                401,
                "the key is missing or wrong",
                field="authorization",
                remedy="send `Authorization: Bearer KEY` with a key of `broadside key add`, or log in",
                headers={"www-authenticate": "Bearer"},
            )
        return holder


def _check_page(request: Request, session: OpenSession) -> None:
    """Raise ``ApiFailure`` unless a change comes from a page of this session."""
    if not hmac.compare_digest(request.headers.get(CSRF, "").encode(), session.csrf.encode()):
        remedy = "send the `csrf` of `GET /v1/session` in this header"
        raise ApiFailure(403, "the request does not come from the node's own page", field=CSRF, remedy=remedy)
    check_origin(request)


def check_origin(request: Request) -> None:
    """Raise ``ApiFailure`` for a request of another site's page. Programs send no origin."""
    origin = request.headers.get("origin")
    if origin is not None and origin.partition("://")[2] != request.headers.get("host"):
        remedy = "open the page under the node's own address"
        raise ApiFailure(403, "the request comes from another site", field="origin", value=origin[:100], remedy=remedy)
