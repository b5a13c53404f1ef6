"""Write the folder of an instance as this code leaves it: python -m tests.storage.written_folder.

It becomes tests/storage/written/store-N-queue-M, N and M being the versions of the spaces, and is kept: the tests start
every later code on it. A campaign in it is half done, so that it has something of everything that lasts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import msgspec
import trio

from broadside.api.story_records import StoryChange
from broadside.newsroom.stories.story_plan import Card, Story, with_update
from campaigns.message import Message
from campaigns.recipient import pack_recipients, unpack_recipients
from storage.access import AccessStore, AuditRow, KeyRow
from storage.drafts import DraftStore
from storage.records import Once, Remainder, Settlement, Task, attempt
from storage.stories import StoryStore
from storage.tarantool_program import tarantool
from tests.conftest import Server, linked
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, House

WRITTEN = Path(__file__).parent / "written"
CHANNELS = ["ios", "android"]
SUBSCRIBERS = 12
PAGE = 4
ONCE = Once("newsroom", "key-1", {"title": "digest"})
DRAFT = CAMPAIGN + 1
STORY = with_update(
    Story(
        id=CAMPAIGN + 2, title="Cup final", created_at=NOW, created_by="Ana", cards=[Card(channel="ios", place="app")]
    ),
    "update",
    StoryChange(state={"score": "1:0"}),
    NOW,
    ("ana", "Ana", False),
    "",
)
KEY = KeyRow("k3xm4taq", "hash", "Ana", "editor", NOW, ["ios"])
OPEN = "box.cfg({work_dir = arg[1], log_level = 1, feedback_enabled = box.internal.feedback_daemon and false})\n"
SNAPSHOT = OPEN + "box.snapshot() os.exit(0)"
VERSIONS = (
    OPEN + "print(box.space.store_meta:get('schema').value, box.space.tubes_state:get('schema').value) os.exit(0)"
)


def script(text: str, folder: Path) -> str:
    """What a script says that has an instance's files while nobody else has them."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(text)
        file.flush()
        command = [tarantool() or "tarantool", file.name, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def versions(folder: Path) -> tuple[int, int]:
    """Of the store's spaces and of the queue's."""
    store, queue = re.findall(r"\d+", script(VERSIONS, folder))
    return int(store), int(queue)


async def fill(server: Server) -> None:
    """Of three pages one is settled but for a phone, one is on the tubes, and one has its baton."""
    async with linked(server) as link:
        house = House(link)
        await house.join()
        await house.subscribers(SUBSCRIBERS)
        await house.store.campaign_create(DRAFT, Message(title="a", body="draft"), None, {"ttl_ms": 1000}, NOW, ONCE)
        await house.fire(page_size=PAGE)
        await house.walk_page()
        await house.deliver("android")
        (task,) = await house.batches("ios")
        dead, again = unpack_recipients(task.recipients)
        ended = Settlement(
            task.id, task.number, {"dead": 1, "retried": 1}, {"Unregistered": 1, "busy": 1},
            [(dead.id, dead.token, NOW, "likely", "Unregistered")], [dead.id],
            [Remainder(0.0, attempt(2, 0), 1, pack_recipients([again]))],
        )  # fmt: skip
        assert await house.tubes.settle("ios", [ended]) == [True]
        await house.report()
        await house.walk_page()  # this page's outbox line is still owed
        (task,) = [Task.of(*each) for each in await house.tubes.batch_take("android", 1)]
        assert await house.tubes.batch_crashed("android", task.id, task.number, "boom") == (1, False)
        access = AccessStore(link)
        await access.add(KEY)
        await access.add_ticket("session", "session", KEY.id, NOW + 1000, NOW)
        await StoryStore(link).save(STORY.id, 0, msgspec.json.encode(STORY).decode(), NOW, live=True)
        await DraftStore(link).save("k7r2m5qpx4n3a", 0, "Storm", "{}", KEY.name, NOW)
        await access.record(AuditRow(0, NOW, "n1", KEY.id, KEY.name, "POST /v1/campaigns", "c", 201, {}))


def main() -> None:
    """Write, and keep what Tarantool needs: the newest snapshot and the log since then."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "tarantool"
        server = Server(folder, CHANNELS, memory=64 << 20).start()
        server.stop()
        script(SNAPSHOT, folder)  # the spaces: many small writes, which a snapshot keeps in a third of the bytes
        server.start()
        trio.run(fill, server)
        server.stop()
        server.embedded.remove_runtime()
        snapshot = max(folder.glob("*.snap"))
        log = folder / f"{snapshot.stem}.xlog"
        store, queue = versions(folder)
        kept = WRITTEN / f"store-{store}-queue-{queue}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir(parents=True)
        for file in (snapshot, log):
            shutil.copy(file, kept)
            print(f"{file.name}: {file.stat().st_size:,} bytes")
    print(kept)


if __name__ == "__main__":
    main()
