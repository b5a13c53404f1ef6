"""One provider token for all processes: made or fetched in the node's process, passed to the workers, used by their
transports.

Apple counts how often a key's token changes and refuses too many changes, so the processes must not each make one.
Access tokens are fetched once for the node for the same reason, and a worker that gets none fetches its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import structlog
import trio

from broadside import wire
from transports.contract import Fetched, SharedCredential, SharedText, Sharing, Transport

log = structlog.get_logger(__name__)

LOOK_EVERY = 30.0
"""Seconds between two checks of the tokens' age. It counts sleep: tokens are renewed soon after a machine wakes."""


def shared(transport: Transport) -> SharedCredential | None:
    """The credential that a transport shares with transports in other processes, or None."""
    return transport.shared if isinstance(transport, Sharing) else None


def _keeping(known: SharedCredential, found: SharedCredential) -> SharedCredential:
    """The known credential; for one that is fetched the one found, by whose settings it is fetched from now on."""
    if not isinstance(found, Fetched):
        return known
    if known is not found and (token := known.current()) is not None:
        found.set_token(token)
    return found


class TokenMaker:
    """The node's side: renews one token per credential, and sends each new token to the workers."""

    def __init__(
        self, transports: Callable[[], Mapping[str, Transport]], tell: Callable[[wire.SharedToken], Awaitable[None]]
    ) -> None:
        """``transports``: returns all channels' transports, called at the first token; ``tell`` reaches all workers."""
        self._transports = transports
        self._tell = tell
        self._credentials: dict[str, SharedCredential] | None = None
        self._life = trio.CancelScope()
        self._fetching: dict[Fetched, trio.CancelScope] = {}
        self._look = trio.Event()

    def current(self) -> list[wire.SharedToken]:
        """Every credential's token, renewed if needed. A worker gets them in its hello."""
        if self._credentials is None:
            self.change(self._transports())
            assert self._credentials is not None
        made = {name: credential.current() for name, credential in self._credentials.items()}
        return [wire.SharedToken(name, *token) for name, token in made.items() if token is not None]

    def change(self, transports: Mapping[str, Transport]) -> None:
        """Make tokens for the credentials of these transports from now on. Known credentials keep their tokens."""
        known = self._credentials or {}
        found = (shared(transport) for transport in transports.values())
        self._credentials = {
            each.name: _keeping(known.get(each.name, each), each) for each in found if each is not None
        }
        self._look.set()

    async def run(self, ready: Callable[[], None]) -> None:
        """Renew until stopped."""
        told: dict[str, wire.SharedToken] = {}  # a new incarnation sends all; workers ignore tokens that they have
        self.current()
        self._life, self._fetching = trio.CancelScope(), {}
        ready()
        with self._life:
            async with trio.open_nursery() as nursery:
                while True:
                    self._look = trio.Event()
                    self._fetch(nursery)
                    await self._tell_new(told)
                    with trio.move_on_after(LOOK_EVERY):
                        await self._look.wait()

    def _fetch(self, nursery: trio.Nursery) -> None:
        """Fetch what a provider gives out, for the credentials that there are now."""
        wanted = {each for each in (self._credentials or {}).values() if isinstance(each, Fetched)}
        for credential in self._fetching.keys() - wanted:
            self._fetching.pop(credential).cancel()
        for credential in wanted - self._fetching.keys():
            self._fetching[credential] = life = trio.CancelScope()
            nursery.start_soon(self._keep, credential, life)

    async def _keep(self, credential: Fetched, life: trio.CancelScope) -> None:
        with life:
            await credential.run(lambda: self._look.set())

    async def _tell_new(self, told: dict[str, wire.SharedToken]) -> None:
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
    """A worker's side: keeps the node's latest tokens, which outlive the transports that use them."""

    def __init__(self, tokens: list[wire.SharedToken]) -> None:
        self._tokens = {token.name: token for token in tokens}
        self._users: dict[str, SharedCredential] = {}

    def receive(self, token: wire.SharedToken) -> None:
        """Use this token from now on, in every channel with its credential."""
        if token == self._tokens.get(token.name):
            return
        self._tokens[token.name] = token
        for credential in self._users.values():
            if credential.name == token.name:
                credential.set_token(_text(token))

    def lend(self, channel: str, transport: Transport) -> None:
        """Give a channel's new transport the current token, and each later one. It replaces the channel's last one."""
        credential = shared(transport)
        if credential is None:
            return
        self._users[channel] = credential
        if isinstance(credential, Fetched):
            credential.borrow()
        token = self._tokens.get(credential.name)
        if token is not None:
            credential.set_token(_text(token))


def _text(token: wire.SharedToken) -> SharedText:
    return SharedText(token.text, token.issued_at, token.made_at, token.seconds)
