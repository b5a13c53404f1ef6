"""Keys, roles, sessions, names and the audit, over a real store."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import structlog.testing
import trio
import trio.testing

from broadside.access.keyring import Keyring
from broadside.access.known_rows import FRESH, KnownRows
from broadside.access.roles import ROLES
from broadside.api.access_records import KeyRequest, LoginRequest
from broadside.api.v1.table import TABLE
from broadside.console.admission import Admission
from broadside.console.calls import LOOK_EVERY
from broadside.newsroom.ring import Ring
from storage.access import AccessStore
from storage.errors import LinkDown
from storage.link import Endpoint, Link
from storage.store import Store
from tests.broadside.api_parts import access_of, api_of
from tests.broadside.test_api import KEY, newsroom_over, subscriber

OWN = {"authorization": f"Bearer {KEY}"}
FIRE = {"message": {"title": "t", "body": "b"}}


@pytest.fixture
async def api(own_link: Link) -> AsyncIterator[httpx.AsyncClient]:
    app = api_of(newsroom_over(own_link), Ring(store=Store(own_link), node="n1"), own_link, KEY).app()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield client


async def made(api: httpx.AsyncClient, role: str, **more: Any) -> tuple[str, dict[str, str]]:
    """A new key's id, and the header with it."""
    answer = await api.post("/v1/keys", json={"name": role, "role": role, **more}, headers=OWN)
    assert answer.status_code == 201, answer.text
    found = answer.json()
    return found["record"]["id"], {"authorization": f"bearer {found['key']}"}


async def test_each_role_reaches_the_routes_of_its_scopes_and_no_other(api: httpx.AsyncClient) -> None:
    names = {
        "id": "aaaaabcdefghi",
        "name": "n9",
        "channel": "ios",
        "key_id": "k3xm4taq",
        "draft_id": "k7r2m5qpx4n3a",
        "story_id": "aaaaabcdefghi",
    }
    for role, scopes in ROLES.items():
        _, key = await made(api, role)
        for route in TABLE:
            if route.scope is None:
                continue
            query = {"limit": 1} if route.events else {}
            answer = await api.request(route.method, route.path.format(**names), params=query, headers=key)
            if route.scope in scopes:
                assert answer.status_code not in (401, 403), (role, route.path, answer.text)
            else:
                assert answer.status_code == 403, (role, route.path)
                assert answer.json()["field"] == "authorization"
                assert answer.headers["content-type"] == "application/problem+json"


async def test_nothing_but_probes_and_the_document_is_told_without_a_key(api: httpx.AsyncClient) -> None:
    open_ = {(route.method, route.path) for route in TABLE if route.scope is None}
    assert open_ == {
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/v1/openapi.json"),
        ("POST", "/v1/session"),
    }


async def test_a_key_is_shown_once_and_stored_as_a_hash(api: httpx.AsyncClient, own_link: Link) -> None:
    _, key = await made(api, "editor")
    secret = key["authorization"].split()[1]
    listed = await api.get("/v1/keys", headers=OWN)
    assert secret not in listed.text
    assert "hash" not in listed.text
    (row,) = await AccessStore(own_link).keys()
    assert secret not in str(row)
    assert row.name == "editor"


async def test_a_revoked_key_is_refused_within_five_seconds_on_every_node(
    api: httpx.AsyncClient, own_link: Link
) -> None:
    other = Keyring(AccessStore(own_link), "n2", lambda: "x", lambda: None)
    id, key = await made(api, "viewer")
    secret = key["authorization"].split()[1]
    assert (await other.holder(secret)) is not None
    assert (await api.post(f"/v1/keys/{id}/revoke", headers=OWN)).status_code == 200
    assert (await api.get("/v1/campaigns", headers=key)).status_code == 401, "the node that revoked it knows at once"
    for known in other._rows._known.values():
        known.at -= FRESH
    assert (await other.holder(secret)) is None
    assert (await api.post("/v1/keys/nobody/revoke", headers=OWN)).status_code == 404


