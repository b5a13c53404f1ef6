"""h2 for stream 0: preface, SETTINGS in both directions, PING, the connection's window, GOAWAY. It sees no requests.

Each override gives its reason; nothing else in ``transports`` touches h2's internals.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import h2.connection
import h2.events
from h2.config import H2Configuration
from h2.errors import ErrorCodes
from h2.exceptions import H2Error, ProtocolError
from h2.settings import SettingCodes, Settings
from hpack import Encoder
from hpack.table import HeaderTable
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import GoAwayFrame

from transports.http2.frames import ACK, HEAD_SIZE, SETTINGS, PeerError

TABLE_LIMIT = 4_096
"""Most octets of the peer's dynamic table that we use; it may allow more, and we need less."""
HEADER_LIST_LIMIT = 65_536
_UNREAD_LIMIT = 65_536  # most octets of answers to SETTINGS and PING that a peer leaves unread


class ControlStream(h2.connection.H2Connection):
    """The connection's own stream, which stays usable after GOAWAY."""

    def __init__(self) -> None:
        super().__init__(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.encoder: PlainEncoder = PlainEncoder()
        self.local_settings = Settings(
            client=True,
            initial_values={
                # Answers repeat little, and a table costs bookkeeping: peers that obey send plain blocks.
                SettingCodes.HEADER_TABLE_SIZE: 0,
                SettingCodes.ENABLE_PUSH: 0,
                SettingCodes.MAX_HEADER_LIST_SIZE: HEADER_LIST_LIMIT,
            },
        )
        self._unread = 0
        self.initiate_connection()

    def receive(self, kind: int, flags: int, frame: bytes) -> Iterator[h2.events.Event]:
        """Process one frame of stream 0. Raises ``PeerError``."""
        if kind == SETTINGS and not flags & ACK:
            self._announce_table_sizes(frame)
        self.incoming_buffer.add_data(frame)
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size
        try:
            for parsed in self.incoming_buffer:
                yield from self._receive_frame(parsed)
        except ProtocolError as error:
            raise PeerError(ErrorCodes(error.error_code), str(error) or type(error).__name__) from error
        except (H2Error, HyperframeError) as error:
            raise PeerError(ErrorCodes.PROTOCOL_ERROR, f"{type(error).__name__}: {error}") from error

    def taken(self) -> bytes:
        """Take the bytes to be written. Raises ``PeerError`` if the peer keeps asking but does not read the answers."""
        data = self.data_to_send()
        self._unread += len(data)
        if self._unread > _UNREAD_LIMIT:
            raise PeerError(ErrorCodes.ENHANCE_YOUR_CALM, "too many PING and SETTINGS, answers not read")
        return data

    def written(self) -> None:
        """The peer has read what we sent."""
        self._unread = 0

    def terminate(self, code: ErrorCodes) -> bytes:
        """Return GOAWAY as the last bytes."""
        self._terminate_connection(code)
        return self.data_to_send()

    def _announce_table_sizes(self, frame: bytes) -> None:
        # h2 reports only the last of several values of one setting, but the smallest must be announced.
        for at in range(HEAD_SIZE, len(frame) - 5, 6):
            if frame[at : at + 2] == b"\x00\x01":
                self.encoder.header_table_size = int.from_bytes(frame[at + 2 : at + 6], "big")

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Any], list[h2.events.Event]]:
        # h2 closes itself on GOAWAY: it would raise on PING and SETTINGS, and drop our unsent bytes.
        # RFC 9113 §6.8 lets streams up to last_stream_id finish.
        event = h2.events.ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


class _Table(HeaderTable):
    """A dynamic table that counts its changes: each of them shifts the indices of the entries."""

    def __init__(self) -> None:
        super().__init__()
        self.generation = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.generation += 1
        super().add(name, value)


class PlainEncoder(Encoder):
    """HPACK without Huffman, which costs too much CPU for the bytes it saves; size updates as in RFC 7541 §4.2."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table: _Table = _Table()
        self._smallest: int | None = None

    @property
    def generation(self) -> int:
        """A number that changes with the table: indices found before a change are invalid."""
        return self.header_table.generation

    @property
    def header_table_size(self) -> int:
        """Octets of the dynamic table that we use; set to what the peer allows."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        # hpack 4.2 announces every size in between, and forgets one that was set twice. Needed: smallest and last.
        value = min(value, TABLE_LIMIT)
        if value != self.header_table.maxsize or self._smallest is not None:
            self._smallest = value if self._smallest is None else min(self._smallest, value)
            self.header_table.maxsize = value
            self.header_table.resized = False
            self.header_table.generation += 1

    def encode(self, headers: Iterable[Any], huffman: bool = False) -> bytes:
        """Encode a header list, preceded by the size updates that are due."""
        prefix = b""
        if self._smallest is not None:
            self.table_size_changes = [self._smallest]
            if self.header_table.maxsize != self._smallest:
                self.table_size_changes.append(self.header_table.maxsize)
            self._smallest = None
            prefix = self._encode_table_size_change()
        return prefix + super().encode(headers, huffman=False)

    def find(self, name: bytes, value: bytes) -> tuple[int, bool]:
        """Return (index, whether the value matches too); index 0: not even the name is in the table."""
        match = self.header_table.search(name, value)
        return (0, False) if match is None else (match[0], match[2] is not None)
