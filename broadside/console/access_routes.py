"""Answers the API's routes about keys, sessions and the audit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from starlette.responses import Response

from broadside.access.audit import Audit
from broadside.access.keyring import Keyring
from broadside.access.roles import ROLES
from broadside.access.sessions import SESSION, OpenSession, Sessions, TooManyLogins
from broadside.api.access_records import (
    AuditPage,
    KeyCreated,
    KeyRecord,
    KeyRequest,
    Keys,
    LoginLink,
    LoginRequest,
    LogoutAnswer,
    SessionRecord,
)
from broadside.api.v1 import table
from broadside.api.v1.cursors import number, read_cursor
from broadside.console.admission import Admission, check_origin
from broadside.console.calls import Bound, Call, bind
from broadside.console.http_answers import ApiFailure, json_answer


@dataclass(frozen=True, kw_only=True)
class Access:
    """All that decides who may do what. ``url``: the page's address; ``secure``: browsers reach it by TLS alone."""

    keyring: Keyring
    sessions: Sessions
    audit: Audit
    admission: Admission
    url: Callable[[], str]
    secure: bool = False


def access_routes(access: Access) -> list[Bound]:
    """Bind the routes."""
    keyring, sessions, audit, admission = access.keyring, access.sessions, access.audit, access.admission

    def cookie(answer: Response, secret: str, seconds: int) -> Response:
        answer.set_cookie(
            admission.cookie, secret, max_age=seconds, path="/", secure=access.secure, httponly=True, samesite="strict"
        )
        return answer

    async def login(call: Call) -> Response:
        check_origin(call.request)  # a foreign page must not log a browser in as somebody else
        try:
            opened = await sessions.open(call.body(LoginRequest))
        except TooManyLogins as wait:
            seconds = str(int(wait.seconds) + 1)
            raise ApiFailure(
                429, str(wait), remedy=f"try again in {seconds} s", headers={"retry-after": seconds}
            ) from None
        if opened is None:
            remedy = "a code holds once, for ten minutes: `broadside key link` makes another"
            raise ApiFailure(401, "the key or the code does not hold", field="key", remedy=remedy)
        secret, session = opened
        await audit.record(session.holder, "POST /v1/session", "", 201, {})
        return cookie(json_answer(_session(session), 201), secret, SESSION // 1000)

    async def who(call: Call) -> SessionRecord:
        session = None if "authorization" in call.request.headers else await admission.session(call.request)
        if session is not None:
            return _session(session)
        holder = call.holder
        return SessionRecord(id=holder.id, name=holder.name, role=holder.role, scopes=sorted(ROLES[holder.role]))

    async def logout(call: Call) -> Response:
        secret = call.request.cookies.get(admission.cookie)
        if secret:
            await sessions.end(secret)
        return cookie(json_answer(LogoutAnswer(ended=bool(secret))), "", 0)

    async def add(call: Call) -> KeyCreated:
        return await keyring.add(call.body(KeyRequest))

    async def keys(call: Call) -> Keys:
        return Keys(keys=await keyring.keys())

    async def revoke(call: Call) -> KeyRecord:
        revoked = await keyring.revoke(call.named("key_id"))
        sessions.ended(revoked.id)
        return revoked

    async def link(call: Call) -> LoginLink:
        return await sessions.link(call.holder, access.url())

    async def entries(call: Call) -> AuditPage:
        query = call.query(table.AuditQuery)
        return await audit.page(read_cursor(query.cursor, number), query.limit)

    return [
        bind(table.LOGIN, login),
        bind(table.SESSION, who),
        bind(table.LOGOUT, logout),
        bind(table.KEY_ADD, add),
        bind(table.KEYS, keys),
        bind(table.KEY_REVOKE, revoke),
        bind(table.KEY_LINK, link),
        bind(table.AUDIT, entries),
    ]


def _session(session: OpenSession) -> SessionRecord:
    holder = session.holder
    return SessionRecord(
        id=holder.id,
        name=holder.name,
        role=holder.role,
        scopes=sorted(ROLES[holder.role]),
        expires_at=session.expires_at,
        csrf=session.csrf,
    )
