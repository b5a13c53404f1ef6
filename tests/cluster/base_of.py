"""The whole base, as a client reads it from a node."""

from __future__ import annotations

from collections.abc import Iterator

from broadside.api.api_client import Client
from broadside.api.subscriber import MAX_SUBSCRIBERS, Subscriber
from broadside.api.v1 import table


def base_of(client: Client) -> Iterator[Subscriber]:
    """Yield every subscriber, in the order of ids."""
    cursor: str | None = ""
    while cursor is not None:
        page = client.call(table.SUBSCRIBERS, query=table.SubscribersQuery(limit=MAX_SUBSCRIBERS, cursor=cursor))
        yield from page.items
        cursor = page.next
