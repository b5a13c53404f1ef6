"""A node on a terminal says where its page is, with a link that logs one browser in."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import threading
from pathlib import Path

import httpx

from tests.broadside.test_node_end_to_end import NodeProcess


class OnTerminal(NodeProcess):
    """A node whose standard output is a terminal."""

    def start(self) -> OnTerminal:
        parent, child = pty.openpty()
        command = [sys.executable, "-c", self.runner, str(self.folder), str(self.subscribers)]
        self.output.write_bytes(b"")
        self.process = subprocess.Popen(command, stdout=child, stderr=child)
        os.close(child)
        threading.Thread(target=self._copy, args=(parent,), daemon=True).start()
        return self

    def _copy(self, terminal: int) -> None:
        with self.output.open("ab") as file:
            while True:
                try:
                    part = os.read(terminal, 65536)
                except OSError:  # the other side is closed
                    return
                file.write(part)
                file.flush()


def test_the_first_start_prints_a_link_that_logs_one_browser_in(tmp_path: Path) -> None:
    """Issue 23: on a terminal only, and in no log."""
    node = OnTerminal(tmp_path, subscribers=200).start()
    try:
        said = node.wait_for("serving;")
        found = re.search(r"(http://\S+)/login#([A-Za-z0-9_-]{43})", said)
        assert found is not None, said
        assert found[1] == node.url()
        assert httpx.get(f"{found[1]}/login", timeout=20).status_code == 200
        answers = [httpx.post(f"{found[1]}/v1/session", json={"code": found[2]}, timeout=20) for _ in range(2)]
        assert [each.status_code for each in answers] == [201, 401]
        assert answers[0].json()["role"] == "operator"
        assert found[2] not in "".join(each.read_text() for each in (node.data / "logs").iterdir())
    finally:
        node.end()
