"""The messages between the node and its workers: length-prefixed JSON over one inherited socket pair."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import trio

from actors.channel_activity import ChannelActivity
from broadside.errors import BroadsideError
from campaigns.batch import RECIPIENTS_A_BATCH
from campaigns.channel_figures import ChannelFigures
from campaigns.channel_state import ChannelState
from campaigns.receipt import Receipts
from campaigns.walk_figures import WalkFigures
from transports.load import Load
from transports.proxy import Proxy

LARGEST = 16 * 1024 * 1024
"""Bytes of one message. A longer one is not ours."""
_LENGTH = struct.Struct("!I")


class WireError(BroadsideError):
    """The other process sent bytes that are not one of our messages."""


class TarantoolLogin(msgspec.Struct, frozen=True):
    """A Tarantool's address, user and password. Travels only over the socket pair, never in argv or logs."""

    uri: str
    user: str
    password: str
    others: tuple[str, ...] = ()
    """Where the store's master may be instead."""

    def __repr__(self) -> str:
        """Without the password."""
        return f"TarantoolLogin(uri={self.uri!r}, user={self.user!r})"


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast one worker may send on a channel."""

    bucket: str
    """Channels with the same bucket share the rate."""
    rate: float
    """Pushes a second."""
    burst: float
    batch: int = RECIPIENTS_A_BATCH
    """Recipients of a batch: at a low rate, one second's worth."""
    ramp: float
    """Seconds over which the rate rises from a small start; 0: the full rate at once."""


class ChannelSetup(msgspec.Struct, frozen=True, kw_only=True):
    """The settings from which a worker builds one channel."""

    name: str
    platform: str
    app: str
    credentials: dict[str, str]
    origin: str | None
    ca: str | None
    connections: int
    """At most, in this worker."""
    connect_every: float = 1.0
    """Seconds from one more connection to the next, so that all workers together open one a second."""
    proxy: Proxy | None = None
    pace: Pace | None
    """None: as fast as the provider takes it."""
    dead_limit: float
    warm_up: str | None = None
    quiet_channel: str | None = None
    android_v2: bool | str = False
    """Also the versions of the app, as ``version_bounds`` reads them."""
    collapse_slots: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    stamp: str = ""
    """Of the contents of its files: with another one the channel reads them anew."""
    push_services: tuple[str, ...] = ()
    labelled: bool = False
    """Whether its pushes name their campaign for the provider's own figures."""
    receipts: Receipts | None = None
    """Whose phones say by an address in the push that it has come."""
    broadcast_origin: str | None = None
    manage_origin: str | None = None


class SharedToken(msgspec.Struct, frozen=True, tag="provider-token"):
    """Node → worker, in the hello and at each renewal: the token to send to the provider (``SharedCredential``)."""

    name: str
    text: str
    issued_at: int
    """Seconds UTC."""
    made_at: float
    """Seconds of this machine's ``CLOCK_BOOTTIME``."""
    seconds: float = 0.0
    """For which its provider takes it; 0: its kind has a fixed age."""

    def __repr__(self) -> str:
        """Without the token itself."""
        return f"SharedToken(name={self.name!r}, issued_at={self.issued_at!r})"


class RefusalState(msgspec.Struct, frozen=True):
    """The dead ledger's state for one campaign and channel, as far as workers act on it."""

    campaign: int
    channel: str
    state: str
    """``stopped``, ``confirmed`` or ``denied``: see ``storage.records.DeadStanding``."""


class DeadNews(msgspec.Struct, frozen=True, tag="dead-news"):
    """Node → worker, on each change: all current states of the dead ledger."""

    standings: list[RefusalState]


class SendingPermit(msgspec.Struct, frozen=True, tag="permit"):
    """Node → worker, with each heartbeat: see ``actors.permit``."""

    stopped: list[int] = []
    """Campaigns of which nothing more is begun."""
    until: float | None = None
    """When the node's lease ends: ``time.monotonic``, which all processes of a machine share. None: not known yet."""


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Node → a worker in reserve, before the hello: import these platforms' code. It says nothing of this node's."""

    platforms: list[str]


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """Node → worker, first: the worker's name, the servers' addresses, and the channels' settings."""

    node: str
    worker: str
    store: TarantoolLogin
    queue: TarantoolLogin
    peers: dict[str, TarantoolLogin]
    replica: TarantoolLogin | None = None
    """The nearest read replica of the store."""
    channels: list[ChannelSetup]
    reports: bool
    """Whether this worker runs the node's reporter and shepherd."""
    tokens: list[SharedToken] = []
    drain: float = 25.0
    """Seconds for an orderly stop of the whole worker."""
    archive: str | None = None
    """The folder for archives of old campaigns; None: their ledgers stay in the store."""
    keep: int = 90 * 86_400_000
    """Ms after its end until a campaign's ledger is archived."""
    dead: list[RefusalState] = []
    """See ``DeadNews``."""
    permit: SendingPermit = SendingPermit()


