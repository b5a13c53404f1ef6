"""A provider twin put together: credentials, script, rules, ledger and socket."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import trio

from simulators import credentials as keys
from simulators import push_certificates
from simulators.apns import Apns
from simulators.director import Director
from simulators.errors import TwinError
from simulators.fcm import Fcm
from simulators.latency import Latency, sampler
from simulators.ledger import Ledger
from simulators.oauth import TokenEndpoint
from simulators.provider import Provider
from simulators.provider_tokens import ProviderKey, TokenVerifier
from simulators.script import CertificateRule, Script, load_script
from simulators.server import TwinServer, listen, server_context

Platform = Literal["apns", "fcm"]
_APP = "org.example.news"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What a twin says once it can be reached."""

    ready: bool = True
    platform: str
    port: int
    origin: str
    ca: str
    """The authority to trust: an absolute path."""
    credentials: dict[str, str]
    """What a channel's ``credentials`` table needs, paths absolute."""
    keys: list[dict[str, str]] = []
    """APNs: the same for each further key of the script."""
    certificates: dict[str, str] = {}
    """APNs: client certificates by file name, paths absolute."""
    directory: str
    ledger: str | None
    pid: int


async def serve_twin(
    platform: Platform,
    *,
    port: int = 0,
    directory: Path,
    script: Script | Path | None = None,
    ledger: Path | Ledger | None = None,
    latency_ms: float = 0.0,
    app: Sequence[str] = (),
    announce: Callable[[Ready], None],
    stopping: trio.Event | None = None,
) -> Ledger:
    """Run a twin on 127.0.0.1 until ``stopping`` is set (then answer what is in flight) or until cancelled.

    Args:
        platform: whose rules it keeps.
        port: 0 takes any free one.
        directory: where its throw-away credentials are, or will be.
        script: faults, or the file that holds them.
        ledger: where accepted pushes are written; None keeps only the sums. A ``Ledger`` stays the caller's to close.
        latency_ms: before each answer, milliseconds.
        app: topics (APNs) or project ids (FCM) it serves; none: every well-formed one.
        announce: called once, when connections are accepted.
        stopping: set it to end the twin gently.

    Returns the ledger, with its sums. Raises ``TwinError``.
    """
    if isinstance(script, Path):
        script = load_script(script)
    script = script or Script()
    director = Director(script, trio.current_time)
    latency = script.latency or Latency(constant=latency_ms if script.latency_ms is None else script.latency_ms)
    made = await trio.to_thread.run_sync(keys.ensure_credentials, directory)
    listener = await listen(port)
    try:
        port = listener.socket.getsockname()[1]
        book = ledger if isinstance(ledger, Ledger) else open_ledger(ledger)
    except BaseException:
        await trio.aclose_forcefully(listener)
        raise
    parts = _Parts(made, director, book, tuple(app), sampler(latency, script.seed), f"https://localhost:{port}")
    try:
        provider, ready = parts.apns() if platform == "apns" else parts.fcm()
        clients = None
        if ready.certificates:
            clients = push_certificates.authority_of(made.client_ca)
        context = server_context(
            made.server, provider.protocols, clients, demanded=script.client_certificates == "demand"
        )
        server = TwinServer(provider, director, book, context)
        announce(ready)
        await server.serve(listener, trio.Event() if stopping is None else stopping)
    finally:
        await trio.aclose_forcefully(listener)
        if book is ledger:
            book.flush()
        else:
            book.close()
    return book


@dataclass(frozen=True, slots=True)
class _Parts:
    """What both platforms' rules are made of."""

    made: keys.Credentials
    director: Director
    ledger: Ledger
    apps: tuple[str, ...]
    latency: Callable[[], float]
    origin: str

    def apns(self) -> tuple[Provider, Ready]:
        script = self.director.script
        usual = _key_table(self.made.apns_key, keys.KEY_ID, keys.TEAM_ID)
        known = [ProviderKey(keys.read_apns_key(self.made.apns_key), keys.KEY_ID, keys.TEAM_ID)]
        tables = []
        for rule in script.keys:
            path = keys.ensure_apns_key(self.made, rule.key_id)
            topics = frozenset(rule.topics)
            key = ProviderKey(keys.read_apns_key(path), rule.key_id, rule.team_id, topics, rule.environment)
            known.append(key)
            tables.append(_key_table(path, rule.key_id, rule.team_id))
        rules: Sequence[CertificateRule] = ()
        if script.client_certificates != "none":
            rules = script.certificates or [CertificateRule(app=app) for app in self.apps or (_APP,)]
        paths = [keys.ensure_certificate(self.made, rule.app, rule.environment) for rule in rules]
        revoked = frozenset(rule.app for rule in rules if rule.revoked)
        verifier = TokenVerifier(known, script.environment)
        provider = Apns(verifier, self.director, self.ledger, self.apps, self.latency, revoked)
        certificates = {path.name: str(path) for path in paths}
        return provider, self._ready("apns", usual, keys=tables, certificates=certificates)

    def fcm(self) -> tuple[Provider, Ready]:
        project = self.apps[0] if self.apps else keys.PROJECT
        account = keys.publish_service_account(self.made, project, f"{self.origin}/token")
        endpoint = TokenEndpoint(account, self.director.script.access_token_seconds)
        provider = Fcm(endpoint, self.director, self.ledger, self.apps, self.latency)
        return provider, self._ready("fcm", {"service_account": str(self.made.service_account)})

    def _ready(
        self,
        platform: Platform,
        credentials: dict[str, str],
        keys: Sequence[dict[str, str]] = (),
        certificates: dict[str, str] | None = None,
    ) -> Ready:
        return Ready(
            platform=platform,
            port=int(self.origin.rpartition(":")[2]),
            origin=self.origin,
            ca=str(self.made.ca),
            credentials=credentials,
            keys=list(keys),
            certificates=certificates or {},
            directory=str(self.made.directory),
            ledger=None if self.ledger.path is None else str(self.ledger.path.absolute()),
            pid=os.getpid(),
        )


def _key_table(path: Path, key_id: str, team_id: str) -> dict[str, str]:
    return {"key": str(path), "key_id": key_id, "team_id": team_id}


def open_ledger(path: Path | None) -> Ledger:
    """Open a ledger (raises ``TwinError`` if it cannot be written)."""
    try:
        return Ledger(path)
    except OSError as error:
        raise TwinError(f"ledger {path}: {error.strerror}: name a file that can be written") from None
