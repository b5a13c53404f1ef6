"""A ring of two nodes whose pages a browser opens: sample phones in many zones, and channels of a known rate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import msgspec

from benchmarks.ports import free_ports
from benchmarks.ring.cluster import CHANNELS, Cluster, ClusterNode
from broadside.api.access_records import KeyCreated, KeyRequest
from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignLine, CampaignReport, FireRequest
from broadside.api.v1 import table
from broadside.demo import samples
from campaigns.campaign import ENDED

PHONES = 30_000
RATE = 600
"""Pushes a second on each channel: a campaign to everybody takes 25 s, in which there is something to see and to do."""
MANY = 22_000
"""Phones above which two people let a campaign go."""
SOME = {"countries": ["DE", "GB"]}
"""An audience of a sixth of the phones: it is over in four seconds."""
FEW = {"countries": ["AU"], "share": 0.2}
"""Five hundred phones: over at once."""
PATIENCE = 60.0
"""Seconds that any change on a starved machine may take."""
START = 180.0
"""Seconds that a node's start may take there."""


class RingWithPages:
    """Two nodes, their twins and their store. A node keeps its port when it is started again."""

    def __init__(
        self,
        folder: Path,
        phones: int = PHONES,
        rate: int | None = RATE,
        latency_ms: Mapping[str, int] = MappingProxyType({"apns": 0, "fcm": 0}),
    ) -> None:
        """``rate``: of each channel, pushes a second; None: what ``latency_ms`` (platform → of its answers) allows."""
        self.phones = phones
        self.cluster = Cluster(folder, nodes=2, stores=1, memory=256 << 20, workers=1)
        self._ports = free_ports(2)
        for node, port in zip(self.cluster.nodes, self._ports, strict=True):
            node.data.create()
            for platform, latency in latency_ms.items():
                script = node.data.twins / f"{platform}.script.toml"
                script.write_text(f"latency_ms = {latency}\n{samples.TWIN_SCRIPT}")
            config = node.folder / "broadside.toml"
            text = config.read_text().replace('bind = "127.0.0.1:0"', f'bind = "127.0.0.1:{port}"')
            text = text.replace("repeat = 0\n", f'repeat = "30m"\napproval_above = {MANY}\n')
            text = text.replace("[newsroom]\n", '[newsroom]\nzone = "Europe/Vienna"\n')
            config.write_text(text.replace("twin = true\n", f"twin = true\nrate = {rate}\n") if rate else text)

    def start(self) -> RingWithPages:
        self.cluster.start(START)
        platforms = {name: platform for name, (platform, _) in CHANNELS.items()}
        self.cluster.put(samples.subscribers(self.phones, 0.02, platforms))
        return self

    def end(self) -> None:
        self.cluster.kill()

    def node(self, number: int = 1) -> ClusterNode:
        return self.cluster.nodes[number - 1]

    def url(self, number: int = 1) -> str:
        return f"http://127.0.0.1:{self._ports[number - 1]}"

    def client(self, number: int = 1) -> Client:
        return self.node(number).client()

    def link(self, number: int = 1) -> str:
        """A link that logs one browser in as the node's own operator, once."""
        with self.client(number) as client:
            return client.call(table.KEY_LINK).url

    def key(self, name: str, role: str) -> KeyCreated:
        with self.client() as client:
            return client.call(table.KEY_ADD, KeyRequest(name=name, role=role))

    def fire(
        self, title: str, number: int = 1, texts: Mapping[str, Mapping[str, str]] = MappingProxyType({}), **more: Any
    ) -> CampaignReport:
        """Fire at a node. ``texts``: by locale; ``more``: further fields of the request, as the API takes them."""
        body = "What has happened, in a sentence of twelve words that a phone shows whole."
        message = {"title": title, "body": body, "texts": {name: dict(text) for name, text in texts.items()}}
        with self.client(number) as client:
            return client.fire(
                msgspec.convert({"message": message, "again": True, "unapproved": True, **more}, FireRequest)
            )

    def campaign(self, id: str) -> CampaignReport:
        with self.client() as client:
            return client.call(table.CAMPAIGN, id=id)

    def campaigns(self) -> list[CampaignLine]:
        """The newest campaigns."""
        with self.client() as client:
            return client.campaigns()

    def ended(self, id: str) -> CampaignReport:
        deadline = time.monotonic() + PATIENCE
        while (report := self.campaign(id)).state not in ENDED:
            assert time.monotonic() < deadline, f"{id} is {report.state} after {PATIENCE} s"
            time.sleep(0.1)
        return report

    def quiet(self) -> None:
        """Cancel what still goes on: the next test begins with nothing under way."""
        going = [line.id for line in self.campaigns() if line.state not in ENDED]
        with self.client() as client:
            for id in going:
                client.call(table.CANCEL, id=id)
        for id in going:
            self.ended(id)


def session(url: str, key: str) -> tuple[str, str]:
    """Log in with a key, as the page does; return the name and the value of the session's cookie."""
    answer = httpx.post(f"{url}/v1/session", json={"key": key}, timeout=PATIENCE).raise_for_status()
    return next(iter(answer.cookies.items()))
