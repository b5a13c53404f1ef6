"""HTTP for low-rate requests: OAuth by HTTP/1.1, Apple's broadcast channels by HTTP/2.

Only this file imports httpx, so that a fork can easily replace it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import httpx
import trio

from transports.errors import ConnectionLost
from transports.proxy import Proxy
from transports.tls.context import client_context

LARGEST_ANSWER = 64 * 1024
"""Bytes of an answer's body. An access token takes two thousand."""


async def post_form(
    url: str, form: Mapping[str, str], ca: Path | None, seconds: float, proxy: Proxy | None = None
) -> tuple[int, bytes]:
    """POST a form and return (status, body): see :func:`ask`."""
    return await ask("POST", url, ca, seconds, proxy, data=dict(form))


async def ask(
    method: str,
    url: str,
    ca: Path | None,
    seconds: float,
    proxy: Proxy | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    **content: Any,
) -> tuple[int, bytes]:
    """Send a request and return (status, body): see :func:`ask_whole`."""
    status, _, body = await ask_whole(method, url, ca, seconds, proxy, headers, **content)
    return status, body


async def ask_whole(
    method: str,
    url: str,
    ca: Path | None,
    seconds: float,
    proxy: Proxy | None = None,
    headers: Mapping[str, str] = MappingProxyType({}),
    *,
    http2: bool = False,
    largest: int = LARGEST_ANSWER,
    **content: Any,
) -> tuple[int, Mapping[str, str], bytes]:
    """Send a request and return (status, headers, body). Raises ``ConnectionLost`` if no whole answer came within
    ``seconds``.

    Nor is an answer taken that is compressed, or larger than ``largest`` bytes. ``ca``: PEM file instead of the
    system's trust store; ``http2``: by HTTP/2 alone; ``content``: as httpx takes it (``data``, ``json``). Redirects are
    not followed: a request may hold a secret.
    """
    host = urlsplit(url).hostname or ""
    through = httpx.Proxy(f"http://{proxy}", auth=proxy.login()) if proxy is not None and proxy.serves(host) else None
    body = bytearray()
    fields = {**headers, "accept-encoding": "identity"}
    opened: list[Any] = []

    async def note(event: str, info: Mapping[str, Any]) -> None:
        if event == "connection.connect_tcp.complete":
            opened.append(info["return_value"])

    try:
        with trio.move_on_after(seconds) as limit:
            async with (
                _closing(opened),
                httpx.AsyncClient(
                    verify=client_context(ca),
                    timeout=seconds,
                    trust_env=False,
                    proxy=through,
                    http1=not http2,
                    http2=http2,
                ) as client,
                client.stream(method, url, headers=fields, extensions={"trace": note}, **content) as response,
            ):
                coding = response.headers.get("content-encoding", "identity")
                if coding.strip().lower() != "identity":
                    raise ConnectionLost(f"{url}: the answer is compressed ({coding[:40]!r}), which was not asked for")
                async for part in response.aiter_raw():
                    body += part
                    if len(body) > largest:
                        limit.cancel()  # a `break` would leave httpx's generators open; this ends the next read
    except httpx.HTTPError as error:
        raise ConnectionLost(f"{url}: {type(error).__name__}: {error}") from error
    if len(body) > largest:
        raise ConnectionLost(f"{url}: the answer is larger than {largest // 1024} KB")
    if limit.cancelled_caught:
        raise ConnectionLost(f"{url} did not answer within {seconds:g} s")
    return response.status_code, response.headers, bytes(body)


@asynccontextmanager
async def _closing(opened: list[Any]) -> AsyncIterator[None]:
    """Close connections at the end, also those that httpcore forgets: where it is cancelled in a TLS handshake, it
    leaves the socket to the garbage collector, which runs seldom here.
    """
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            for stream in opened:
                await stream.aclose()  # the second time it does nothing
