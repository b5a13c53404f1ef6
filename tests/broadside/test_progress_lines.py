"""The progress of a campaign, as the command line reads it from the node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec

from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport
from campaigns.message import Message


class Parts(httpx.SyncByteStream):
    """A body that arrives in parts of three bytes."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._body), 3):
            yield self._body[start : start + 3]


def test_a_line_separator_in_a_text_ends_no_report(tmp_path: Path) -> None:
    """`fire --wait` ended with "Input data was truncated": httpx's lines also end at U+2028."""
    told = [
        CampaignReport(id="a" * 13, state=state, message=Message(title="a\u2028b\x0bc\x85", body="\r"), created_at=1)
        for state in ("firing", "done")
    ]
    body = b"".join(msgspec.json.encode(report) + b"\n" for report in told)
    client = Client("http://node", tmp_path / "socket", "key")
    client._http = httpx.Client(
        base_url="http://node",
        transport=httpx.MockTransport(lambda request: httpx.Response(200, stream=Parts(body))),
    )
    assert [*client.progress("a" * 13)] == told
