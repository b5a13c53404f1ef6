"""The pool of a channel whose messages are JSON, as its settings ask for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from transports.backoff import Backoff
from transports.contract import TransportSettings
from transports.http2.connection import Timing, parse_origin
from transports.http2.engine import Engine
from transports.http2.pool import HTTP_2, Pool
from transports.tls.context import client_context


def channel_pool(
    settings: TransportSettings,
    origin: str,
    engines: Mapping[str, Callable[[], Engine]] = HTTP_2,
    *,
    timing: Timing | None = None,
    backoff: Callable[[], Backoff] = Backoff,
) -> Pool:
    """Build the pool without connecting. Raises ``CredentialsError`` for a wrong ``ca``.

    ``origin``: the provider's, unless the channel names another. ``engines``: by ALPN protocol, the preferred one
    first.
    """
    return Pool(
        parse_origin(settings.origin or origin),
        context=client_context(settings.ca, alpn=tuple(engines)),
        connections=settings.connections,
        upper=settings.upper_lane,
        most=settings.most_connections,
        every=settings.connect_every,
        proxy=settings.proxy,
        timing=timing or Timing(deadline=settings.deadline, idle=math.inf),
        backoff=backoff,
        engines=engines,
    )
