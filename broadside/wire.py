"""What the node and its workers say to each other: length-prefixed JSON over one inherited socket pair."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import trio

from broadside.errors import BroadsideError
from campaigns.channel_state import ChannelState

LARGEST = 16 * 1024 * 1024
"""Bytes of one message. More than that is no message of ours."""
_LENGTH = struct.Struct("!I")


class WireError(BroadsideError):
    """The other process said something that is none of our messages."""


class TarantoolLogin(msgspec.Struct, frozen=True):
    """Where a Tarantool listens, and as whom to come. Travels over the socket pair only, never in argv or logs."""

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
    """Channels of one bucket share it."""
    rate: float
    """Pushes a second."""
    burst: float
    ramp: float
    """Seconds over which the rate rises from a small start; 0: at once."""


class ChannelSetup(msgspec.Struct, frozen=True, kw_only=True):
    """One channel as a worker builds it."""

    name: str
    platform: str
    app: str
    credentials: dict[str, str]
    origin: str | None
    ca: str | None
    connections: int
    pace: Pace | None
    """None: as fast as the provider takes it."""
    dead_limit: float
    warm_up: str | None = None


class SharedToken(msgspec.Struct, frozen=True, tag="provider-token"):
    """Node → worker, in the hello and at each renewal: show the provider this one (``SharedCredential``)."""

    name: str
    text: str
    issued_at: int
    """Seconds UTC."""
    made_at: float
    """Seconds of this machine's ``CLOCK_BOOTTIME``."""

    def __repr__(self) -> str:
        """Without the token itself."""
        return f"SharedToken(name={self.name!r}, issued_at={self.issued_at!r})"


class RefusalState(msgspec.Struct, frozen=True):
    """What stands of the dead ledger for one campaign and channel, as far as a worker acts by it."""

    campaign: int
    channel: str
    state: str
    """``stopped``, ``confirmed`` or ``denied``: see ``storage.records.DeadStanding``."""


class DeadNews(msgspec.Struct, frozen=True, tag="dead-news"):
    """Node → worker, whenever it has changed: all that stands of the dead ledger."""

    standings: list[RefusalState]


class Hello(msgspec.Struct, frozen=True, kw_only=True, tag="hello"):
    """Node → worker, first: who you are, and where everything is."""

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
    dead: list[RefusalState] = []
    """See ``DeadNews``."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Node → worker: drain and end."""


class WorkerReady(msgspec.Struct, frozen=True, tag="ready"):
    """Worker → node: the tree is up."""


class Beat(msgspec.Struct, frozen=True, tag="beat"):
    """Worker → node, every second: the loop turns."""


class Stats(msgspec.Struct, frozen=True, kw_only=True, tag="stats"):
    """Worker → node, every second: what a person should see."""

    rss: int
    """Peak resident memory, bytes."""
    cpu: float
    """Seconds of processor time since the start."""
    sending: list[int] = []
    """Campaigns of which it has batches in hand."""
    stages: dict[str, float] = {}
    """Stage of a push → seconds of processor time since the start."""
    tasks: int = 0
    """Trio tasks that live."""
    at: float = 0.0
    """When this was so: ``time.monotonic``, which all processes of a machine share."""
    states: list[ChannelState] = []
    """Why channels stand still in this worker, a record for each that does."""


class Tree(msgspec.Struct, frozen=True, tag="tree"):
    """Worker → node, every second: the supervision tree as plain data."""

    snapshot: dict[str, Any]


Frame = Hello | SharedToken | DeadNews | Stop | WorkerReady | Beat | Stats | Tree
_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Frame)


class MessageStream:
    """One end of the socket pair."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()
        self._sending = trio.Lock()  # a frame is one piece: two tasks of a worker may speak at once

    async def send(self, *messages: Frame) -> None:
        """Send messages in one write (trio.BrokenResourceError when the other side is gone)."""
        frames = bytearray()
        for message in messages:
            body = _ENCODER.encode(message)
            frames += _LENGTH.pack(len(body)) + body
        async with self._sending:
            await self._stream.send_all(frames)

    async def receive(self) -> Frame | None:
        """What the other side says next; None when it is gone (WireError for what is no message)."""
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
        """The next message, if all of it is here."""
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
