"""HTTP/1.1 for low-rate requests (OAuth). Only this file imports httpx, so that a fork can easily replace it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import httpx

from transports.errors import ConnectionLost
from transports.tls.context import client_context


async def post_form(url: str, form: Mapping[str, str], ca: Path | None, seconds: float) -> tuple[int, bytes]:
    """POST a form and return (status, body). Raises ``ConnectionLost`` if no answer came within ``seconds``.

    ``ca``: PEM file instead of the system's trust store. Redirects are not followed: a form may hold a secret.
    """
    try:
        async with httpx.AsyncClient(verify=client_context(ca), timeout=seconds, trust_env=False) as client:
            response = await client.post(url, data=dict(form))
    except httpx.HTTPError as error:
        raise ConnectionLost(f"{url}: {type(error).__name__}: {error}") from error
    return response.status_code, response.content
