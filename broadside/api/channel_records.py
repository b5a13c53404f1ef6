"""The API's records about channels that come and go while the node runs."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

_Text = Annotated[str, Meta(min_length=1, max_length=4096)]
_Credentials = Annotated[dict[str, Annotated[str, Meta(max_length=4096)]], Meta(max_length=16)]


class ChannelSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What ``[channels.NAME]`` of broadside.toml has, under the same names. docs/operating.md says what each is."""

    platform: Annotated[str, Meta(min_length=1, max_length=64)]
    app: Annotated[str, Meta(min_length=1, max_length=1024)]
    """The app's id at the provider."""
    credentials: _Credentials = {}
    """The platform's keys. Files are named, and lie in ``credentials`` of the node's data folder."""
    twin: bool = False
    rate: float | None = None
    """Pushes a second."""
    dead_limit: float | None = None
    daily_limit: int | None = None
    connections: int | None = None
    warm_up: _Text | None = None
    quiet_channel: _Text | None = None
    android_v2: bool | Annotated[str, Meta(max_length=100)] | None = None
    collapse_slots: Annotated[list[_Text], Meta(max_length=4)] = []
    devices: Annotated[list[_Text], Meta(max_length=16)] = []
    push_services: Annotated[list[_Text], Meta(max_length=100)] = []
    origin: _Text | None = None
    broadcast_origin: _Text | None = None
    manage_origin: _Text | None = None
    ca: _Text | None = None
    """A PEM file in ``credentials`` of the node's data folder."""
    zone: _Text | None = None
    delivery: _Credentials = {}
    """How its provider's own figures of deliveries are had (docs/delivery-truth.md)."""


class ChannelCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """What takes the place of a channel's credentials."""

    credentials: _Credentials = {}
    """All of them. Empty: the same, whose files are read anew."""


class ChannelChanged(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of a channel has changed. It applies by now, and after a restart."""

    channel: str
    changed: list[str]
    """Each difference as a line, without values that may be secret; empty: everything was as it was asked for."""


class ChannelRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A channel of the node as it is configured, without its credentials."""

    channel: str
    by_api: bool
    """Whether the API may change it; false: it is in broadside.toml."""
    platform: str
    app: str
    credentials: list[str]
    """The names of the entries that it has."""
    twin: bool
    rate: float | None
    dead_limit: float
    daily_limit: int | None
    connections: int
    quiet_channel: str | None
    android_v2: bool | str
    collapse_slots: list[str]
    devices: list[str]
    push_services: list[str]
    origin: str | None
    broadcast_origin: str | None
    manage_origin: str | None
    zone: str | None
    delivery: list[str]
    """The names of the entries that it has."""
