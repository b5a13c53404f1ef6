"""A campaign in three languages through a real node: each phone gets the text of its locale, as previewed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from simulators.ledger import Entry, read_ledger
from tests.broadside.test_node_end_to_end import NodeProcess
from transports.webpush.tokens import sample

CONFIG = """\
[node]
workers = 1
[http]
bind = "127.0.0.1:0"
[channels.ios]
platform = "apns"
app = "com.example.news"
twin = true
[channels.android]
platform = "fcm"
app = "example-news"
twin = true
quiet_channel = "quiet"
android_v2 = ">=5.0"
[channels.android-old]
platform = "fcm"
app = "example-old"
twin = true
[channels.web]
platform = "webpush"
app = "https://news.example.com"
twin = true
[kinds.gossip]
quiet = "silent"
quiet_hours = "21:30-09:00"
"""
RUNNER = """
import sys
from pathlib import Path
from broadside.config.config import load
from broadside.node.program import run_node
sys.exit(run_node(load(Path(sys.argv[1]) / "broadside.toml")))
"""
NEWS = {
    "title": "Storm",
    "body": "Stay inside, {first_name|friend}",
    "texts": {"pt": {"body": 'Fique em casa, {first_name|"amigo"}'}, "ar": {"title": "عاصفة", "body": "👩‍👩‍👧\u2028"}},
    "platforms": {"fcm": {"texts": {"pt": {"title": "Tempestade"}}}},
    "thread": "storm-7",
}
PEOPLE = [
    ("en-GB", '{"first_name": "Ada"}', "Storm", "Stay inside, Ada"),
    ("", "", "Storm", "Stay inside, friend"),
    ("pt-BR", '{"first_name": "Zoë \\"Z\\" Ölçer"}', None, 'Fique em casa, Zoë "Z" Ölçer'),
    ("pt", "", None, 'Fique em casa, "amigo"'),
    ("ar-EG", '{"first_name": "x"}', "عاصفة", "👩‍👩‍👧\u2028"),
    ("de", '{"team": "Reds"}', "Storm", "Stay inside, friend"),
]

VERSIONS = ["4.9", "", "4.10", "", "5.2", "5.0"]
"""Their apps: the channel android sends Google's second form to the last two."""


def token(channel: str, number: int) -> str:
    if channel == "web":  # as a browser gives it
        endpoint, _, keys = sample(f"{number:064x}").partition("#")
        p256dh, _, auth = keys.partition(".")
        return json.dumps({"endpoint": endpoint, "expirationTime": None, "keys": {"p256dh": p256dh, "auth": auth}})
    return f"{number:064x}" if channel == "ios" else f"{number:022}:APA91b{number:064}"


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    (tmp_path / "broadside.toml").write_text(CONFIG)
    for platform in ("apns", "fcm", "webpush"):
        script = tmp_path / "var" / "twins" / f"{platform}.script.toml"
        script.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        script.write_text("bodies = true\n")
    (tmp_path / "var").chmod(0o700)
    node = NodeProcess(tmp_path)
    node.runner = RUNNER
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