class Reload(msgspec.Struct, frozen=True, tag="reload"):
    """Node → worker: go on with other settings, without a new start."""

    hello: Hello


class Reloaded(msgspec.Struct, frozen=True, tag="reloaded"):
    """Worker → node: the settings of the last ``Reload`` apply."""


class Probe(msgspec.Struct, frozen=True, tag="probe"):
    """Node → worker: news comes soon. Ask the providers' silent connections whether they are alive, read a page."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Node → worker: drain and end."""


class WorkerReady(msgspec.Struct, frozen=True, tag="ready"):
    """Worker → node: the tree is up."""


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """Worker → node, every second: the event loop is running."""


class Stats(msgspec.Struct, frozen=True, kw_only=True, tag="stats"):
    """Worker → node, every second: figures for people."""

    rss: int
    """Peak resident memory, bytes."""
    cpu: float
    """Seconds of processor time since the start."""
    sending: list[int] = []
    """Campaigns with batches in this worker's hands."""
    stages: dict[str, float] = {}
    """Stage of a push → seconds of processor time since the start."""
    tasks: int = 0
    """Living Trio tasks."""
    at: float = 0.0
    """When this was measured: ``time.monotonic``, which all processes of a machine share."""
    states: list[ChannelState] = []
    """Why channels stand still in this worker: a record for each such channel."""
    figures: dict[str, ChannelFigures] = {}
    """Channel → what was counted since the worker's start."""
    activity: dict[str, ChannelActivity] = {}
    """Channel → what it is doing now."""
    loads: dict[str, Load] = {}
    """Channel → its connections, and what they wait for."""
    busy: float = 0.0
    """Seconds since the start in which its event loop has run, or has waited for a core …"""
    waited: float = 0.0
    """… and those of them in which it has waited."""
    walk: WalkFigures = msgspec.field(default_factory=WalkFigures)
    """What its walkers have walked since the start."""


class Tree(msgspec.Struct, frozen=True, tag="tree"):
    """Worker → node, every second: the supervision tree as plain data."""

    snapshot: dict[str, Any]


_FromNode = Prepare | Hello | Reload | SharedToken | DeadNews | SendingPermit | Probe | Stop
Frame = _FromNode | Reloaded | WorkerReady | Beat | Stats | Tree
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Frame)


class MessageStream:
    """One end of the socket pair."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._sending = trio.Lock()  # two tasks of a worker may send at once; their frames must not mix

    async def send(self, *messages: Frame) -> None:
        """Send messages in one write (trio.BrokenResourceError if the other side is gone)."""
        frames = bytearray()
        for message in messages:
            body = _ENCODER.encode(message)
            frames += _LENGTH.pack(len(body)) + body
        async with self._sending:
            await self._stream.send_all(frames)

    async def receive(self) -> Frame | None:
        """Return the other side's next message; None if that side is gone (WireError for anything else)."""
        while True:
            body = self._whole()
            if body is not None:
                try:
                    message: Frame = _DECODER.decode(body)
                except (msgspec.DecodeError, RecursionError) as error:
                    raise WireError(f"not one of our messages: {error}") from error
                return message
            try:
                data = await self._stream.receive_some(65536)
            except trio.BrokenResourceError:
                return None
            if not data:
                return None
            self._buffer += data

    def _whole(self) -> bytes | None:
        """Take the next message from the buffer, if it is complete."""
        buffer = self._buffer
        if len(buffer) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(buffer)
        if length > LARGEST:
            raise WireError(f"a message of {length} bytes came over the wire; {LARGEST} is the most")
        end = _LENGTH.size + length
        if len(buffer) < end:
            return None
        body = bytes(buffer[_LENGTH.size : end])
        del buffer[:end]
        return body
