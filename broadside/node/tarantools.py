"""The Tarantools of a node: the one that it runs itself, and how to log in to each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec

from broadside import wire
from broadside.config.config import Config
from broadside.config.tarantool import OwnQueue, ServerConfig
from broadside.datafolder import DataFolder
from storage import admin
from storage.embedded import Embedded
from storage.recovery import Recovery
from storage.tarantool_program import read_version


class Tarantools:
    """Reads the configuration. Passwords are read anew for each login."""

    def __init__(self, config: Config, folder: DataFolder) -> None:
        self._config = config
        self.own = self._own(folder)
        """The node's own: store and queue, the queue alone, or None, as the configuration says."""
        self.recovery = None if self.own is None else Recovery(self.own.directory)
        """How long its start takes."""
        self.told = ""
        """What it reported when it was up, in words: its version, whether that is supported, and its tubes."""

    def up(self, said: Mapping[str, object]) -> None:
        """The node's own Tarantool serves. ``said``: its first line."""
        assert self.recovery is not None
        self.recovery.done(said)
        found = read_version(str(said["version"]))
        self.told = f"{found.text}, {found.support}; tubes: {said['tubes']}"

    def serve(self, config: Config) -> None:
        """Make the tubes of this configuration, and admit its hosts; of the node's own instance alone.

        Raises ``OSError`` if it does not answer, and ``AdminRefused``. It blocks: call it in a thread.
        """
        if self.own is not None and "tubes" in self.own.roles:
            hosts = config.queue.hosts if isinstance(config.queue, OwnQueue) else ()
            admin.ask(self.own.admin, "serve", channels=config.tubes, hosts=list(hosts))

    def change(self, config: Config) -> None:
        """Go on with another configuration, and start the node's own instance so from its next start on."""
        self._config = config
        if self.own is not None:
            hosts = config.queue.hosts if isinstance(config.queue, OwnQueue) else ()
            self.own = dataclasses.replace(self.own, channels=config.tubes, hosts=hosts)

    def _own(self, folder: DataFolder) -> Embedded | None:
        config, channels = self._config, self._config.tubes
        if config.store is None:
            return Embedded(folder.tarantool, channels, memory=config.node.memory_bytes, module=config.queue_module)
        if not isinstance(config.queue, OwnQueue):
            return None
        return Embedded(
            folder.queue,
            channels,
            roles=["tubes"],
            listen=config.queue.listen,
            hosts=config.queue.hosts,
            peer_password=config.queue.peers_password(),
            memory=config.node.memory_bytes,
            module=config.queue_module,
        )

    def store(self) -> wire.TarantoolLogin:
        """The store's login."""
        if self._config.store is None:
            return self._own_login()
        return msgspec.structs.replace(_login(self._config.store), others=self._config.store.others)

    def replica(self) -> wire.TarantoolLogin | None:
        """The login of the store's replica from which pages are read; None: there is none."""
        store = self._config.store
        if store is None or store.replica is None:
            return None
        return wire.TarantoolLogin(store.replica, store.user, store.password())

    def queue(self) -> wire.TarantoolLogin:
        """The login of this node's queue."""
        match self._config.queue:
            case None:
                return self.store()
            case OwnQueue():
                return self._own_login()
            case server:
                return _login(server)

    def peers(self) -> dict[str, wire.TarantoolLogin]:
        """The logins of the other nodes' queues, by the nodes' names."""
        return logins(self._config)

    def _own_login(self) -> wire.TarantoolLogin:
        assert self.own is not None
        endpoint = self.own.endpoint
        return wire.TarantoolLogin(endpoint.uri, endpoint.user, endpoint.password)


def logins(config: Config) -> dict[str, wire.TarantoolLogin]:
    """The logins of the other nodes' queues, by the nodes' names."""
    return {peer.name: _login(peer) for peer in config.peers}


def _login(server: ServerConfig) -> wire.TarantoolLogin:
    return wire.TarantoolLogin(server.uri, server.user, server.password())
