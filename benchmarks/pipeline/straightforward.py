"""The straightforward script: rows from Tarantool by asynctnt, each pushed by aioapns, no queue, nothing durable.

Run in a process of its own: reads an order as JSON from its standard input, and prints its figures as JSON.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from typing import Any

import asynctnt
from aioapns import APNs, NotificationRequest
from aioapns.connection import APNsBaseConnectionPool

from broadside.machine_limits import cores

PAGE = 1_000


async def _main(order: dict[str, Any]) -> dict[str, float]:
    context = ssl.create_default_context(cafile=order["ca"])
    context.set_alpn_protocols(["h2"])
    client = APNs(
        key=order["key"],
        key_id="ABCDE12345",
        team_id="TEAM123456",
        topic="com.example.news",
        max_connections=cores(),
        ssl_context=context,
    )
    pool: APNsBaseConnectionPool = client.pool
    at = {"APNS_SERVER": "localhost", "APNS_PORT": order["port"]}
    pool.protocol_class = type("Local", (pool.protocol_class,), at)
    host, _, port = order["uri"].rpartition(":")
    base = asynctnt.Connection(
        host=host,
        port=port,
        username=order["user"],
        password=order["password"],
        fetch_schema=False,
        auto_refetch_schema=False,
    )
    await base.connect()
    message = {"aps": {"alert": {"title": order["title"], "body": order["body"]}, "sound": "default"}}
    collapse = "flood"

    async def push(token: str) -> bool:
        result = await client.send_notification(NotificationRequest(token, message, collapse_key=collapse))
        return bool(result.is_successful)

    await push("0" * 64)  # opens the connections
    started, cpu, last, delivered = time.perf_counter(), time.process_time(), 0, 0
    while True:
        (rows,) = (await base.call("store.subscribers_page", [last, PAGE])).body
        if not rows:
            break
        delivered += sum(await asyncio.gather(*(push(row[2]) for row in rows)))
        last = rows[-1][0]
    seconds, used = time.perf_counter() - started, time.process_time() - cpu
    await base.disconnect()
    return {"seconds": seconds, "cpu": used, "delivered": delivered}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_main(json.load(sys.stdin)))))
