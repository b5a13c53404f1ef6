"""Several keys, teams and environments, and client certificates: who may push what on which connection."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import jwt
import pytest
import trio

from simulators import twin_credentials as keys
from tests.simulators.conftest import ALERT, Client, StartTwin, Twin, token

TOPIC = "org.example.news"
KEYS = [
    {"key_id": "SAMETEAM02", "team_id": keys.TEAM_ID},
    {"key_id": "SCOPEDKEY3", "team_id": keys.TEAM_ID, "topics": ["org.example.weather"]},
    {"key_id": "OTHERTEAM4", "team_id": "TWINTEAM02"},
    {"key_id": "SANDBOXED5", "team_id": keys.TEAM_ID, "environment": "sandbox"},
]


def signed(folder: keys.Credentials, key_id: str, team_id: str = keys.TEAM_ID, age: int = 0) -> dict[str, str]:
    pem = (folder.directory / f"AuthKey_{key_id}.p8").read_bytes()
    claims = {"iss": team_id, "iat": int(time.time()) - age}
    return {"authorization": "bearer " + jwt.encode(claims, pem, "ES256", headers={"kid": key_id})}


async def push(client: Client, headers: dict[str, str], topic: str | None = TOPIC, number: int = 1) -> tuple[int, str]:
    fields = {"apns-push-type": "alert"} | headers | ({} if topic is None else {"apns-topic": topic})
    answer = await client.ask(f"/3/device/{token(number)}", fields, ALERT)
    return answer.status, json.loads(answer.body)["reason"] if answer.body else ""


@pytest.mark.parametrize(
    ("key_id", "team_id", "topic", "environment", "answer"),
    [
        (keys.KEY_ID, keys.TEAM_ID, TOPIC, "production", (200, "")),
        ("SAMETEAM02", keys.TEAM_ID, TOPIC, "production", (200, "")),
        ("OTHERTEAM4", "TWINTEAM02", TOPIC, "production", (200, "")),
        ("OTHERTEAM4", keys.TEAM_ID, TOPIC, "production", (403, "InvalidProviderToken")),
        ("SCOPEDKEY3", keys.TEAM_ID, "org.example.weather", "production", (200, "")),
        ("SCOPEDKEY3", keys.TEAM_ID, TOPIC, "production", (400, "TopicDisallowed")),
        ("SANDBOXED5", keys.TEAM_ID, TOPIC, "sandbox", (200, "")),
        ("SANDBOXED5", keys.TEAM_ID, TOPIC, "production", (403, "BadEnvironmentKeyIdInToken")),
    ],
)
async def test_a_key_is_good_for_its_team_topics_and_environment(
    start_twin: StartTwin,
    folder: keys.Credentials,
    key_id: str,
    team_id: str,
    topic: str,
    environment: str,
    answer: tuple[int, str],
) -> None:
    async with start_twin("apns", keys=KEYS, environment=environment) as twin, twin.connect() as client:
        assert [table["key_id"] for table in twin.ready.keys] == [key["key_id"] for key in KEYS]
        assert await push(client, signed(folder, key_id, team_id), topic) == answer


async def test_the_first_push_binds_a_connection_to_its_team_and_scope(
    start_twin: StartTwin, folder: keys.Credentials
) -> None:
    async with start_twin("apns", keys=KEYS, token_update_seconds=0) as twin:
        async with twin.connect() as client:
            assert await push(client, signed(folder, keys.KEY_ID)) == (200, "")
            assert await push(client, signed(folder, "SAMETEAM02")) == (200, "")
            other = signed(folder, "OTHERTEAM4", "TWINTEAM02")
            assert await push(client, other) == (403, "UnrelatedKeyIdInToken")
            scoped = signed(folder, "SCOPEDKEY3")
            assert await push(client, scoped, "org.example.weather") == (403, "UnrelatedKeyIdInToken")
            assert await push(client, signed(folder, keys.KEY_ID)) == (200, "")
        async with twin.connect() as client:
            assert await push(client, other) == (200, "")


async def test_the_sandbox_names_its_pushes_twice(start_twin: StartTwin, apns_headers: dict[str, str]) -> None:
    for environment, is_named in (("sandbox", True), ("production", False)):
        async with start_twin("apns", environment=environment) as twin, twin.connect() as client:
            for headers in (apns_headers, apns_headers | {"apns-priority": "3"}):
                answer = await client.ask(f"/3/device/{token(1)}", headers, ALERT)
                assert ("apns-unique-id" in answer.headers) == is_named


@contextlib.asynccontextmanager
async def certified(twin: Twin, certificate: str | None) -> AsyncIterator[Client]:
    context = twin.context("h2")
    if certificate is not None:
        context.load_cert_chain(certificate)
    stream = await trio.open_ssl_over_tcp_stream(
        "127.0.0.1", twin.ready.port, ssl_context=context, https_compatible=True
    )
    try:
        await stream.do_handshake()
        client = Client(stream)
        await client.open()
        yield client
    finally:
        await trio.aclose_forcefully(stream)


CERTIFICATES = [
    {"app": TOPIC},
    {"app": "org.example.sandboxed", "environment": "sandbox"},
    {"app": "org.example.revoked", "revoked": True},
]
StartCertified = Callable[..., contextlib.AbstractAsyncContextManager[Twin]]


@pytest.mark.parametrize(
    ("app", "topic", "answer"),
    [
        (TOPIC, TOPIC, (200, "")),
        (TOPIC, None, (200, "")),
        (TOPIC, "org.example.weather", (400, "TopicDisallowed")),
        ("org.example.sandboxed_sandbox", "org.example.sandboxed", (403, "BadCertificateEnvironment")),
        ("org.example.revoked", "org.example.revoked", (403, "BadCertificate")),
    ],
)
async def test_a_certificate_speaks_for_its_connection(
    start_twin: StartTwin, app: str, topic: str | None, answer: tuple[int, str]
) -> None:
    async with start_twin("apns", client_certificates="accept", certificates=CERTIFICATES) as twin:
        path = twin.ready.certificates[f"certificate_{app}.pem"]
        async with certified(twin, path) as client:
            assert client.limits == [1000]
            assert await push(client, {}, topic) == answer
            # With a certificate the header is passed over, whatever it holds.
            assert await push(client, {"authorization": "bearer rubbish"}, topic) == answer
            assert twin.ledger.accepted == (2 if answer[0] == 200 else 0)


async def test_a_certificate_allows_the_push_types_of_its_topics_only(start_twin: StartTwin) -> None:
    async with (
        start_twin("apns", client_certificates="accept", certificates=CERTIFICATES) as twin,
        certified(twin, twin.ready.certificates[f"certificate_{TOPIC}.pem"]) as client,
    ):
        assert await push(client, {"apns-push-type": "voip"}, TOPIC + ".voip") == (200, "")
        location = {"apns-push-type": "location"}
        assert await push(client, location, TOPIC + ".location-query") == (400, "TopicDisallowed")


async def test_without_a_certificate_a_token_does_unless_one_is_demanded(
    start_twin: StartTwin, apns_headers: dict[str, str]
) -> None:
    async with start_twin("apns", client_certificates="accept", app=(TOPIC,)) as twin:
        assert list(twin.ready.certificates) == [f"certificate_{TOPIC}.pem"]
        async with certified(twin, None) as client:
            assert client.limits == [1]
            assert await push(client, {}) == (403, "MissingProviderToken")
            assert await push(client, apns_headers) == (200, "")
    async with start_twin("apns", client_certificates="demand", app=(TOPIC,)) as twin:
        # TLS 1.3 tells a client only after its own part of the handshake.
        with pytest.raises((trio.BrokenResourceError, ssl.SSLError, AssertionError)):
            async with certified(twin, None) as client:
                assert client.limits
        assert twin.ledger.accepted == 0
        async with certified(twin, twin.ready.certificates[f"certificate_{TOPIC}.pem"]) as client:
            assert await push(client, {}) == (200, "")


async def test_a_certificate_of_a_stranger_gets_no_connection(start_twin: StartTwin, tmp_path: Path) -> None:
    stranger = keys.ensure_credentials(tmp_path / "stranger")
    path = keys.ensure_certificate(stranger, TOPIC, None)
    async with start_twin("apns", client_certificates="accept", app=(TOPIC,)) as twin:
        with pytest.raises((trio.BrokenResourceError, ssl.SSLError, AssertionError)):
            async with certified(twin, str(path)) as client:
                assert client.limits


async def test_the_first_streams_can_be_switched(start_twin: StartTwin, apns_headers: dict[str, str]) -> None:
    async with start_twin("apns", first_streams=5, streams=30) as twin, twin.connect() as client:
        assert client.limits == [5]
        assert await push(client, apns_headers) == (200, "")
        await client.read_until(lambda: len(client.limits) > 1)
        assert client.limits == [5, 30]


async def test_an_expired_token_is_refused_by_rule(start_twin: StartTwin, folder: keys.Credentials) -> None:
    async with start_twin("apns") as twin, twin.connect() as client:
        assert await push(client, signed(folder, keys.KEY_ID, age=3601)) == (403, "ExpiredProviderToken")
        assert twin.ledger.whys["ExpiredProviderToken"].startswith("iat is 360")
