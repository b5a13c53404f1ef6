"""Where an instance of Tarantool listens. Apart from the connection, so that naming a place loads no driver."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an instance listens, and the user to log in as."""

    uri: str
    """``host:port`` or ``unix/:/path``."""
    user: str = "broadside"
    password: str = field(default="", repr=False)
    others: tuple[str, ...] = ()
    """Other addresses of it, tried in order: the right instance answers ``probe`` with true, as long as it is that."""
    probe: str = ""

    @property
    def addresses(self) -> int:
        """How many addresses it may have."""
        return 1 + len(self.others)

    def address(self, number: int = 0) -> tuple[str, str]:
        """Host and port of the uri with that number, as the driver wants them: an IPv6 address without its brackets.

        A Unix socket is host ``unix/``.
        """
        uris = (self.uri, *self.others)
        host, _, port = uris[number % len(uris)].rpartition(":")
        return host.removeprefix("[").removesuffix("]"), port
