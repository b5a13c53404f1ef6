"""A newsroom with guards, and its API for keys of any role."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import httpx

from broadside.api.token_rules import DeviceTokens
from broadside.newsroom.dry_run import DryRun
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.ring import Ring
from campaigns.guards import Guards
from campaigns.kind import BUILT_IN
from storage.link import Link
from storage.store import Store
from storage.tubes import Tubes
from tests.broadside.api_parts import api_of

NOW = 1_800_000_000_000
MINUTE = 60_000


def guarded(
    link: Link,
    guards: Guards,
    clock: Callable[[], int] = lambda: NOW,
    channels: Iterable[str] = ("ios", "android"),
    **more: Any,
) -> Newsroom:
    return Newsroom(
        store=Store(link),
        tubes=Tubes(link, "test"),
        checks={name: lambda message, presentation=None: None for name in channels},
        node="n1",
        states=list,
        segments=2,
        device_tokens=DeviceTokens({}),
        guards=guards,
        clock=clock,
        **{"kinds": BUILT_IN, "dry_run": DryRun(platforms={}, open=lambda name: None), **more},  # type: ignore[arg-type, return-value]
    )


def client_of(link: Link, newsroom: Newsroom, key: str = "k") -> httpx.AsyncClient:
    app = api_of(newsroom, Ring(store=Store(link), node="n1"), link, key).app()
    headers = {"authorization": f"Bearer {key}"}
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="http://node", headers=headers, timeout=30
    )


async def phones(store: Store, count: int = 100, channel: str = "ios") -> None:
    rows = [(channel, f"token-{n}", "token", 1, "", "", "", "", "", None, [], {}) for n in range(count)]
    for start in range(0, count, 1000):
        await store.subscribers_put(rows[start : start + 1000])
