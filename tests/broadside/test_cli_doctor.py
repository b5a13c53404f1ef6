"""The doctor says one line for each thing, and what to do about what is wrong."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from broadside import cli
from broadside.config.http import Http
from broadside.config.put_channels import PutChannels
from broadside.datafolder import DataFolder
from broadside.doctor import checks
from tests.broadside.fake_node import broadside, folder, node

__all__ = ["broadside", "folder", "node"]  # fixtures


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@contextmanager
def tls_server(authority: trustme.CA, protocols: list[str]) -> Iterator[int]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    context.set_alpn_protocols(protocols)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                link, _ = listener.accept()
                with link, context.wrap_socket(link, server_side=True) as secured:
                    secured.recv(1)
            except OSError:
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def write_authority(authority: trustme.CA, path: Path) -> Path:
    authority.cert_pem.write_to_path(str(path))
    return path


def test_the_demo_is_well(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor"]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert all(line.startswith("ok ") for line in lines)
    assert [line.split(":")[0][3:] for line in lines] == [
        "configuration",
        "data folder",
        "node",
        "tarantool",
        "ios-news",
        "android-news",
    ]


def test_what_is_wrong_is_told_with_the_remedy(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    DataFolder(tmp_path / "var").create()
    (tmp_path / "var").chmod(0o755)
    assert cli.run(["doctor", "--json"]) == 1
    found = json.loads(capfd.readouterr().out)
    bad = {check["name"]: check for check in found["checks"] if not check["ok"]}
    assert found["ok"] is False
    assert set(bad) == {"data folder", "tarantool"}
    assert "chmod 700" in bad["data folder"]["text"]
    assert "apt-get install tarantool" in bad["tarantool"]["remedy"]


def test_every_mistake_in_the_configuration_is_a_line(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "broadside.toml").write_text("[node]\nworkers = 0\n[htp]\n")
    assert cli.run(["doctor"]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("!! configuration: ") for line in lines)


def test_a_kind_that_is_silent_on_a_channel_that_always_rings_is_a_warning(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """21.3: silent means hold there. It may be meant so: nothing is wrong, and the exit code is 0."""
    channels = '[channels.{}]\nplatform = "{}"\napp = "example-news"\ntwin = true\n'
    both = channels.format("ios", "apns") + channels.format("old", "fcm")
    named = both + channels.format("new", "fcm") + 'quiet_channel = "quiet"\n'
    silent = '[kinds.gossip]\nquiet = "silent"\n'
    off = '[newsroom]\nquiet = "off"\n'
    own = 'quiet_hours = "21:00-09:00"\n'
    told = []
    for text in (named + silent, off + named + silent, off + named + silent + own, named):
        (tmp_path / "broadside.toml").write_text(text)
        assert cli.run(["doctor"]) == 0
        # whether anything keeps the clock right is this machine's business
        said = capfd.readouterr().out.splitlines()
        told.append([line for line in said if line.startswith("??") and not line.startswith("?? clock")])
    warning = (
        '?? old: it names no quiet_channel, so at night pushes of gossip (quiet = "silent") are held, not shown '
        'silently (quiet_channel = "ID" in [channels.old]: the app\'s own notification channel without sound)'
    )
    assert told == [[warning], [], [warning], []]


def test_bad_credentials_and_an_unreachable_store_are_told(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for name in ("key.p8", "password"):
        (tmp_path / name).write_text("nonsense")
        (tmp_path / name).chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    (tmp_path / "broadside.toml").write_text(
        f"""
        [store]
        uri = "127.0.0.1:{port}"
        password_file = "password"
        [channels.ios]
        platform = "apns"
        app = "com.example.news"
        origin = "https://127.0.0.1:{port}"
        credentials = {{ key = "key.p8", key_id = "ABC123DEFG", team_id = "DEF123GHIJ" }}
        """
    )
    assert cli.run(["doctor"]) == 1
    bad = [line for line in capfd.readouterr().out.splitlines() if line.startswith("!! ")]
    assert len(bad) == 3
    assert bad[0].startswith(f"!! store: 127.0.0.1:{port}: connection refused")
    assert bad[1].startswith("!! ios: ")
    assert bad[2].startswith(f"!! ios: 127.0.0.1:{port}: connection refused")


def test_a_provider_is_reached_as_far_as_http2(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = write_authority(authority, tmp_path / "ca.pem")
    with tls_server(authority, ["h2"]) as port:
        found = checks.reachable("ios", f"https://localhost:{port}", ca)
    assert found.ok
    assert found.text == f"localhost:{port} answers (TLSv1.3, HTTP/2)"


def test_a_server_without_http2_is_told(tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = write_authority(authority, tmp_path / "ca.pem")
    with tls_server(authority, ["http/1.1"]) as port:
        found = checks.reachable("ios", f"https://localhost:{port}", ca)
    assert not found.ok
    assert "does not speak HTTP/2" in found.text


@pytest.mark.parametrize(("speaks", "word"), [(["h2"], "HTTP/2"), (["http/1.1"], "HTTP/1.1"), ([], "HTTP/1.1")])
def test_a_platform_that_takes_either_http_is_content_with_what_there_is(
    tmp_path: Path, speaks: list[str], word: str
) -> None:
    authority = trustme.CA()
    ca = write_authority(authority, tmp_path / "ca.pem")
    with tls_server(authority, speaks) as port:
        found = checks.reachable("mail", f"https://localhost:{port}", ca, protocols=("h2", "http/1.1"))
    assert found.ok
    assert found.text == f"localhost:{port} answers (TLSv1.3, {word})"


def test_the_channels_that_the_api_has_put_are_looked_at(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broadside.toml").write_text('[channels.ios]\nplatform = "apns"\napp = "news"\ntwin = true\n')
    folder = DataFolder(tmp_path / "var")
    folder.create()
    sport = {"platform": "fcm", "app": "sport", "twin": True}
    put = PutChannels(folder.root)
    put.write({"sport": sport})
    cli.run(["doctor"])
    assert "channels ios (apns), sport (fcm)" in capfd.readouterr().out
    put.write({"sport": sport, "ios": sport, "late": {**sport, "twin": False, "credentials": {"service_account": "x"}}})
    assert cli.run(["doctor"]) == 1
    said = capfd.readouterr().out
    assert "!! configuration: channels.ios: is in broadside.toml, and was put by the API, too" in said
    assert 'channels.late.credentials.service_account: file "x" not found' in said
    assert f"it belongs into {folder.credentials}" in said


def test_a_certificate_of_another_authority_is_told(tmp_path: Path) -> None:
    other = write_authority(trustme.CA(), tmp_path / "other.pem")
    with tls_server(trustme.CA(), ["h2"]) as port:
        found = checks.reachable("ios", f"https://localhost:{port}", other)
    assert not found.ok
    assert "TLS fails" in found.text
    assert "other.pem the right ca?" in found.remedy


@pytest.mark.parametrize(("bind", "mark"), [("127.0.0.1:9765", "ok"), ("0.0.0.0:9765", "??")])
def test_figures_that_other_machines_can_read_are_a_warning(bind: str, mark: str) -> None:
    """Issue 22."""
    (found,) = checks._open_figures(Http(metrics_bind=bind))
    assert str(found).startswith(f"{mark} metrics: {bind} shows /metrics without a key")
    assert ("127.0.0.1" in found.remedy) == found.warning
    assert list(checks._open_figures(Http())) == []
