"""What is asked for before Fire: the configured hosts alone, each hook for its own time, and no Fire waits for more."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio

from broadside.config.config import load
from broadside.config.outward_tables import Hook
from broadside.errors import ConfigError
from broadside.outward.fire_hooks import FireHooks
from broadside.outward.guarded_web import GuardedWeb, name_of
from campaigns.message import Message
from tests.broadside.outward_server import Asked, OutwardServer

STORY = Message(title="t", body="b", url="http://127.0.0.1/x")


@pytest.fixture
def server() -> Iterator[OutwardServer]:
    server = OutwardServer()
    yield server
    server.end()


def hooks(server: OutwardServer, *given: Hook) -> FireHooks:
    site = GuardedWeb([f"127.0.0.1:{server.port}"])
    return FireHooks(given, lambda url: GuardedWeb([name_of(httpx.URL(url))]), site)


async def test_a_page_is_warmed_a_cache_is_purged_and_a_picture_is_looked_at(
    server: OutwardServer, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text("Bearer of-the-cdn\n")
    picture = {"content-type": "image/jpeg", "content-length": "412345"}
    server.answer = lambda asked: (200, picture if asked.method == "HEAD" else {}, b"")
    purge = f"{server.url}/purge?page={{url}}&again=1"
    said = await hooks(
        server,
        Hook(name="warm", url="{url}"),
        Hook(name="purge", url=purge, method="PURGE", authorization_file=secret),
        Hook(name="picture", url="{image}", method="HEAD"),
    ).before(Message(title="t", body="b", url=f"{server.url}/story?a=1&b=ü", image=f"{server.url}/p.jpg"))
    asked = {each.method: each for each in server.asked}
    assert asked["GET"].path == "/story?a=1&b=%C3%BC"
    assert asked["PURGE"].path.startswith("/purge?page=http%3A%2F%2F127.0.0.1")
    assert asked["PURGE"].path.endswith("&again=1"), "the link cannot add a parameter of its own"
    assert asked["PURGE"].headers["authorization"] == "Bearer of-the-cdn"
    assert "authorization" not in asked["GET"].headers, "a link of an editor gets no secret"
    assert [sentence.split(":")[0] for sentence in said] == ["hook warm", "hook purge", "hook picture"]
    assert "image/jpeg" in said[2]
    assert "412,345 bytes" in said[2]
    assert "of-the-cdn" not in "".join(said)


async def test_a_hook_without_something_to_ask_for_is_left_out(server: OutwardServer) -> None:
    found = await hooks(server, Hook(name="picture", url="{image}"), Hook(name="warm", url="{url}")).before(
        Message(title="t", body="b")
    )
    assert (found, server.asked) == ([], [])


async def test_hooks_run_at_once_and_hold_nobody_for_longer_than_their_time(server: OutwardServer) -> None:
    """Issue 25.3."""
    server.stall = 5.0
    given = [Hook(name=f"h{n}", url=f"{server.url}/{n}", within=0.5) for n in range(5)]
    began = trio.current_time()
    said = await hooks(server, *given).before(STORY)
    assert trio.current_time() - began < 1.5, "five hooks of half a second each"
    assert all("no answer came within 0.5 s" in each and "fired without it" in each for each in said)


@pytest.mark.parametrize(
    ("status", "headers", "word"),
    [
        (500, {}, "answers 500; the campaign was fired without it"),
        (200, {"content-type": "text/html"}, "phones will not show it"),
        (200, {"content-type": "image/png", "content-length": "3000000"}, "1 MB is the most"),
        (200, {"content-type": "image/png", "content-length": "9" * 40}, "does not answer as a web server"),
        (302, {"location": "http://169.254.169.254/"}, "answers 302"),
    ],
)
async def test_what_is_wrong_with_a_picture_is_said(
    server: OutwardServer, status: int, headers: dict[str, str], word: str
) -> None:
    server.answer = lambda asked: (status, headers, b"")
    message = Message(title="t", body="b", image=f"{server.url}/p.png")
    (said,) = await hooks(server, Hook(name="picture", url="{image}", method="HEAD")).before(message)
    assert word in said
    assert len(server.asked) == 1, "a redirect is not followed"


@pytest.mark.parametrize(
    "url", ["http://other.example.org/", "file:///etc/passwd", "http://[::1", "http://127.0.0.1:1/"]
)
async def test_an_editor_s_link_leads_nowhere_but_to_the_newsroom_s_own_hosts(server: OutwardServer, url: str) -> None:
    (said,) = await hooks(server, Hook(name="warm", url="{url}")).before(Message(title="t", body="b", url=url))
    assert "fired without it" in said
    assert server.asked == []


async def test_an_endless_answer_is_read_for_no_longer_than_it_may_be(server: OutwardServer) -> None:
    def endless(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        return 200, {}, b"x" * (1 << 24)

    server.answer = endless
    began = time.monotonic()
    (said,) = await hooks(server, Hook(name="warm", url=f"{server.url}/")).before(STORY)
    assert "done" in said
    assert time.monotonic() - began < 2.5


BASE = """
[channels.ios]
platform = "apns"
app = "com.example.news"
twin = true
"""


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('[[hooks]]\nname = "a"\nurl = "ftp://x/"', "hooks[0].url"),
        ('[[hooks]]\nname = "a"\nurl = "https://{url}.example.com/"', "placeholder in its path"),
        ('[[hooks]]\nname = "a"\nurl = "https://x.example.com/?p={story}"', "{story}"),
        ('[[hooks]]\nname = "a"\nurl = "https://u:p@x.example.com/"', "a secret does not belong"),
        ('[[hooks]]\nname = "a"\nurl = "{url}"\nwithin = 60', "hooks[0].within"),
        ('[[hooks]]\nname = "a"\nurl = "{url}"\nauthorization_env = "PATH"', "a link of an editor gets no secret"),
        ('[[hooks]]\nname = "a"\nurl = "{url}"\n[[hooks]]\nname = "a"\nurl = "{url}"', "is the name of another"),
        ('[[webhooks]]\nname = "a"\nurl = "http://hooks.example.com/"\nsecret_env = "PATH"', "is not https"),
        ('[[webhooks]]\nname = "a"\nurl = "https://hooks.example.com/"', "has no secret"),
        ('[[webhooks]]\nname = "a"\nurl = "https://h.example.com/"\nsecret_env = "BROADSIDE_NO_SUCH"', "is not set"),
        ('[[webhooks]]\nname = "a"\nurl = "https://h.example.com/"\nsecret_env = "SHORT_SECRET"', "too short"),
        ("[herd]\nrate = -1", "herd.rate"),
        ('[herd]\nhealth_url = "nowhere"', "herd.health_url"),
        ('[herd]\nramp = "soon"', "herd.ramp"),
        ("[herd]\nramp_seconds = 3", "unknown key"),
        ("[herd]\ntarget = 1.5", "herd.target"),
        ("[kinds.digest]\nrate = -1", "kinds.digest.rate"),
    ],
)
def test_a_mistake_in_the_configuration_is_named(
    table: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHORT_SECRET", "short")
    file = tmp_path / "broadside.toml"
    file.write_text(BASE + table)
    with pytest.raises(ConfigError) as refused:
        load(file)
    assert problem in str(refused.value)
    assert str(refused.value) != "short"


def test_a_whole_configuration_is_read_and_its_secrets_reach_no_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_SECRET", "0123456789abcdef0123456789abcdef")
    monkeypatch.setenv("CDN_TOKEN", "Bearer x")
    file = tmp_path / "broadside.toml"
    file.write_text(
        BASE
        + """
[herd]
rate = 2000
ramp = "30s"
health_url = "https://www.example.com/health"
posted = true
[kinds.breaking]
rate = 0
[[hooks]]
name = "purge"
url = "https://cdn.example.com/purge?page={url}"
method = "POST"
authorization_env = "CDN_TOKEN"
[[webhooks]]
name = "crm"
url = "https://hooks.example.com/broadside"
secret_env = "CRM_SECRET"
"""
    )
    config = load(file)
    assert (config.herd.rate, config.herd.ramp_seconds, config.herd.governed) == (2000, 30, True)
    assert config.kinds["breaking"].rate == 0
    assert config.hooks[0].authorization() == "Bearer x"
    assert config.webhooks[0].secret() == "0123456789abcdef0123456789abcdef"
    assert config.secret_variables() >= {"CRM_SECRET", "CDN_TOKEN"}
    assert "0123456789abcdef" not in repr(config)