async def test_a_known_key_holds_for_five_minutes_while_the_store_is_away(
    api: httpx.AsyncClient, own_link: Link
) -> None:
    _, key = await made(api, "viewer")
    secret = key["authorization"].split()[1]
    keyring = Keyring(AccessStore(own_link), "n2", lambda: "own", lambda: None)
    assert (await keyring.holder(secret)) is not None
    nowhere = Endpoint("unix/:/nowhere", "u", "p")
    keyring._store = AccessStore(Link({"store": nowhere}))
    for known in keyring._rows._known.values():
        known.at -= 299.0
    assert (await keyring.holder(secret)) is not None
    assert (await keyring.holder("own")) is not None, "the node's own key needs no store"
    for known in keyring._rows._known.values():
        known.at -= 2.0
    with pytest.raises(Exception, match=r"."):
        await keyring.holder(secret)


async def test_an_expired_key_is_refused(own_link: Link) -> None:
    now = [1_000_000_000_000]
    keyring = Keyring(AccessStore(own_link), "n1", lambda: "own", lambda: None, lambda: now[0])
    made = await keyring.add(KeyRequest(name="a", role="viewer", days=1))
    assert (await keyring.holder(made.key)) is not None
    now[0] += 86_400_000
    assert (await keyring.holder(made.key)) is None


async def test_a_limited_key_fires_only_what_it_is_for(api: httpx.AsyncClient) -> None:
    for n in range(5):
        await api.post("/v1/subscribers", json=subscriber(n), headers=OWN)
    _, key = await made(api, "editor", channels=["ios"], kinds=["breaking"], most=4)

    async def refused(field: str, **more: Any) -> None:
        answer = await api.post("/v1/campaigns", json={**FIRE, **more}, headers=key)
        assert answer.status_code == 400, answer.text
        assert answer.json()["field"] == field

    await refused("channels", kind="breaking")
    await refused("channels", kind="breaking", channels=["android"])
    await refused("kind", channels=["ios"])
    await refused("audience", channels=["ios"], kind="breaking")
    mine = await api.post(
        "/v1/campaigns",
        json={**FIRE, "channels": ["ios"], "kind": "breaking", "audience": {"subscribers": [subscriber(1)["token"]]}},
        headers=key,
    )
    assert mine.status_code == 201, mine.text
    others = (await api.post("/v1/campaigns", json=FIRE, headers=OWN)).json()["id"]
    for act in ("pause", "resume", "cancel"):
        assert (await api.post(f"/v1/campaigns/{others}/{act}", headers=key)).status_code == 400, act


async def test_an_unknown_role_and_a_bad_name_say_what_is_wrong(api: httpx.AsyncClient) -> None:
    answer = await api.post("/v1/keys", json={"name": "a", "role": "boss"}, headers=OWN)
    assert (answer.status_code, answer.json()["field"]) == (400, "role")
    assert "known: viewer" in answer.json()["remedy"]
    answer = await api.post("/v1/keys", json={"name": "a\x1b[31m", "role": "viewer"}, headers=OWN)
    assert (answer.status_code, answer.json()["field"]) == (400, "name")


# -- sessions ----------------------------------------------------------------------------------------------------------


async def logged_in(api: httpx.AsyncClient, **with_: str) -> tuple[dict[str, str], dict[str, Any]]:
    answer = await api.post("/v1/session", json=with_)
    assert answer.status_code == 201, answer.text
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert "max-age=43200" in cookie.lower()
    api.cookies.clear()
    return {"cookie": cookie.split(";")[0]}, answer.json()


async def test_a_page_logs_in_with_a_key_and_changes_only_with_its_token(api: httpx.AsyncClient) -> None:
    _, key = await made(api, "editor")
    cookie, said = await logged_in(api, key=key["authorization"].split()[1])
    assert said["scopes"] == ["any", "editor", "viewer"]
    assert (await api.get("/v1/campaigns", headers=cookie)).status_code == 200
    assert (await api.get("/v1/peers", headers=cookie)).status_code == 200
    assert (await api.get("/v1/audit", headers=cookie)).status_code == 403
    bare = await api.post("/v1/campaigns", json=FIRE, headers=cookie)
    assert (bare.status_code, bare.json()["field"]) == (403, "x-csrf-token")
    token = {**cookie, "x-csrf-token": said["csrf"]}
    elsewhere = await api.post("/v1/campaigns", json=FIRE, headers={**token, "origin": "https://evil.example"})
    assert (elsewhere.status_code, elsewhere.json()["field"]) == (403, "origin")
    fired = await api.post("/v1/campaigns", json=FIRE, headers={**token, "origin": "http://node"})
    assert fired.status_code == 201
    assert (await api.get("/v1/session", headers=cookie)).json()["csrf"] == said["csrf"]
    assert (await api.request("DELETE", "/v1/session", headers=token)).json() == {"ended": True}
    assert (await api.get("/v1/campaigns", headers=cookie)).status_code == 401


