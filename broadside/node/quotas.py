"""How fast each channel may send: its provider's quota, or its ``rate``, divided among workers and nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from broadside.config.config import Channel
from broadside.wire import Pace
from campaigns.batch import RECIPIENTS_A_BATCH
from transports.contract import Quota

LEAST = 10
"""Recipients of the smallest batch: a task for each phone would fill the queue's memory."""


def batch(rate: float) -> int:
    """Recipients of a batch at ``rate`` pushes a second: one second's worth, as all of them go out at once."""
    return max(LEAST, int(min(RECIPIENTS_A_BATCH, rate)))


@dataclass(frozen=True, slots=True)
class Allowance:
    """One channel's share, as a number and in words."""

    pace: Pace | None
    """For one worker; None: no limit."""
    text: str
    provider: bool = False
    """Whether it is the provider's quota, and not the channel's own rate."""


def allowances(
    channels: Mapping[str, Channel], quotas: Mapping[str, Quota | None], workers: int, nodes: int
) -> dict[str, Allowance]:
    """Divide the quotas. ``quotas``: as the channels' transports report them; ``nodes``: nodes in the ring.

    Channels with the same quota owner share one bucket, at the lowest ``rate`` that any of them sets.
    """
    owned: dict[str, list[str]] = {}
    for name, channel in channels.items():
        owned.setdefault(_owner(name, channel, quotas.get(name)), []).append(name)
    found: dict[str, Allowance] = {}
    for owner, names in owned.items():
        rates = [rate for name in names if (rate := channels[name].rate) is not None]
        for name in names:
            found[name] = _allowance(
                owner, channels[name], quotas.get(name), min(rates, default=None), names, (workers, nodes)
            )
    return {name: found[name] for name in channels}


def _owner(name: str, channel: Channel, quota: Quota | None) -> str:
    return f"channel {name}" if quota is None else f"{channel.platform} {quota.owner}"


def _allowance(
    owner: str, channel: Channel, quota: Quota | None, rate: float | None, names: list[str], parts: tuple[int, int]
) -> Allowance:
    workers, nodes = parts
    of_ours = f", of which this node takes 1/{nodes}" if nodes > 1 else ""
    if rate is not None:
        share = rate / (workers * nodes)
        size = batch(share)
        pace = Pace(bucket=owner, rate=share, burst=max(share, size), batch=size, ramp=quota.ramp if quota else 0.0)
        text = f"{rate:,.10g} a second by {'the lowest ' if len(names) > 1 else ''}rate"
    elif quota is not None:
        share = quota.a_minute / (workers * nodes)
        # the bursts on top of the steady flow count towards the minute too: the bucket's, and of each channel a batch
        # of the upper lane and one of the others
        size = batch(share / 60)
        at_once = float(size * (1 + 2 * len(names)))
        rate_ = max(share - at_once, share / 2) / 60
        pace = Pace(bucket=owner, rate=rate_, burst=size, batch=size, ramp=quota.ramp)
        text = f"{quota.a_minute:,.10g} a minute"
    elif channel.twin:
        return Allowance(None, "off (twin)")
    elif channel.origin is not None:
        return Allowance(None, f"off ({channel.origin} is not the provider's own)")
    else:
        return Allowance(None, f"none ({channel.platform} sets no rate)")
    if quota is not None:
        shared = f", shared by {' and '.join(names)}" if len(names) > 1 else ""
        text += f" ({quota.owner}{shared}), rising over {quota.ramp:g} s"
    return Allowance(pace, text + of_ours, rate is None)
