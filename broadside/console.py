"""The console actor: serves the API inside the node's own nursery."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import cast

import hypercorn.trio
import trio
from hypercorn.config import Config
from hypercorn.typing import ASGIFramework
from starlette.applications import Starlette

from broadside.errors import BroadsideError, first_error

BACKLOG = 100


class AddressInUse(BroadsideError):
    """Somebody else listens where the API should."""

    exit_code = 2


class Console:
    """One incarnation of the HTTP server. ``bound``: told the base URL once it listens."""

    def __init__(self, app: Starlette, host: str, port: int, bound: Callable[[str], None]) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._bound = bound
        self._stopping = trio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until stopped (AddressInUse when the port is taken)."""
        config = Config()
        config.bind = [f"[{self._host}]:{self._port}" if ":" in self._host else f"{self._host}:{self._port}"]
        config.graceful_timeout = 1.0
        config.shutdown_timeout = 2.0
        config.errorlog = None
        config.accesslog = None
        config.backlog = BACKLOG
        config.include_server_header = False
        async with trio.open_nursery() as nursery:
            app = cast(ASGIFramework, self._app)  # two libraries' names for the same ASGI types
            serve = partial(hypercorn.trio.serve, app, config, shutdown_trigger=self._stopping.wait)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # hypercorn warns of options that belong to its own command line
                    binds = await nursery.start(serve)
            except (OSError, BaseExceptionGroup) as raised:
                error = first_error(raised)
                if not isinstance(error, OSError):
                    raise
                where = f"http.bind: {self._host}:{self._port}"
                text = f"{where}: {error.strerror} (stop what listens there, or set [http] bind in broadside.toml)"
                raise AddressInUse(text) from error
            self._bound(binds[0])
            ready()

    def stop(self) -> None:
        """Answer what is being answered, then end."""
        self._stopping.set()
