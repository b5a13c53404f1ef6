"""The commands in the blocks of README and docs are run: each page's in its order against a real node, with this test's
ids, files and dates. docs/backup.md and docs/deploy.md have tests of their own (test_backup, `./dev follow-page`)."""

from __future__ import annotations

import base64
import csv
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import chdir
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from broadside import cli
from broadside.demo import samples
from tests.broadside.test_node_end_to_end import CHANNELS, NodeProcess
from tests.broadside.test_texts_end_to_end import RUNNER
from tests.test_pages_name_commands import BLOCK, PAGES, ROOT, of_blocks

PHONES = 1200
ID = "2qbsgz3kxm4ta"
"""The campaign of the pages."""
CONFIG = """\
[node]
workers = 1
memory = "128 MB"
[http]
bind = "127.0.0.1:0"
[newsroom]
quiet = "off"
zone = "UTC"
[kinds.sport]
budget = 1
[drill]
every = "7d"
[channels.ios-news]
platform = "apns"
app = "com.example.news"
twin = true
[channels.android-news]
platform = "fcm"
app = "example-news"
twin = true
"""
STORIES = "broadside/test_stories_end_to_end.py"
ELSEWHERE = {
    "./dev test": ".ci/run",
    "./dev check": ".ci/run",
    "./dev run-node": "./dev debian",
    "broadside node": "broadside/test_stopping.py",
    "./dev soak 12 --seed 11": "by hand: 12 minutes",
    "broadside peers forget node-2": "storage/test_pause_and_forget.py",
    "broadside twin apns --ledger ledger.jsonl --script faults.toml --latency 50": "simulators/test_twin_process.py",
    "broadside subscribers import users.csv.gz --preset onesignal --dry-run": "broadside/test_import_anything.py",
    f"broadside campaign approve {ID}": "broadside/test_armed.py",
    "broadside fire --title Goal --body 3:1": "broadside/test_budgets.py",
    "broadside channel put ios-sport sport.toml": "broadside/test_channels_come_and_go.py",
    "broadside channel rotate ios-sport --credential key=AuthKey_NEW.p8 --credential key_id=NEWKEY0001"
    " --credential team_id=TEAM123456": "broadside/test_channels_come_and_go.py",
    "broadside channel remove ios-sport": "broadside/test_channels_come_and_go.py",
    "broadside receipts import /var/log/nginx/receipts.log /var/log/nginx/receipts.log.1.gz": (
        "broadside/test_delivery_truth.py"
    ),
    'broadside story open --name "Cup final" --state kickoff.json --title "Cup final" --body "Kick-off"': STORIES,
    'broadside story update ID --state goal.json --title "1:0" --body "Kane, 57\'" --loud': STORIES,
    'broadside story end ID --state final.json --title "Full time" --body "2:1" --dismiss 15m': STORIES,
    "broadside story list": STORIES,
    "broadside story show ID": STORIES,
    "broadside dead confirm ios-news": "broadside/test_dead_end_to_end.py",
    "broadside dead restore ios-news": "broadside/test_dead_end_to_end.py",
}
"""Commands that need more than a node with phones, and what tries them: a recipe, or a test with other words."""
WITH_OWN_TEST = {"backup.md", "deploy.md"}


def commands(page: Path) -> list[str]:
    """The page's command lines that are run here."""
    lines = [re.sub(r"\s+#.*", "", line) for line in of_blocks(page.read_text())]
    return [line for line in lines if line not in ELSEWHERE]


class Reader:
    """Somebody who follows a page at a node."""

    def __init__(self, node: NodeProcess, page: str, capfd: pytest.CaptureFixture[str]) -> None:
        self.node = node
        self._capfd = capfd
        self.text = (ROOT / page).read_text()
        self.left = commands(ROOT / page)
        self.places: dict[str, str] = {}
        """A word of the page → what stands for it here."""

    def run(self, beginning: str, code: int | None = 0) -> str:
        """Run the page's next command, which begins like this; returns its output, errors included.

        ``code``: its exit code; None: 0 or 1, as the machine is fast.
        """
        line = self.left.pop(0)
        assert line.startswith(beginning), f"the page's next command is {line!r}"
        for place, here in self.places.items():
            line = line.replace(place, here)
        return self.shell(line, code)

    def shell(self, line: str, code: int | None = 0) -> str:
        """Run a command line in the node's folder, ``> FILE`` included."""
        program, *words = shlex.split(line.replace("./dev fire", "broadside fire"))
        assert program == "broadside"
        words, target = (words[:-2], words[-1]) if words[-2:-1] == [">"] else (words, None)
        self._capfd.readouterr()
        with chdir(self.node.folder):
            found = cli.run(words)
        out, err = self._capfd.readouterr()
        assert found in ((0, 1) if code is None else (code,)), f"{line}\n{out}{err}"
        assert "unexpected" not in err
        if target is not None:
            (self.node.folder / target).write_text(out)
        return out + err

    def fire(self, *options: str, title: str) -> str:
        """Fire a campaign of the reader's own; returns its id."""
        words = f"broadside fire --title '{title}' --body 'Stay inside.' {' '.join(options)} --json"
        return str(json.loads(self.shell(words).splitlines()[-1])["id"])

    def block(self, *, having: str) -> str:
        """The page's block of JSON with this in it."""
        return next(block for language, block in BLOCK.findall(self.text) if language == "json" and having in block)

    def ended(self, id: str) -> None:
        self.node.until(lambda: self.node.api(f"/v1/campaigns/{id}")["state"] == "done", "end of the campaign", 60)

    def cancel_all(self) -> None:
        """Cancel what is being sent."""
        for each in json.loads(self.shell("broadside campaign list --json"))["campaigns"]:
            if each["state"] in ("firing", "paused"):
                self.shell(f"broadside campaign cancel {each['id']}")

    def newest(self) -> str:
        return str(self.node.api("/v1/campaigns?limit=1")["items"][0]["id"])


