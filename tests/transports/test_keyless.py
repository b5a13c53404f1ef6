"""Google's access tokens without a key file, against the twin's metadata server and token exchange."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from simulators.serving.service import TwinReady, serve_twin
from transports.contract import TransportSettings
from transports.errors import ConnectionLost, CredentialsError
from transports.fcm import keyless
from transports.fcm.transport import build
from transports.token_grants import GrantRefused

PROJECT = "twin-project"


@contextlib.asynccontextmanager
async def twin(folder: Path) -> AsyncIterator[TwinReady]:
    """A running twin of Google."""
    ready: list[TwinReady] = []
    up = trio.Event()

    def announce(said: TwinReady) -> None:
        ready.append(said)
        up.set()

    async def serve() -> None:
        await serve_twin("fcm", directory=folder, ledger=folder / "ledger", announce=announce, app=(PROJECT,))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await up.wait()
        yield ready[0]
        nursery.cancel_scope.cancel()


def settings(ready: TwinReady, credentials: dict[str, str]) -> TransportSettings:
    return TransportSettings(
        channel="c", platform="fcm", app=PROJECT, credentials=credentials, origin=ready.origin, ca=Path(ready.ca)
    )


def external(ready: TwinReady) -> Path:
    return Path(ready.directory) / "external-account.json"


@pytest.mark.parametrize("way", ["metadata_server", "workload_identity"])
async def test_a_channel_without_a_key_file_pushes(
    way: str, tmp_path: Path, fast: Any, running: Any, make_batch: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """E6: organisations forbid key files."""
    async with twin(tmp_path / "twin") as ready:
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{ready.port}")
        given = "default" if way == "metadata_server" else str(external(ready))
        async with running(build(settings(ready, {way: given}), **fast)) as transport:
            with trio.fail_after(10):
                outcomes = await transport.send(make_batch(tokens=[f"fcm{n:05d}:APA91b_{n:0140x}" for n in range(20)]))
        assert outcomes.delivered == 20, outcomes
        assert len((Path(ready.directory) / "ledger").read_text().splitlines()) == 20


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda ready: (Path(ready.directory) / "subject-token").write_text("stolen"), "the workload's identity"),
        (
            lambda ready: external(ready).write_text(
                external(ready).read_text().replace("providers/twin", "providers/x")
            ),
            "the workload's identity (invalid_request: audience must be",
        ),
    ],
)
async def test_a_refused_identity_is_a_sentence(tmp_path: Path, break_it: Any, says: str) -> None:
    async with twin(tmp_path / "twin") as ready:
        source, _ = keyless.source({"workload_identity": str(external(ready))}, Path(ready.ca))
        assert (await source.ask()).seconds == pytest.approx(3600, abs=5)
        break_it(ready)
        source, _ = keyless.source({"workload_identity": str(external(ready))}, Path(ready.ca))
        with pytest.raises(GrantRefused) as caught:
            await source.ask()
        assert says in str(caught.value)
        assert "check the pool's provider" in str(caught.value)


async def test_an_identity_that_may_not_be_the_account_is_a_sentence(tmp_path: Path) -> None:
    async with twin(tmp_path / "twin") as ready:
        text = external(ready).read_text()
        external(ready).write_text(text.replace("serviceAccounts/twin@", "serviceAccounts/other@"))
        source, _ = keyless.source({"workload_identity": str(external(ready))}, Path(ready.ca))
        with pytest.raises(GrantRefused, match="to let the workload be its service account"):
            await source.ask()


async def test_a_machine_without_such_an_account_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with twin(tmp_path / "twin") as ready:
        monkeypatch.setenv("GCE_METADATA_HOST", f"127.0.0.1:{ready.port}")
        source, _ = keyless.source({"metadata_server": "nobody@example.iam.gserviceaccount.com"})
        with pytest.raises(GrantRefused, match="this machine's identity"):
            await source.ask()


async def test_the_platforms_token_is_read_anew_and_may_be_a_field_of_a_document(tmp_path: Path) -> None:
    async with twin(tmp_path / "twin") as ready:
        found = json.loads(external(ready).read_text())
        file = tmp_path / "token.json"
        form = {"type": "json", "subject_token_field_name": "id_token"}
        found["credential_source"] = {"file": str(file), "format": form}
        external(ready).write_text(json.dumps(found))
        source, _ = keyless.source({"workload_identity": str(external(ready))}, Path(ready.ca))
        with pytest.raises(ConnectionLost, match="No such file"):
            await source.ask()
        file.write_text("{}")
        with pytest.raises(ConnectionLost, match="holds no token"):
            await source.ask()
        file.write_text(json.dumps({"id_token": (Path(ready.directory) / "subject-token").read_text().strip()}))
        assert (await source.ask()).token.startswith("ya29.twin-")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"type": "service_account"}, "not external_account; a key of a service account is given as service_account"),
        ({"audience": ""}, "has no audience"),
        ({"token_url": "http://sts.example"}, "is not https"),
        ({"credential_source": {}}, "neither file nor url"),
        ({"credential_source": {"file": "/t", "format": {"type": "xml"}}}, "neither text nor json"),
        ({"audience": 5}, "cannot be read"),
    ],
)
def test_a_file_that_cannot_serve_is_refused_with_its_field(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    good = {
        "type": "external_account", "audience": "//iam", "subject_token_type": "jwt", "token_url": "https://sts.example",
        "credential_source": {"file": "/token"},
    }  # fmt: skip
    file = tmp_path / "external.json"
    file.write_text(json.dumps(good | change))
    with pytest.raises(CredentialsError, match="workload_identity") as caught:
        keyless.source({"workload_identity": str(file)})
    assert says in str(caught.value)


def test_an_account_of_the_machine_is_default_or_an_address() -> None:
    with pytest.raises(CredentialsError, match='"default" or an e-mail address'):
        keyless.source({"metadata_server": "../../x"})
