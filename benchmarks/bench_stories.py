"""How soon a story's update is on every lock screen: python -m benchmarks.bench_stories [--subscribers N] [--json].

A story is opened and updated, and opened and updated again while a digest to the whole base is under way. The time is
from before a request until Apple's twin has accepted the card, and until Google's twin has accepted the first push to a
phone without one, by the twins' own ledgers. Each update waits until the one before is sent. The twins have the same
cores, and under a digest they are what is slowest.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.bench_lanes import DIGEST, Watched, _ended, _sizes, _under_way, _until
from benchmarks.ending import end_at_sigterm
from benchmarks.pipeline.rig import Rig
from benchmarks.progress import say
from broadside.api.api_client import Client
from broadside.api.audience_request import AudienceRequest
from broadside.api.story_records import StoryChange, StoryRequest
from broadside.api.v1 import table
from campaigns.message import Message

FEW = AudienceRequest(share=0.01)
"""Of the phones without a card: a small campaign, so that updates can follow each other."""
CARD, PUSH = "card accepted", "first push to a phone without a card"


def tell(rig: Rig, client: Client, updates: int) -> dict[str, list[int]]:
    """Tell one story; return the milliseconds of each of its updates, of the opening too."""
    found: dict[str, list[int]] = {}
    id = ""
    for number in range(updates + 1):
        ledgers = {path.stem: Watched(path, size) for path, size in _sizes(rig).items()}
        apple, google = ledgers["apns"], ledgers["fcm"]
        message = Message(title=f"{number}:0", body=f"After {number} goals.")
        change = StoryChange(state={"score": f"{number}:0"}, message=message)
        began = time.time_ns() // 1_000_000
        if number:
            report = client.call(table.STORY_UPDATE, change, story_id=id)
        else:
            opening = StoryRequest(title="Cup final", kind="breaking", audience=FEW, change=change)
            report = client.call(table.STORY_OPEN, opening)
            id = report.id
        answered = time.time_ns() // 1_000_000
        newest = report.updates[0]
        _until(partial(apple.has, f'"timestamp":{newest.timestamp}'.encode()))
        _until(partial(google.has, f'"{id}"'.encode()))
        what = "update: " if number else "opening: "
        for name, at in ((CARD, apple.time), (PUSH, google.time), ("request answered", answered)):
            found.setdefault(what + name, []).append(at - began)
        _until(partial(_ended, client, newest.campaign or ""))
    client.call(table.STORY_END, StoryChange(message=Message(title="The end", body="It is over.")), story_id=id)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="bench stories", description=__doc__)
    parser.add_argument("--subscribers", type=int, default=1_000_000, help="size of the base")
    parser.add_argument("--updates", type=int, default=10, help="of each story")
    parser.add_argument("--json", action="store_true", help="a list of rows for scripts")
    options = parser.parse_args()
    end_at_sigterm()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bs-bench-") as folder:
        rig = Rig(Path(folder), None)
        with rig.node(None) as client:
            say(f"{options.subscribers:,} subscribers")
            rig.fill(client, options.subscribers)
            rows += _rows("at rest", tell(rig, client, options.updates))
            digest = client.fire(DIGEST).id
            _until(lambda: _under_way(client, digest, False))
            rows += _rows("under a digest", tell(rig, client, options.updates))
            if client.call(table.CAMPAIGN, id=digest).ended:
                raise RuntimeError("the digest ended before the story: give it more --subscribers")
    if options.json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for row in rows:
        print(f"{row['what']:72} {row['value']:>7,.0f} ms")


def _rows(when: str, found: dict[str, list[int]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for what, times in found.items():
        say(f"{when}, {what}: {times} ms")
        rows.append({"what": f"{when}, {what}, median", "value": statistics.median(times), "unit": "ms"})
        if what.startswith("update"):
            rows.append({"what": f"{when}, {what}, longest", "value": max(times), "unit": "ms"})
    return rows


if __name__ == "__main__":
    main()
