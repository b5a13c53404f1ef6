"""h2, bent where it does not fit a client of long life with a thousand streams in flight.

Every bend names its reason; nothing else in ``transports`` touches h2's inner parts.
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
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import GoAwayFrame

_TABLE_LIMIT = 4_096  # octets; a peer may allow more, and we need less


class PatientH2(h2.connection.H2Connection):
    """A client connection that goes on being useful after GOAWAY, and whose cost does not grow with open streams."""

    def __init__(self) -> None:
        super().__init__(
            H2Configuration(
                client_side=True,
                header_encoding=None,
                # Our own templates are valid; checking them again costs a third of the whole request.
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.encoder = PlainEncoder()
        self.local_settings = Settings(
            client=True, initial_values={SettingCodes.ENABLE_PUSH: 0, SettingCodes.MAX_HEADER_LIST_SIZE: 65_536}
        )

    # h2 counts its streams one by one at each new one. Http2Client.room() has counted already.
    open_outbound_streams = 0

    def receive(self, data: bytes) -> Iterator[h2.events.Event]:
        """Like ``receive_data``, but events of before an illegal frame are not lost with it. Raises ``H2Error``."""
        self.incoming_buffer.add_data(data)
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size
        try:
            for frame in self.incoming_buffer:
                yield from self._receive_frame(frame)
        except HyperframeError as error:
            raise ProtocolError(str(error)) from error

    def refuse(self, error: H2Error) -> None:
        """Tell the peer with a GOAWAY that it broke the protocol."""
        code = error.error_code if isinstance(error, ProtocolError) else ErrorCodes.PROTOCOL_ERROR
        self._terminate_connection(ErrorCodes(code))

    def forget(self, stream_id: int) -> None:
        """Drop an ended stream at once; h2 would do so at its next count."""
        stream = self.streams.get(stream_id)
        if stream is not None and stream.closed:
            del self.streams[stream_id]
            self._closed_streams[stream_id] = stream.closed_by

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Any], list[h2.events.Event]]:
        # h2 closes itself on GOAWAY: it would raise on the answers that the peer still owes, and has thrown away
        # our unsent bytes. RFC 9113 §6.8 lets streams up to last_stream_id finish.
        event = h2.events.ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


class PlainEncoder(Encoder):
    """HPACK without Huffman (it costs more CPU than it saves bytes), and with size updates as RFC 7541 §4.2 asks."""

    def __init__(self) -> None:
        super().__init__()
        self._smallest: int | None = None

    @property
    def header_table_size(self) -> int:
        """Octets of the dynamic table that we use; set to what the peer allows."""
        return self.header_table.maxsize

    @header_table_size.setter
    def header_table_size(self, value: int) -> None:
        # hpack 4.2 announces every size in between, and forgets one that was set twice. Wanted: the smallest, the last.
        value = min(value, _TABLE_LIMIT)
        if value != self.header_table.maxsize or self._smallest is not None:
            self._smallest = value if self._smallest is None else min(self._smallest, value)
            self.header_table.maxsize = value
            self.header_table.resized = False

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
