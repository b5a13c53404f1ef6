"""The spaces' versions: every folder that an earlier commit wrote is taken along, and a newer one is left alone.

A step of the schema never changes once it is committed (docs/adr/0019).
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from broadside import cli
from broadside.newsroom.coverage import coverage, verify
from broadside.newsroom.stories.story_shelf import StoryShelf
from campaigns.identity import campaign_text
from storage.embedded import LUA
from storage.link import Link
from storage.stories import StoryStore
from tests.broadside.test_full_memory import Configured
from tests.broadside.test_node_end_to_end import NodeProcess
from tests.conftest import Server, linked
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, House
from tests.storage.written_folder import CHANNELS, DRAFT, ONCE, OPEN, STORY, SUBSCRIBERS, WRITTEN, script, versions

STEPS = sorted(LUA.glob("roles/*/steps/step_*.lua"))
FIXED = sorted(LUA.glob("roles/*/steps/*.lua"))
CHECKSUMS = LUA / "roles" / "steps.sha256"
FOLDERS = sorted(folder.name for folder in WRITTEN.iterdir())
CONFIGURATION = """
[node]
name = "n1"
data = "var"
workers = 1
[http]
bind = "127.0.0.1:0"
[newsroom]
quiet = "off"
[channels.ios]
platform = "apns"
app = "com.example.news"
twin = true
[channels.android]
platform = "fcm"
app = "example-news"
twin = true
"""
NEWER_QUEUE = OPEN + "box.space.tubes_state:replace({'schema', 99}) os.exit(0)"
NEWER = OPEN + "box.space.store_meta:replace({'schema', box.space.store_meta:get('schema').value + 1}) os.exit(0)"


def newest(role: str) -> int:
    return max(int(path.stem.removeprefix("step_")) for path in STEPS if path.parts[-3] == role)


async def test_the_folder_of_every_earlier_version_is_taken_along_with_all_that_is_in_it(
    folder: str, tmp_path: Path
) -> None:
    directory = tmp_path / "tarantool"
    shutil.copytree(WRITTEN / folder, directory)
    directory.chmod(0o700)
    server = Server(directory, CHANNELS).start()
    try:
        async with linked(server) as link:
            house = House(link)
            await the_base_is_there(house)
            await the_campaign_is_there(house)
            await it_goes_on_to_its_end(house)
            await newcomers_get_the_next_ids(house)
            await the_story_is_there(link, int(folder.split("-")[1]))
    finally:
        server.stop()
        server.embedded.remove_runtime()
    assert versions(directory) == (newest("store"), newest("tubes"))


async def the_story_is_there(link: Link, version: int) -> None:
    found = [each.story for each in await StoryShelf(StoryStore(link), lambda: NOW).live()]
    assert found == ([STORY] if version >= 6 else [])


async def the_base_is_there(house: House) -> None:
    half = SUBSCRIBERS // 2
    assert await house.store.subscribers_count() == {"ios": half, "android": half}
    rows = await house.store.subscribers_page(0, 100)
    assert [row.token for row in rows] == [f"token-{n}" for n in range(SUBSCRIBERS)]
    assert await house.store.removals() == {"ios": 0, "android": 0}


async def the_campaign_is_there(house: House) -> None:
    campaign = await house.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    assert (campaign.state, campaign.message.title, campaign.walked) == ("firing", "t", False)
    assert campaign.tallies["android"]["delivered"] == 2
    assert campaign.tallies["ios"] == {"audience": 6, "enqueued": 2, "dead": 1, "retried": 1}
    assert campaign.reasons["ios"] == {"Unregistered": 1, "busy": 1}
    keyed = await house.store.campaign_keyed(ONCE.owner, ONCE.key, NOW)
    assert keyed == (DRAFT, ONCE.request)
    (row,) = await house.store.dead_list()
    assert (row.campaign, row.channel, row.state, row.likely, row.kept) == (CAMPAIGN, "ios", "collecting", 1, 1)
    first, second = await house.store.campaign_pages(CAMPAIGN)
    assert (first.state, first.recipients, first.settled) == ("enqueued", 4, 3)
    assert (second.state, second.recipients) == ("claimed", 0), "its outbox line is still owed"


async def it_goes_on_to_its_end(house: House) -> None:
    _, epoch, _ = await house.tubes.epoch()
    assert await house.join() == epoch, "the queue's own epoch goes on"
    ((id, number, _),) = await house.tubes.batch_take("android", 10)
    assert await house.tubes.batch_crashed("android", id, number, "boom") == (2, False), "its poison counter is there"
    while await house.walk_page() is not None:
        pass
    assert (await house.tubes.statistics())["marks"] == 3
    sent = 0
    while await house.report() is not None or await house.state() == "firing":
        sent += await house.deliver("ios") + await house.deliver("android")
    assert sent == SUBSCRIBERS - 3
    assert await house.state() == "done"
    campaign = await house.store.campaign_get(CAMPAIGN)
    assert campaign is not None
    assert sum(walked.settled for walked in (await coverage(house.store, campaign)).walked) == SUBSCRIBERS
    assert (await verify(house.store, campaign)).ok


async def newcomers_get_the_next_ids(house: House) -> None:
    row = ("ios", "token-new", "token", 5, "de", "", "AT", "", "", None, [], {})
    assert (await house.store.subscribers_put([row])).inserted == 1
    assert [found.id for found in await house.store.subscribers_page(SUBSCRIBERS, 10)] == [SUBSCRIBERS + 1]


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(("role", "owner"), [("store", "store"), ("tubes", "queue")])
def test_a_folder_of_every_version_is_kept(role: str, owner: str) -> None:
    kept = {int(found[1]) for name in FOLDERS if (found := re.search(rf"{owner}-(\d+)", name))}
    assert kept == set(range(1, newest(role) + 1)), (
        "write the new version's folder with `python -m tests.storage.written_folder`, and keep those of the others"
    )


@pytest.mark.parametrize("step", FIXED, ids=lambda step: f"{step.parts[-3]}-{step.stem}")
def test_a_step_never_changes(step: Path) -> None:
    known = dict(reversed(line.split(None, 1)) for line in CHECKSUMS.read_text().splitlines() if line[0] != "#")
    name = str(step.relative_to(CHECKSUMS.parent))
    found = hashlib.sha256(step.read_bytes()).hexdigest()
    assert known.get(name, found) == found, (
        f"{name} is not what it was. It does not run again on the bases that it has made: put it back as it was, and "
        "write the change as the next step of its folder, which makes the new spaces from the old ones"
    )
    assert name in known, f"a new step: add its line to {CHECKSUMS.name}: {found}  {name}"


@pytest.mark.timeout(120)
def test_a_node_refuses_the_base_of_a_newer_broadside_in_one_plain_sentence(tmp_path: Path) -> None:
    node = NodeProcess(tmp_path, 10)
    directory = node.data / "tarantool"
    node.data.mkdir(mode=0o700)
    first = Server(directory, ["ios-news", "android-news"]).start()
    first.stop()
    first.embedded.remove_runtime()
    script(NEWER, directory)
    node.start()
    assert node.process is not None
    try:
        assert node.process.wait(100) == 1
    finally:
        node.kill()
    said = node.output.read_text()
    found = re.search(r"the store has schema (\d+), this Broadside knows (\d+): start a newer Broadside", said)
    assert found, said
    assert int(found[1]) == int(found[2]) + 1
    assert "traceback" not in said.lower()


@pytest.mark.timeout(120)
def test_a_whole_node_goes_on_with_the_folder_that_the_version_before_left(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """With its queue: a batch with a poison counter, a line of the outbox, and a page that waits for its baton."""
    node = Configured(tmp_path)
    (tmp_path / "broadside.toml").write_text(CONFIGURATION)
    node.data.mkdir(mode=0o700)
    shutil.copytree(WRITTEN / FOLDERS[-2], node.data / "tarantool")
    (node.data / "tarantool").chmod(0o700)
    node.start()
    try:
        node.wait_for("serving;", 90)
        assert node.api("/v1/subscribers/count")["total"] == SUBSCRIBERS
        id = campaign_text(CAMPAIGN)
        node.until(lambda: node.api(f"/v1/campaigns/{id}")["state"] == "done", "end of the campaign under way", 60)
        channels = node.api(f"/v1/campaigns/{id}")["channels"]
        assert sum(tally["remaining"] for tally in channels.values()) == 0
        assert channels["android"]["delivered"] == SUBSCRIBERS // 2, "two of them before the upgrade"
        ours = ["--data", str(node.data)]
        assert cli.run(["campaign", "verify", id, *ours]) == 0
        assert cli.run(["subscribers", "put", "ios", "f" * 64, *ours]) == 0
        assert cli.run(["fire", "--title", "after the upgrade", "--channel", "ios", "--wait", *ours]) == 0
        assert node.ledger()["f" * 64] == 1
        capfd.readouterr()
        assert cli.run(["peers", "list", "--json", *ours]) == 0
        assert '"epoch":1' in capfd.readouterr().out, "the same owner goes on"
        assert node.end() == 0
    finally:
        node.kill()
    assert versions(node.data / "tarantool") == (newest("store"), newest("tubes"))


def refused(folder: Path) -> str:
    """What an instance says that does not start on this folder."""
    server = Server(folder, CHANNELS)
    process = subprocess.Popen(
        server.embedded.command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stderr is not None
    with process:  # its standard input stays open, as a node would keep it
        process.stdin.write(server.embedded.handshake)
        process.stdin.flush()
        assert process.wait(30) == 1
        said = process.stderr.read().decode()
    server.embedded.remove_runtime()
    return said


def test_the_folder_of_a_newer_tarantool_is_refused_in_words(tmp_path: Path) -> None:
    folder = tmp_path / "tarantool"
    shutil.copytree(WRITTEN / FOLDERS[-1], folder)
    folder.chmod(0o700)
    (snapshot,) = folder.glob("*.snap")
    snapshot.write_bytes(re.sub(rb"\nVersion: \d+", b"\nVersion: 9", snapshot.read_bytes(), count=1))
    assert re.search(r"written by Tarantool 9\.\S+, and this is \S+, which does not read it", refused(folder))


@pytest.mark.parametrize(("owner", "text"), [("store", NEWER), ("queue", NEWER_QUEUE)])
def test_an_instance_refuses_what_a_newer_broadside_wrote_and_changes_nothing_in_it(
    owner: str, text: str, tmp_path: Path
) -> None:
    folder = tmp_path / "tarantool"
    shutil.copytree(WRITTEN / FOLDERS[-1], folder)
    folder.chmod(0o700)
    script(text, folder)
    before = versions(folder)
    said = refused(folder)
    assert re.search(rf"the {owner} has schema \d+, this Broadside knows \d+: start a newer Broadside", said), said
    assert versions(folder) == before
