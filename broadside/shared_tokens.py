"""One provider token for all processes: made in the node's own, handed to the workers, used by their transports.

Apple counts how often a key's token changes and refuses too many, so that processes must not each make their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog
import trio

from broadside import wire
from transports.contract import SharedCredential, Sharing, Transport

log = structlog.get_logger(__name__)

LOOK_EVERY = 30.0
"""Seconds between two looks at the tokens' age, which counts sleep: a machine that slept is found out soon."""


def shared(transport: Transport) -> SharedCredential | None:
    """What a transport has to share with those in other processes."""
    return transport.shared if isinstance(transport, Sharing) else None


class TokenMaker:
    """The node's side: keeps one token per credential fresh, and tells of each new one."""

    def __init__(
        self, transports: Callable[[], Mapping[str, Transport]], tell: Callable[[wire.SharedToken], Awaitable[None]]
    ) -> None:
        """``transports``: those of all channels, asked when the first token is wanted; ``tell`` reaches all workers."""
        self._transports = transports
        self._tell = tell
        self._credentials: dict[str, SharedCredential] | None = None
        self._life = trio.CancelScope()

    def current(self) -> list[wire.SharedToken]:
        """Every credential's token, fresh: what a worker is told first."""
        if self._credentials is None:
            found = (shared(transport) for transport in self._transports().values())
            self._credentials = {credential.name: credential for credential in found if credential is not None}
        return [wire.SharedToken(name, *credential.current()) for name, credential in self._credentials.items()]

    async def run(self, ready: Callable[[], None]) -> None:
        """Renew until stopped."""
        told: dict[str, wire.SharedToken] = {}  # a new incarnation tells all: what workers have they pass over
        self.current()
        self._life = trio.CancelScope()
        ready()
        with self._life:
            while True:
                await trio.sleep(LOOK_EVERY)
                for token in self.current():
                    if token != told.get(token.name):
                        if token.name in told:
                            log.info("provider token renewed", credential=token.name)
                        told[token.name] = token
                        await self._tell(token)

    def stop(self) -> None:
        """End at once."""
        self._life.cancel()


class TokenHolder:
    """A worker's side: the node's latest tokens, which outlive the transports that use them."""

    def __init__(self, tokens: list[wire.SharedToken]) -> None:
        self._tokens = {token.name: token for token in tokens}
        self._users: dict[str, SharedCredential] = {}

    def receive(self, token: wire.SharedToken) -> None:
        """Use this one from now on, in every channel whose credential it is."""
        if token == self._tokens.get(token.name):
            return
        self._tokens[token.name] = token
        for credential in self._users.values():
            if credential.name == token.name:
                credential.set_token(token.text, token.issued_at, token.made_at)

    def lend(self, channel: str, transport: Transport) -> None:
        """Let a channel's new transport use what is here, and what will come. It takes the place of the last one."""
        credential = shared(transport)
        if credential is None:
            return
        self._users[channel] = credential
        token = self._tokens.get(credential.name)
        if token is not None:
            credential.set_token(token.text, token.issued_at, token.made_at)