async def test_a_session_ends_with_its_key(api: httpx.AsyncClient) -> None:
    id, key = await made(api, "viewer")
    cookie, _ = await logged_in(api, key=key["authorization"].split()[1])
    await api.post(f"/v1/keys/{id}/revoke", headers=OWN)
    assert (await api.get("/v1/campaigns", headers=cookie)).status_code == 401


async def test_requests_of_a_session_ask_the_store_for_it_once(own_link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 22: every request, and every stream every two seconds, looked the session up in the store."""
    monkeypatch.setattr("broadside.access.known_rows.FRESH", 60.0)
    asked: list[str] = []
    ticket = AccessStore.ticket

    async def counted(self: AccessStore, hash: str, kind: str, now: int, **more: Any) -> tuple[str, int] | None:
        asked.append(kind)
        return await ticket(self, hash, kind, now, **more)

    monkeypatch.setattr(AccessStore, "ticket", counted)
    sessions = access_of(own_link, KEY).sessions
    opened = await sessions.open(LoginRequest(key=KEY))
    assert opened is not None
    for _ in range(5):
        assert (await sessions.find(opened[0])) is not None
    assert asked == ["session"]


async def test_a_session_that_is_logged_out_ends_here_at_once_and_elsewhere_within_five_seconds(own_link: Link) -> None:
    """Issue 22."""
    here, other = access_of(own_link, KEY).sessions, access_of(own_link, KEY).sessions
    opened = await here.open(LoginRequest(key=KEY))
    assert opened is not None
    secret = opened[0]
    assert (await here.find(secret)) is not None
    assert (await other.find(secret)) is not None
    await here.end(secret)
    assert (await here.find(secret)) is None
    for known in other._rows._known.values():
        known.at -= FRESH
    assert (await other.find(secret)) is None
    assert FRESH + LOOK_EVERY <= 5.0, "its streams too"


async def test_a_known_session_holds_for_five_minutes_while_the_store_is_away_and_never_past_its_end(
    own_link: Link,
) -> None:
    """Issue 22: a page of the newsroom was logged out with the store."""
    now = [1_000_000_000_000]
    sessions = access_of(own_link, KEY, lambda: now[0]).sessions
    opened = await sessions.open(LoginRequest(key=KEY))
    assert opened is not None
    assert (await sessions.find(opened[0])) is not None
    sessions._store = AccessStore(Link({"store": Endpoint("unix/:/nowhere", "u", "p")}))
    (known,) = sessions._rows._known.values()
    known.at -= 299.0
    assert (await sessions.find(opened[0])) is not None
    known.at -= 2.0
    with pytest.raises(LinkDown):
        await sessions.find(opened[0])
    known.at = trio.current_time()
    now[0] = opened[1].expires_at
    assert (await sessions.find(opened[0])) is None


async def test_a_session_that_ends_while_it_is_looked_up_is_not_remembered() -> None:
    """Issue 22: the answer was read before the log-out, and came after it."""
    rows = KnownRows[str]()
    ended = trio.Event()

    async def ask() -> str:
        await ended.wait()
        return "row"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(rows.get, "a", ask)
        await trio.testing.wait_all_tasks_blocked()
        rows.forget(lambda name, row: name == "a")
        ended.set()
    assert not rows._known


async def test_a_link_holds_once(api: httpx.AsyncClient) -> None:
    link = (await api.post("/v1/session/link", headers=OWN)).json()
    url, _, code = link["url"].partition("#")
    assert url == "http://node/login"
    assert KEY not in link["url"]
    cookie, said = await logged_in(api, code=code)
    assert said["role"] == "operator"
    assert (await api.get("/v1/keys", headers=cookie)).status_code == 200
    again = await api.post("/v1/session", json={"code": code})
    assert again.status_code == 401


async def test_the_local_key_can_be_revoked_and_is_made_anew(api: httpx.AsyncClient) -> None:
    link = (await api.post("/v1/session/link", headers=OWN)).json()
    cookie, _ = await logged_in(api, code=link["url"].partition("#")[2])
    assert (await api.post("/v1/keys/local/revoke", headers=OWN)).status_code == 200
    assert (await api.get("/v1/keys", headers=OWN)).status_code == 401
    assert (await api.get("/v1/keys", headers=cookie)).status_code == 401
    assert (await api.get("/v1/keys", headers={"authorization": f"Bearer {KEY}'"})).status_code == 200


async def test_log_ins_that_fail_are_slowed_down_and_a_right_key_always_gets_in(api: httpx.AsyncClient) -> None:
    """Issue 22: ten wrong keys a minute, from anywhere, kept everybody out for ever."""
    for _ in range(10):
        assert (await api.post("/v1/session", json={"key": "guess"})).status_code == 401
    for guess in ({"key": "guess"}, {"code": "g" * 43}):
        answer = await api.post("/v1/session", json=guess)
        assert answer.status_code == 429
        assert 0 < int(answer.headers["retry-after"]) <= 61
    await logged_in(api, key=KEY)
    link = (await api.post("/v1/session/link", headers=OWN)).json()
    await logged_in(api, code=link["url"].partition("#")[2])


async def test_a_foreign_page_logs_nobody_in(api: httpx.AsyncClient) -> None:
    """Issue 22: a page of another site could log a browser in as somebody else."""
    for origin in ("https://evil.example", "null", "http://[", "node"):
        answer = await api.post("/v1/session", json={"key": KEY}, headers={"origin": origin})
        assert (answer.status_code, answer.json()["field"]) == (403, "origin")
        assert "set-cookie" not in answer.headers
    assert (await api.post("/v1/session", json={"key": KEY}, headers={"origin": "http://node"})).status_code == 201


async def test_a_sessions_cookie_is_for_tls_alone_where_the_page_is(own_link: Link) -> None:
    """Issue 22."""
    plain = access_of(own_link, KEY)
    admission = Admission(plain.keyring, plain.sessions, "__Host-broadside-443")
    access = dataclasses.replace(plain, admission=admission, secure=True)
    ring = Ring(store=Store(own_link), node="n1")
    app = api_of(newsroom_over(own_link), ring, own_link, KEY, access=access).app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="https://node") as client:
        answer = await client.post("/v1/session", json={"key": KEY})
        name, *attributes = answer.headers["set-cookie"].split("; ")
        assert name.startswith("__Host-broadside-443=")
        told = {attribute.lower() for attribute in attributes}
        assert {"secure", "httponly", "path=/", "samesite=strict"} <= told
        assert not any(attribute.startswith("domain") for attribute in told)
        assert (await client.get("/v1/session")).json()["role"] == "operator"


async def test_an_apps_key_reads_only_what_its_backend_needs(api: httpx.AsyncClient) -> None:
    """Issues 22 and 25."""
    _, key = await made(api, "app")
    assert (await api.post("/v1/subscribers", json=subscriber(1), headers=key)).json() == {"inserted": 1, "updated": 0}
    names = {
        "id": "aaaaabcdefghi",
        "name": "n9",
        "channel": "ios",
        "draft_id": "k7r2m5qpx4n3a",
        "story_id": "aaaaabcdefghi",
    }
    reading = [route for route in TABLE if route.method == "GET" and route.scope is not None]
    assert {
        route.path for route in reading if (await api.get(route.path.format(**names), headers=key)).status_code != 403
    } == {"/v1/session", "/v1/certificate-key", "/v1/feed"}, "who it is itself, a public key, and which tokens are dead"


async def test_while_the_store_is_away_a_key_is_not_called_wrong(api: httpx.AsyncClient, own_link: Link) -> None:
    """Issue 22: a client that hears 401 throws its key away."""
    _, key = await made(api, "viewer")
    away = Link(dict.fromkeys(("store", "queue"), Endpoint("unix/:/nowhere", "nobody", "")))
    app = api_of(newsroom_over(away), Ring(store=Store(away), node="n1"), away, KEY).app()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://node") as client:
        assert (await client.get("/v1/session", headers=key)).status_code == 503
        assert (await client.post("/v1/session", json={"key": key["authorization"].split()[1]})).status_code == 503
        assert (await client.get("/v1/session", headers=OWN)).status_code == 200
        assert (await client.get("/v1/session", headers={"authorization": "Bearer guess"})).status_code == 401


async def test_guesses_do_not_displace_a_key_that_holds_while_the_store_is_away(
    own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 22: 2,000 guesses from anywhere, and a known key held no longer."""
    monkeypatch.setattr("broadside.access.known_rows.REMEMBERED", 5)
    keyring = Keyring(AccessStore(own_link), "n1", lambda: "own", lambda: None)
    made = await keyring.add(KeyRequest(name="a", role="viewer"))
    assert (await keyring.holder(made.key)) is not None
    for n in range(10):
        assert (await keyring.holder(f"bsk_aaaaaaaa_{n:043}")) is None
    keyring._store = AccessStore(Link({"store": Endpoint("unix/:/nowhere", "u", "p")}))
    for known in keyring._rows._known.values():
        known.at -= 200.0
    assert (await keyring.holder(made.key)) is not None


async def test_two_keys_may_use_the_same_idempotency_key(api: httpx.AsyncClient) -> None:
    """Issue 22."""
    await api.post("/v1/subscribers", json=subscriber(1), headers=OWN)
    _, one = await made(api, "operator")
    _, other = await made(api, "operator")
    same = {"idempotency-key": "k"}
    fired = [(await api.post("/v1/campaigns", json=FIRE, headers={**key, **same})).json()["id"] for key in (one, other)]
    assert fired[0] != fired[1]
    assert (await api.post("/v1/campaigns", json=FIRE, headers={**one, **same})).json()["id"] == fired[0]
    wanted = {"name": "a", "role": "viewer"}
    keys = [
        (await api.post("/v1/keys", json=wanted, headers={**key, **same})).json()["key"] for key in (one, other, one)
    ]
    assert keys[0] == keys[2] != keys[1], "nobody gets another's answer"


async def test_no_secret_is_in_a_log_the_figures_the_status_or_the_audit(api: httpx.AsyncClient) -> None:
    """Issue 22."""
    with structlog.testing.capture_logs() as lines:
        id, key = await made(api, "editor")
        secret = key["authorization"].split()[1]
        cookie, said = await logged_in(api, key=secret)
        code = (await api.post("/v1/session/link", headers=OWN)).json()["url"].partition("#")[2]
        await api.post("/v1/subscribers", json=subscriber(1), headers=OWN)
        await api.post("/v1/campaigns", json=FIRE, headers={**cookie, "x-csrf-token": said["csrf"]})
        await api.delete("/v1/subscribers", params={k: subscriber(1)[k] for k in ("channel", "token")}, headers=OWN)
        guess = f"{secret[:-1]}{'A' if secret[-1] != 'A' else 'B'}"
        await api.get("/v1/status", headers={"authorization": f"Bearer {guess}"})
        await api.post("/v1/session", json={"key": guess})
        seen = [repr(lines)]
        for path in ("/v1/status", "/metrics", "/v1/audit", "/v1/keys", "/readyz"):
            answer = await api.get(path, headers=OWN)
            assert answer.status_code == 200, answer.text
            seen.append(answer.text)
    assert id in seen[3]
    secrets = [KEY, secret, guess, cookie["cookie"].partition("=")[2], said["csrf"], code, subscriber(1)["token"]]
    assert not [each for each in secrets for text in seen if each in text]


@pytest.mark.parametrize("body", [{}, {"key": "a", "code": "b"}])
async def test_a_log_in_wants_one_of_key_and_code(api: httpx.AsyncClient, body: dict[str, str]) -> None:
    assert (await api.post("/v1/session", json=body)).status_code == 400


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("node", 200),
        ("127.0.0.1:8765", 200),
        ("[::1]:8765", 200),
        ("localhost:1", 200),
        ("evil.example", 421),
        ("node.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
async def test_a_page_of_another_name_reaches_nothing(api: httpx.AsyncClient, host: str, status: int) -> None:
    answer = await api.get("/v1/campaigns", headers={**OWN, "host": host})
    assert answer.status_code == status, answer.text
    assert (await api.get("/healthz", headers={"host": host})).status_code == 200


PASSED_ON = {
    "forwarded": "for=127.0.0.1;host=node;proto=https",
    "x-forwarded-for": "127.0.0.1",
    "x-forwarded-host": "node",
    "x-forwarded-proto": "https",
    "x-real-ip": "127.0.0.1",
}


async def test_what_a_proxy_would_say_of_a_request_is_believed_of_nobody(api: httpx.AsyncClient) -> None:
    """Issue 22: neither the name, nor the origin, nor TLS, nor the address."""
    answer = await api.get("/v1/campaigns", headers={**OWN, **PASSED_ON, "host": "evil.example"})
    assert answer.status_code == 421
    evil = {**PASSED_ON, "origin": "https://evil.example", "x-forwarded-host": "evil.example"}
    assert (await api.post("/v1/session", json={"key": KEY}, headers=evil)).status_code == 403
    answer = await api.post("/v1/session", json={"key": KEY}, headers=PASSED_ON)
    assert "secure" not in answer.headers["set-cookie"].lower()
    link = (await api.post("/v1/session/link", headers={**OWN, **PASSED_ON})).json()
    assert link["url"].startswith("http://node/login#")


# -- the audit ---------------------------------------------------------------------------------------------------------


async def test_every_change_is_in_the_audit_and_nothing_else(api: httpx.AsyncClient) -> None:
    id, key = await made(api, "editor")
    await api.post("/v1/subscribers", json=subscriber(1), headers=OWN)
    fired = (await api.post("/v1/campaigns", json=FIRE, headers=key)).json()["id"]
    await api.get("/v1/campaigns", headers=key)
    await api.post(f"/v1/campaigns/{fired}/cancel", headers=key)
    await api.post("/v1/campaigns", json={}, headers=key)
    page = (await api.get("/v1/audit", headers=OWN)).json()
    told = [(each["name"], each["action"], each["about"]) for each in page["entries"]]
    assert told == [
        ("editor", "POST /v1/campaigns/{id}/cancel", fired),
        ("editor", "POST /v1/campaigns", fired),
        ("n1 itself", "POST /v1/keys", id),
    ]
    assert page["entries"][0]["key"] == id
    assert page["entries"][2]["detail"] == {"name": "editor", "role": "editor"}
    assert page["next"] is None
    first = (await api.get("/v1/audit?limit=1", headers=OWN)).json()
    rest = (await api.get(f"/v1/audit?limit=10&cursor={first['next']}", headers=OWN)).json()
    assert [*first["entries"], *rest["entries"]] == page["entries"]


async def test_the_audit_says_what_was_fired_and_never_at_whom(api: httpx.AsyncClient) -> None:
    """Issue 22.2: an entry had the campaign's id alone; a dry run had one too, as if it had fired."""
    message = {"title": "<b>" + "Flood " * 40, "body": "Leave the valley"}
    when = (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds")
    wanted = {"message": message, "channels": ["ios"], "kind": "breaking", "when": when}
    audience = {"subscribers": [subscriber(1)["token"]]}
    assert (await api.post("/v1/campaigns", json={**wanted, "dry_run": True}, headers=OWN)).status_code == 200
    await api.post("/v1/subscribers", json=subscriber(1), headers=OWN)
    assert (await api.post("/v1/campaigns", json={**wanted, "audience": audience}, headers=OWN)).status_code == 201
    answer = await api.get("/v1/audit", headers=OWN)
    (entry,) = answer.json()["entries"]
    title = entry["detail"].pop("message.title")
    assert entry["detail"] == {"channels": ["ios"], "kind": "breaking", "when": when}
    assert len(title) == 80
    assert title == message["title"][:79] + "…"
    assert subscriber(1)["token"] not in answer.text
    assert "valley" not in answer.text


async def test_a_stream_ends_with_its_key(api: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadside.console.calls.LOOK_EVERY", 0.05)
    id, key = await made(api, "viewer")
    await api.post("/v1/subscribers", json=subscriber(1), headers=OWN)
    fired = (await api.post("/v1/campaigns", json=FIRE, headers=OWN)).json()["id"]
    ended: list[int] = []

    async def watch() -> None:
        answer = await api.get(f"/v1/campaigns/{fired}/progress", headers=key)
        ended.append(answer.status_code)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await trio.sleep(0.3)
            assert ended == []
            await api.post(f"/v1/keys/{id}/revoke", headers=OWN)
    assert ended == [200]
