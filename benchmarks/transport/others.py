"""Other libraries for the same job, used as their documentation shows."""

from __future__ import annotations

import asyncio
import ssl
import uuid
from typing import Any

from benchmarks.transport.meter import BODY, Meter
from benchmarks.transport.sinks import Files

TOKEN = "0123456789abcdef" * 4


def _drive(meter: Meter, push: Any) -> Any:
    """As many tasks as streams, each with one push at a time."""

    async def run() -> None:
        async def worker() -> None:
            while not meter.over:
                await push()
                meter.count(1)

        tasks = [asyncio.create_task(worker()) for _ in range(meter.row.streams * meter.row.connections)]
        while not meter.warm:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(0.02)
        meter.start()
        while not meter.over:  # noqa: ASYNC110 - a clock
            await asyncio.sleep(0.02)
        meter.stop()
        # They are not cancelled: that would measure nothing, and aioapns complains about each.
        await asyncio.gather(*tasks)

    return run()


def aioapns(port: int, files: Files, meter: Meter) -> None:
    """aioapns 4.0, ES256 token."""
    from aioapns import APNs, NotificationRequest
    from aioapns.connection import APNsBaseConnectionPool

    async def main() -> None:
        context = ssl.create_default_context(cafile=files.ca)
        context.set_alpn_protocols(["h2"])
        client = APNs(
            key=files.apns_key.read_text(),
            key_id="ABCDE12345",
            team_id="TEAM123456",
            topic="com.example.news",
            max_connections=meter.row.connections,
            ssl_context=context,
        )
        pool: APNsBaseConnectionPool = client.pool
        pool.protocol_class = type("Local", (pool.protocol_class,), {"APNS_SERVER": "localhost", "APNS_PORT": port})
        message = {"aps": {"alert": {"title": "Flood", "body": "x" * (BODY - 54)}}}

        async def push() -> None:
            result = await client.send_notification(
                NotificationRequest(TOKEN, message, notification_id=str(uuid.uuid4()))
            )
            if not result.is_successful:
                raise RuntimeError(result.description)

        await _drive(meter, push)

    asyncio.run(main())


def httpx(port: int, files: Files, meter: Meter) -> None:
    """httpx 0.28 over HTTP/2 (httpcore, h2), as a sender to FCM."""
    import httpx as library

    async def main() -> None:
        context = ssl.create_default_context(cafile=files.ca)
        limits = library.Limits(max_connections=meter.row.connections)
        url = f"https://localhost:{port}/v1/projects/news-1a2b3/messages:send"
        headers = {"authorization": "Bearer ya29.c." + "b0" * 500}
        message = {"message": {"token": "c0:APA91b" + "A" * 130, "notification": {"title": "Flood", "body": "x" * 90}}}
        async with library.AsyncClient(http2=True, http1=False, verify=context, limits=limits, timeout=60) as client:

            async def push() -> None:
                response = await client.post(url, json=message, headers=headers)
                response.raise_for_status()

            await push()
            await _drive(meter, push)

    asyncio.run(main())
