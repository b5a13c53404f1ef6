"""A run's channels: one for each of its platforms."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

NAMES = {"apns": "ios", "fcm": "android", "huawei": "huawei", "rustore": "rustore", "webpush": "web"}
"""Platform → its channel."""
APPS = {
    "apns": "org.example.news",
    "fcm": "example-news",
    "huawei": "101653523863572770",
    "rustore": "example-news",
    "webpush": "https://news.example.org",
}
SERVICES = {"webpush": 5}
"""Push services of the sample base, where a platform has several: each has connections of its own."""
GROUPS = {"huawei": 500}
"""Phones of one request, where it is for many: a batch's."""
WITHOUT_CAMPAIGN = frozenset({"huawei", "rustore"})
"""Platforms whose ledger cannot name the campaign: RuStore has nothing that a push replaces, Huawei's newest API has 31
bits."""


def of(platforms: Iterable[str]) -> dict[str, str]:
    """Channel → platform."""
    return {NAMES[platform]: platform for platform in platforms}


def target(token: str) -> str:
    """A token as the twins' ledgers have it: a browser's is its endpoint, without the keys."""
    return token.partition("#")[0]


def table(
    platform: str, ready: Mapping[str, Any], app: str, port: int, connections: int, *, client: bool = False
) -> str:
    """A channel's table of the node's configuration.

    ``ready``: what its twin says; ``connections``: the most of them; ``client``: Huawei's older API, with an
    access token for a client's secret.
    """
    credentials = ready["keys"][0] if client else ready["credentials"]
    given = "\n".join(f"{key} = {json.dumps(value)}" for key, value in credentials.items())
    name = NAMES[platform]
    return (
        f'[channels.{name}]\nplatform = "{platform}"\napp = "{app}"\norigin = "https://localhost:{port}"\n'
        f'connections = {connections}\nca = "{ready["ca"]}"\n[channels.{name}.credentials]\n{given}\n'
    )