Follow = Callable[[str], Reader]


@pytest.fixture
def follow(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Follow]:
    """Begin a page, at a node with phones."""
    (tmp_path / "broadside.toml").write_text(CONFIG)
    node = NodeProcess(tmp_path, PHONES)
    node.runner = RUNNER
    node.start()
    node.wait_for("serving", 90)
    with (tmp_path / "phones.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["channel", "token", "locale", "tz", "country", "app_version", "tags"])
        for each in samples.subscribers(PHONES, 0.0, CHANNELS):
            rows.writerow(
                [each.channel, each.token, each.locale, each.tz, each.country, each.app_version, ";".join(each.tags)]
            )
    Reader(node, "README.md", capfd).shell("broadside subscribers import phones.csv")
    yield lambda page: Reader(node, page, capfd)
    node.kill()


def test_every_page_with_commands_is_followed_or_has_a_test_of_its_own() -> None:
    here = set(re.findall(r'follow\("([\w/.]+)"\)', Path(__file__).read_text()))
    pages = {str(page.relative_to(ROOT)) for page in PAGES if page.name not in WITH_OWN_TEST and commands(page)}
    assert pages == here
    tests = [each for each in ELSEWHERE.values() if each.endswith(".py")]
    assert all((ROOT / "tests" / each).exists() for each in tests)


@pytest.mark.timeout(240)
def test_readme(follow: Follow) -> None:
    reader = follow("README.md")
    assert "600 delivered" in reader.run('./dev fire --title "hot news"')
    assert "600 delivered" in reader.run('./dev fire --title "hot news"')
    assert "delivered" in reader.run('./dev fire --title "storm"')
    assert "First steps" in reader.run("broadside --help")
    assert reader.left == []


@pytest.mark.timeout(240)
def test_operating(follow: Follow) -> None:
    reader = follow("docs/operating.md")
    (reader.node.folder / "flood.json").write_text(reader.block(having="River Elbe"))
    reader.run('broadside fire --title "Flood warning"')
    (wake,) = re.findall(r"^echo .* > wake\.json$", reader.text, re.M)
    subprocess.run(["sh", "-c", wake], cwd=reader.node.folder, check=True)
    reader.run("broadside fire --channel ios-news --options wake.json")
    assert "Google accepts it" in reader.run('broadside fire --title "Storm tonight" --body "Stay inside." --dry-run')
    reader.places[ID] = reader.fire("--rate", "60", title="Slow")
    assert "is paused" in reader.run("broadside campaign pause")
    assert "is firing" in reader.run("broadside campaign resume")
    reader.shell(f"broadside campaign rate {reader.places[ID]} 100000")
    reader.ended(reader.places[ID])
    assert "is done (only a campaign" in reader.run("broadside campaign pause", code=2)
    assert "done: no gaps" in reader.run("broadside campaign show")
    assert "done: OK" in reader.run("broadside campaign verify")
    assert "node-1 (this)" in reader.run("broadside peers list")
    assert "is the only node" in reader.run("broadside peers forget node-1", code=2)
    assert "push_ios-news" in reader.run("broadside tube list")
    reader.run("broadside tube buried ios-news")
    reader.run("broadside tube kick ios-news")
    reader.run("broadside tube bury --end ios-news")
    reader.places |= {"8d1f…": "8d1f" * 16, "77ab…": "77ab" * 16}
    assert "added one" in reader.run("broadside subscribers put")
    assert "the old token is replaced" in reader.run("broadside subscribers put")
    assert "removed one" in reader.run("broadside subscribers remove")
    assert reader.left == []


@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_operating_by_curl(follow: Follow) -> None:
    reader = follow("docs/operating.md")
    block = next(block for language, block in BLOCK.findall(reader.text) if language == "sh" and "curl -H" in block)
    phone = json.dumps({"channel": "ios-news", "token": "77ab" * 16})
    (reader.node.folder / "phones.ndjson").write_text(f"{phone}\n")
    here = {
        "http://127.0.0.1:8765": reader.node.url(), "8d1f…": "8d1f" * 16, "curl ": "curl --fail-with-body -sS ",
        "2026-12-01T08": f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%dT08}",
    }  # fmt: skip
    for place, mine in here.items():
        assert place in block
        block = block.replace(place, mine)
    done = subprocess.run(
        ["sh", "-e", "-c", block], cwd=reader.node.folder, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert reader.node.api("/v1/subscribers/count")["total"] == PHONES + 2
    assert {each["state"] for each in reader.node.api("/v1/campaigns")["items"]} >= {"scheduled"}


@pytest.mark.timeout(240)
def test_campaigns(follow: Follow) -> None:
    reader = follow("docs/campaigns.md")
    reader.run("broadside fire --title Goal")
    reader.places[ID] = reader.newest()
    reader.run("broadside fire --title Goal")
    assert "phones" in reader.run("broadside audience count")
    later = datetime.now(UTC) + timedelta(days=2)
    reader.places |= {"2026-11-30": f"{later:%Y-%m-%d}", "2026-11-29": f"{later:%Y-%m-%d}"}
    reader.run('broadside fire --title "Good morning"')
    reader.run("broadside fire --title Polls")
    storm = reader.block(having="Tempestade")
    (reader.node.folder / "storm.json").write_text(storm)
    assert "Tempestade" in reader.run("broadside campaign preview")
    reader.run("broadside fire --message storm.json --channel ios-news")
    (reader.node.folder / "storm.json").write_text(storm.replace("Fique em casa", "Fique em casa" + "!" * 4000))
    assert "bytes for APNs, which takes 4096" in reader.run("broadside fire --message storm.json", code=2)
    assert reader.left == []


@pytest.mark.timeout(240)
def test_trust(follow: Follow) -> None:
    reader = follow("docs/trust.md")
    reader.fire(title="Storm tonight")
    assert "the same text went out" in reader.run('broadside fire --title "STORM tonight!"', code=2)
    assert "armed campaign" in reader.run('broadside fire --title "A new pope"')
    reader.places[ID] = reader.newest()
    reader.run("broadside campaign fire")
    assert "the rest goes out as" in reader.run("broadside fire --title Goal")
    share = reader.newest()
    reader.fire("--kind", "sport", title="Derby")
    assert "which is its budget" in reader.run("broadside fire --kind sport", code=2)
    token = next(each.token for each in samples.subscribers(2, 0.0, CHANNELS) if each.channel == "ios-news")
    reader.places["00fc13adff78…"] = token
    assert "Apple accepts it" in reader.run("broadside campaign test")
    reader.run("broadside campaign forecast --title Storm")
    (reader.node.folder / "storm.json").write_text('{"message": {"title": "Storm", "body": "Stay inside"}}')
    reader.run("broadside campaign forecast storm.json")
    reader.places |= {"2:1": "3:2", "--rate 1500": "--rate 60", f"{ID} 500": f"{ID} 50"}
    reader.run("broadside fire --title Goal")
    reader.places = {f"{ID} 500": f"{reader.newest()} 50", ID: reader.newest(), "4711": "17"}
    reader.run("broadside campaign rate")
    assert "cut line:" in reader.run("broadside campaign pause")
    assert "its texts were corrected" in reader.run("broadside campaign correct")
    reader.run("broadside key certificates")
    reader.places[ID] = share
    reader.run("broadside campaign certificate")
    assert "true: signed by key" in reader.run("broadside verify-certificate")
    assert "fate" in reader.run("broadside campaign explain")
    reader.run("broadside feed")
    reader.cancel_all()
    assert "no phone hears of it" in reader.run("broadside drill", code=None)
    reader.run("broadside drill --report")
    assert reader.left == []


@pytest.mark.timeout(120)
def test_troubleshooting(follow: Follow) -> None:
    reader = follow("docs/troubleshooting.md")
    reader.run("broadside dead list")
    assert reader.left == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_the_keys_of_the_page_on_web_push(tmp_path: Path) -> None:
    """The second command prints the first one's key as a browser wants it."""
    lines = re.findall(r"^ *(openssl .*)$", (ROOT / "docs/webpush.md").read_text(), re.M)
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    file = tmp_path / "vapid.pem"
    key = load_pem_private_key(file.read_bytes(), None)
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    assert len(lines) == 2
    assert done.stdout == base64.urlsafe_b64encode(point).decode().rstrip("=")
    assert file.stat().st_mode & 0o777 == 0o600
