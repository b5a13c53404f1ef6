"""The service worker of examples/webpush shows what Broadside sends, and opens what it names."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from campaigns.message import Message
from transports.webpush import payload

FOLDER = Path(__file__).parents[1] / "examples" / "webpush"
BROWSER = """
const handlers = {}, said = [];
globalThis.self = {
  addEventListener: (name, handler) => { handlers[name] = handler; },
  registration: { showNotification: async (...given) => said.push(given) },
  clients: { openWindow: async (address) => said.push(address) },
};
Object.defineProperty(globalThis, "navigator", { value: { setAppBadge: async (n) => said.push(n) } });
require(process.argv[1]);
const content = JSON.parse(process.argv[2]);
const waits = [];
const event = { waitUntil: (promise) => waits.push(promise) };
handlers.push({ ...event, data: { json: () => content } });
handlers.push({ ...event, data: null });
if (said.length) {
  const notification = { data: said[0][1].data, close: () => said.push("closed") };
  handlers.notificationclick({ ...event, notification });
}
Promise.all(waits).then(() => console.log(JSON.stringify(said)));
"""

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")


def worker(content: bytes) -> list[Any]:
    command = ["node", "-e", BROWSER, str(FOLDER / "worker.js"), content.decode()]
    said: list[Any] = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return said


def test_the_worker_shows_a_push_and_opens_its_address() -> None:
    message = Message(title="Flood", body="Leave", url="https://example.com/f", badge=2, data={"story": "7"})
    said = worker(payload.render(message, "https://example.com", "C").content)
    options = {"body": "Leave", "tag": "C", "data": {"story": "7", "navigate": "https://example.com/f"}}
    assert said == [["Flood", options], 2, "closed", "https://example.com/f"]


def test_the_worker_leaves_other_pushes_alone() -> None:
    assert worker(b'{"title": "not ours"}') == []
    assert len((FOLDER / "worker.js").read_text().splitlines()) <= 16, "docs/webpush.md says fifteen lines"


def test_the_subscribing_page_is_a_module() -> None:
    code = (FOLDER / "subscribe.js").read_bytes()
    subprocess.run(["node", "--input-type=module", "--check"], input=code, check=True)
