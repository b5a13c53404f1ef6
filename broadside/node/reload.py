"""Reads a running node's configuration anew, and checks all of it before anything changes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple

import trio

from broadside.config.config import Channel, Config, load
from broadside.config.difference import Difference, difference
from broadside.config.put_channels import PutChannels
from broadside.console.console import tls_of
from broadside.errors import ChannelInUse, ConfigError, Problem
from broadside.node.channel_setups import ChannelSetups
from broadside.node.processes import TwinState
from campaigns.identity import campaign_text
from storage.errors import StorageError
from storage.store import Store


class Anew(NamedTuple):
    """What a configuration changes, and what its channels are built from."""

    found: Difference
    setups: ChannelSetups

    @property
    def config(self) -> Config:
        """What applies from now on."""
        return self.found.config


async def read_anew(old: Config, put: PutChannels) -> Config:
    """Read the file of ``old`` again, and the channels put by the API (ConfigError if anything in them is wrong)."""
    if old.source is None:
        raise ConfigError([Problem("--config", "the demo has no file to read anew", "start the node with a file")])
    config = await trio.to_thread.run_sync(load, old.source)
    return await trio.to_thread.run_sync(lambda: put.merged(config, put.read()))


async def compared(
    old: Config, new: Config, twins: Mapping[str, TwinState], waits: Callable[[Channel], bool], store: Store
) -> Anew:
    """Compare, and check all that can be (ConfigError). ``waits``: see ``difference``.

    ``twins``: platform → the simulator that runs. The store says which campaigns are under way.
    """
    found = difference(old, new, waits)
    setups = ChannelSetups(found.config, twins)
    setups.check()
    tls_of(found.config.http)
    await _refuse_to_leave(_leaving(old, found.config), store)
    return Anew(found, setups)


def _leaving(old: Config, new: Config) -> set[str]:
    """The channels that leave, or become another app's: what is on their tubes must not go there."""
    app = {name: (channel.platform, channel.app) for name, channel in new.channels.items()}
    return {name for name, channel in old.channels.items() if app.get(name) != (channel.platform, channel.app)}


async def _refuse_to_leave(channels: Collection[str], store: Store) -> None:
    """Raise ``ChannelInUse`` if a campaign is under way to one of these channels: its news would wait for ever."""
    if not channels:
        return
    try:
        under_way = await store.campaigns_under_way()
    except StorageError as error:
        what = f"the store does not say whether a campaign still goes to it: {error}"
        raise ConfigError([Problem(f"channels.{min(channels)}", what, "try again later")]) from None
    found = [(campaign, name) for campaign in under_way for name in sorted(campaign.channels & set(channels))]
    problems = [
        Problem(
            f"channels.{name}",
            f"cannot leave, or be another app's: campaign {campaign_text(campaign.id)} ({campaign.state}) goes to it",
            "try again when it has ended, or cancel it",
        )
        for campaign, name in found
    ]
    if problems:
        raise ChannelInUse(problems, campaign_text(found[0][0].id))
