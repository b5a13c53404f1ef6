"""The Host header: a page of another site must not reach a node under a name of its own (DNS rebinding)."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.requests import Request

from broadside.console.http_answers import ApiFailure


class HostNames:
    """The names under which the API may be asked for: addresses, ``localhost``, and those of ``[http] names``."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}

    def check(self, request: Request) -> None:
        """Raise ``ApiFailure`` for a request under another name."""
        given = request.headers.get("host", "")
        if not self.knows(given):
            raise ApiFailure(
                421,
                "this node is not known under the name of the request",
                field="host",
                value=given[:100],
                remedy="use the node's address, or add the name to [http] names in broadside.toml",
            )

    def knows(self, host: str) -> bool:
        """Whether a Host header, with or without a port, is one of ours. No name can lead to an address by a trick."""
        name = host.lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        elif name.count(":") == 1:
            name = name.partition(":")[0]
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name.rstrip(".") in self._names
        return True