def broadside(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and standard output."""
    command = [sys.executable, "-m", "broadside.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout or done.stderr


def entries(node: NodeProcess, platform: str) -> dict[str, Entry]:
    return {entry.token: entry for entry in read_ledger(node.data / "twins" / f"{platform}.ledger")}


def ledger_token(channel: str, number: int) -> str:
    """A phone as its twin's ledger has it: a browser by its endpoint."""
    found = token(channel, number)
    return str(json.loads(found)["endpoint"]) if channel == "web" else found


def shown(platform: str, body: str) -> tuple[str | None, str | None]:
    plain: Any = json.loads(body)
    if platform == "webpush":
        part = plain["notification"]
    else:
        part = plain["aps"]["alert"] if platform == "apns" else plain["message"]["notification"]
    return part.get("title"), part.get("body")


def previewed_as(preview: str, body: str, token: str) -> str:
    """A preview for Google with a phone's token, and with the seconds that were left when it was sent."""
    stated, left = (json.loads(each)["message"]["android"]["ttl"] for each in (preview, body))
    preview = preview.replace(f"{'0' * 22}:APA91b{'0' * 64}", token)
    return preview.replace(f'"{stated}"', f'"{left}"').replace(f'"TTL":"{stated[:-1]}"', f'"TTL":"{left[:-1]}"')


@pytest.mark.timeout(300)
def test_each_phone_gets_the_text_of_its_language_and_the_preview_shows_its_bytes(node: NodeProcess) -> None:
    folder = node.folder
    node.start().wait_for("serving;", 100)
    rows = [
        json.dumps(
            {"channel": channel, "token": token(channel, n), "locale": locale, "app_version": VERSIONS[n]}
            | ({"fields": json.loads(own)} if own else {})
        )
        for channel in ("ios", "android", "web")
        for n, (locale, own, *_) in enumerate(PEOPLE)
    ]
    (folder / "base.ndjson").write_text("\n".join(rows) + "\n")
    (folder / "news.json").write_text(json.dumps(NEWS))
    code, said = broadside(folder, "subscribers", "import", "base.ndjson")
    assert code == 0, said

    # what no platform can carry is refused before anything is stored, by language and platform
    long = NEWS | {"texts": {"pt": {"body": "x" * 4_090}}}
    (folder / "long.json").write_text(json.dumps(long))
    code, said = broadside(folder, "fire", "--message", "long.json", "--channel", "ios")
    assert code == 2, said
    assert "message.texts.pt: 41" in said
    assert "bytes for APNs, which takes 4096" in said
    assert "too many" in said
    assert json.loads(broadside(folder, "campaign", "list", "--json")[1])["campaigns"] == []

    code, said = broadside(folder, "fire", "--message", "news.json", "--wait", "--json")
    assert code == 0, said
    report = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    for channel, platform in (("ios", "apns"), ("android", "fcm"), ("web", "webpush")):
        assert report["channels"][channel]["delivered"] == len(PEOPLE)
        got = entries(node, platform)
        for number, (_, _, title, body) in enumerate(PEOPLE):
            entry = got[ledger_token(channel, number)]
            if title is None and platform == "fcm":
                title = "Tempestade"
            said_there = (title, body)
            if title is None and platform == "webpush":
                said_there = (body, None)  # a browser shows nothing without a title
            assert shown(platform, entry.body or "") == said_there
            assert (entry.asleep, entry.collapse) == (False, report["id"])

    forms = [json.loads(entries(node, "fcm")[token("android", n)].body or "")["message"] for n in range(len(PEOPLE))]
    assert ["android_v2" in form for form in forms] == [False] * 4 + [True] * 2

    # the preview of this campaign, byte by byte, for the phones without a name of their own
    previewed = json.loads(broadside(folder, "campaign", "preview", report["id"], "--json")[1])["channels"]
    for channel, platform in (("ios", "apns"), ("android", "fcm"), ("web", "webpush")):
        awake = {each["locale"]: each for each in previewed[channel]["texts"] if each["presentation"] == "awake"}
        for number, locale in ((1, ""), (3, "pt")):
            body = entries(node, platform)[ledger_token(channel, number)].body
            assert body is not None
            preview = awake[locale]["body"]
            assert body == (previewed_as(preview, body, token(channel, number)) if platform == "fcm" else preview)
    assert {each["presentation"] for each in previewed["android"]["texts"]} == {"awake", "asleep"}
    apps = {each["apps"]: "android_v2" in each["body"] for each in previewed["android"]["texts"]}
    assert apps == {">=5.0": True, "others": False, "": False}
    assert previewed["android"]["objections"] == {}

    code, said = broadside(folder, "campaign", "preview", "--body", "x" * 121, "--channel", "ios")
    assert code == 0
    assert "ios (apns), default text, awake: 1" in said
    assert "note: the body has 121 characters: most phones cut it" in said
    assert "apns-priority: 5\n" in said

    # 21.3: where nothing can be shown asleep, silent means hold: the preview says so, and so does Fire
    code, said = broadside(folder, "campaign", "preview", "--body", "x", "--kind", "gossip")
    assert code == 0
    assert "android (fcm), in quiet hours 21:30-09:00: shown at once, without a sound\n" in said
    held = "android-old (fcm), in quiet hours 21:30-09:00: held until the end of quiet hours; silent means hold on "
    assert held in said
    code, said = broadside(folder, "fire", "--body", "x", "--kind", "gossip", "--json")
    assert code == 0, said
    fired = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    assert fired["notes"][0].startswith("silent means hold on android-old, ")
    assert (
        "at night  21:30-09:00: shown at once, without a sound" in broadside(folder, "campaign", "show", fired["id"])[1]
    )
    assert node.end() == 0
