"""HTTP/1.1, for token endpoints and for providers that do not speak HTTP/2. Speed does not matter here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import h11
import trio

from simulators.faults.script import ConnectionFaultRule
from simulators.http2.header_compression import Field
from simulators.http2.received_request import ReceivedRequest
from simulators.ledger import Ledger
from simulators.provider import Session

_BODY_LIMIT: Final = 262_144


async def serve_http1(
    stream: trio.abc.Stream,
    session: Session,
    ledger: Ledger,
    faults: Sequence[ConnectionFaultRule] = (),
    scheme: bytes = b"https",
) -> None:
    """Serve requests one after the other until the client closes or breaks the protocol.

    ``faults``: by rising ``after``. Of them HTTP/1.1 can play the ends (``close``, ``cut``, ``goaway``) and ``mute``.
    """
    connection = h11.Connection(h11.SERVER)
    ends = [fault for fault in faults if fault.do in ("close", "cut", "goaway", "mute")]
    taken = 0
    try:
        while True:
            request = await _receive(stream, connection, scheme)
            if request is None:
                return
            answer = session.answer(request)
            ledger.flush()
            taken += 1
            fault = ends[0] if ends and taken >= ends[0].after else None
            if fault is not None and fault.do == "mute":
                await trio.sleep_forever()
            if fault is not None and fault.unanswered:
                return
            if answer.delay:
                await trio.sleep(answer.delay)
            if answer.mute:
                await trio.sleep_forever()
            if answer.reset is not None:
                return
            (_, status), *fields = answer.fields
            fields.append((b"content-length", str(len(answer.body)).encode()))
            out = connection.send(h11.Response(status_code=int(status), headers=fields)) or b""
            out += connection.send(h11.Data(data=answer.body)) or b""
            out += connection.send(h11.EndOfMessage()) or b""
            await stream.send_all(out)
            if fault is not None:
                return
            if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                return
            connection.start_next_cycle()
    except h11.RemoteProtocolError:
        return


async def _receive(stream: trio.abc.Stream, connection: h11.Connection, scheme: bytes) -> ReceivedRequest | None:
    """Read one request; its fields take HTTP/2's form, so that one set of rules judges both."""
    fields: list[Field] = []
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            if connection.they_are_waiting_for_100_continue:
                go_on = connection.send(h11.InformationalResponse(status_code=100, headers=[]))
                await stream.send_all(go_on or b"")
            connection.receive_data(bytes(await stream.receive_some(65_536)))
        elif isinstance(event, h11.Request):
            fields = [(b":method", event.method), (b":scheme", scheme), (b":path", event.target), *event.headers]
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > _BODY_LIMIT:
                return None
        elif isinstance(event, h11.EndOfMessage):
            return ReceivedRequest(0, fields, body)
        else:
            return None
