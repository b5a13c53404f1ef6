"""Sentences for Fire and for a campaign's report about channels that no node serves."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from broadside.api.served_channels import meant
from broadside.errors import Problem, RecordError
from campaigns.channel_state import ChannelState
from storage.records import Audience

LEFT_OUT = "left_out"
"""The entry of a campaign's policy with the channels that Fire left out as the editor asked: channel → a sentence."""
SERVE = "give a node the channel in its broadside.toml and start it again"


def refuse(audience: Audience, wanted: Collection[str] | None, known: Collection[str]) -> None:
    """Raise ``RecordError`` for a Fire that would reach nobody, or not all channels that the editor has named."""
    if audience.unserved and (wanted is not None or not audience.channels):
        name = min(audience.unserved)
        whom = ", ".join(f"{each}: {_phones(n)}" for each, n in sorted(audience.unserved.items()))
        remedy = meant(name, known) if wanted is not None else f"{meant(name, known)}; import them again, or {SERVE}"
        raise RecordError(Problem("channels", f"no node serves {whom}", remedy, name))
    if not audience.together:
        remedy = "fire one campaign for each (--channel NAME), or give one node all of them"
        raise RecordError(Problem("channels", f"no node serves all of {', '.join(audience.channels)}", remedy))


def notes(unserved_: Mapping[str, int]) -> list[str]:
    """Return a sentence for each channel that a campaign leaves out because no node served it at Fire."""
    return [
        f"no node serves {name}: {_phones(n)} get nothing; {SERVE}, and fire for them"
        for name, n in sorted(unserved_.items())
    ]


def left_out(objections: Mapping[str, Problem], unserved_: Mapping[str, int]) -> dict[str, str]:
    """Channel → why the campaign leaves it out: its platform's objection to the message, or that no node serves it."""
    found = {name: f"{name} is left out, its platform objects: {problem}" for name, problem in objections.items()}
    return found | {name: notes({name: n})[0] for name, n in unserved_.items()}


def missing(channels: Mapping[str, tuple[bool, int]]) -> list[ChannelState]:
    """Why firing campaigns are not walked now, from ``Store.channels_missing``."""
    together = ", ".join(sorted(name for name, (alone, _) in channels.items() if not alone))
    return [
        ChannelState(
            channel=name,
            reason="unserved",
            sentence=(
                f"no living node serves {name}: its campaigns wait for one until they expire"
                if alone
                else f"no living node serves all of {together}, which one campaign needs: it waits until it expires"
            ),
            since=since,
            remedy=SERVE,
        )
        for name, (alone, since) in sorted(channels.items())
    ]


def _phones(count: int) -> str:
    return f"{count:,} phone{'' if count == 1 else 's'}"
