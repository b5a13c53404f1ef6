"""From a configuration's channels to what workers, checks and previews are built from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path

from broadside import wire
from broadside.config.config import Channel, Config
from broadside.errors import ConfigError, Problem
from broadside.node.processes import TwinState
from broadside.node.quotas import Allowance, allowances
from broadside.outward.delivery_desk import DeliveryChannel
from broadside.topology import build_transport, settings
from transports import registry
from transports.contract import DELIVERY_EXPIRES, DELIVERY_ORIGIN, DeliverySource, Quota, Transport
from transports.errors import TransportError


class ChannelSetups:
    """The channels of one configuration. ``twins``: platform → the simulator of channels with ``twin = true``."""

    def __init__(self, config: Config, twins: Mapping[str, TwinState]) -> None:
        self._config = config
        self._twins = twins
        self._transports: dict[str, Transport] = {}
        self.allowances = self._shared_out({})
        """Channel → how fast it may send; the providers' quotas are included after `check`."""

    def check(self) -> None:
        """Build the transport of every channel with credentials (ConfigError for one that cannot be built).

        From then on their quotas are known.
        """
        quotas: dict[str, Quota | None] = {}
        for name, channel in self._config.channels.items():
            if channel.twin:
                continue
            try:
                quotas[name] = build_transport(self.setup(name)).quota
                if channel.delivery:
                    self._source(name)
            except TransportError as error:
                raise ConfigError([Problem(f"channels.{name}", str(error))]) from None
        self.allowances = self._shared_out(quotas)

    def all(self) -> list[wire.ChannelSetup]:
        """A worker's setups. The files that they name are stamped as they are now."""
        return [self.setup(name) for name in self._config.channels]

    def setup(self, name: str) -> wire.ChannelSetup:
        """One channel's."""
        channel, workers = self._config.channels[name], self._config.node.workers
        credentials, origin, ca = channel.credentials, channel.origin, channel.ca
        if channel.twin:
            twin = self._twins[channel.platform]
            credentials, origin, ca = twin.credentials, twin.origin, Path(twin.ca)
        return wire.ChannelSetup(
            name=name,
            platform=channel.platform,
            app=channel.app,
            credentials=credentials,
            origin=origin,
            ca=None if ca is None else str(ca),
            connections=max(1, channel.connections // workers),
            connect_every=float(workers),
            proxy=None if channel.twin else self._config.proxy,
            pace=self.allowances[name].pace,
            dead_limit=channel.dead_limit,
            warm_up=channel.warm_up,
            quiet_channel=channel.quiet_channel,
            android_v2=channel.android_v2,
            collapse_slots=channel.collapse_slots,
            devices=channel.devices,
            push_services=channel.push_services,
            labelled=bool(channel.delivery),
            receipts=self._config.receipts,
            broadcast_origin=channel.broadcast_origin,
            manage_origin=channel.manage_origin,
            stamp=stamp(_files(channel)),
        )

    @property
    def weights(self) -> dict[str, float]:
        """Channel → the CPU of a push, in that of an ordinary one (``Platform.weight``)."""
        return {name: registry.weight_of(channel.platform) for name, channel in self._config.channels.items()}

    def delivery(self) -> dict[str, DeliveryChannel]:
        """The channels whose providers are asked for their own figures of deliveries."""
        found = {}
        for name, channel in self._config.channels.items():
            if channel.delivery:
                day = channel.delivery.get(DELIVERY_EXPIRES.name)
                expires = None if day is None else date.fromisoformat(day)
                found[name] = DeliveryChannel(partial(self._source, name), expires)
        return found

    def _source(self, name: str) -> DeliverySource:
        setup, channel = self.setup(name), self._config.channels[name]
        reports = registry.load(channel.platform).delivery
        assert reports is not None  # the configuration's reader refuses the table elsewhere
        own = {DELIVERY_ORIGIN.name: setup.origin} if channel.twin and setup.origin is not None else {}
        return reports.build(settings(setup), own | channel.delivery)

    def transports(self) -> dict[str, Transport]:
        """Each channel's transport, built but never run: for its check of messages and its shared credential.

        Call it once the twins are up: then their credentials are known.
        """
        if not self._transports:
            self._transports = {setup.name: build_transport(setup) for setup in self.all()}
        return self._transports

    def _shared_out(self, quotas: dict[str, Quota | None]) -> dict[str, Allowance]:
        config = self._config
        return allowances(config.channels, quotas, config.node.workers, len(config.peers) + 1)


def _files(channel: Channel) -> list[Path]:
    """The files that a channel is built from. A twin writes its own, and they stay."""
    if channel.twin:
        return []
    fields = {field.name for fields in registry.load(channel.platform).credentials for field in fields if field.file}
    files = [Path(value) for name, value in channel.credentials.items() if name in fields]
    return files if channel.ca is None else [*files, channel.ca]


def stamp(files: Sequence[Path]) -> str:
    """A short text that changes with the files' contents; empty without any."""
    digest = hashlib.sha256()
    for file in files:
        with suppress(OSError):  # whoever needs the file says so
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16] if files else ""
