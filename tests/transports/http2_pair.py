"""A client and the server side of plain h2 in one process, with bytes split anywhere between them."""

from __future__ import annotations

from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
from h2.settings import Settings
from hyperframe.frame import Frame, GoAwayFrame

from transports.http2.client import Http2Client
from transports.http2.messages import Request, Template

TEMPLATE = Template(b"localhost", b"/3/device/", ((b"authorization", b"bearer x"), (b"apns-topic", b"a.b")), b"apns-id")


def requests(n, size=100, start=0):
    return [Request(i, b"%064x" % i, b"id-%d" % i, b"%d:" % i + b"x" * size) for i in range(start, start + n)]


@dataclass
class Server:
    """Plain h2. Strict about what the client sends: it raises on any breach."""

    initial: dict = field(default_factory=dict)
    credit: bool = True

    def __post_init__(self):
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = Settings(client=False, initial_values=self.initial)
        self.h2.initiate_connection()
        self.headers = {}
        self.lists = {}
        self.bodies = {}
        self.complete = []
        self.half = set()
        self.reset = set()
        self.owed = {}
        self.last = 2**31

    def feed(self, data):
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.RequestReceived():
                    self.headers[event.stream_id] = dict(event.headers)
                    self.lists[event.stream_id] = [tuple(header) for header in event.headers]
                    self.bodies[event.stream_id] = b""
                    self.half.add(event.stream_id)
                case h2.events.DataReceived():
                    self.bodies[event.stream_id] += event.data
                    if self.credit:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    else:
                        self.owed[event.stream_id] = self.owed.get(event.stream_id, 0) + event.flow_controlled_length
                case h2.events.StreamEnded():
                    self.complete.append(event.stream_id)
                    self.half.discard(event.stream_id)
                case h2.events.StreamReset():
                    self.reset.add(event.stream_id)
                    self.half.discard(event.stream_id)
                    if event.stream_id in self.complete:
                        self.complete.remove(event.stream_id)

    def pay(self):
        for stream_id, n in self.owed.items():
            self.h2.acknowledge_received_data(n, stream_id)
        self.owed.clear()

    def key(self, stream_id):
        return int(self.headers[stream_id]["apns-id"][3:])

    def answer(self, stream_id, status=200, body=b""):
        self.complete.remove(stream_id)
        self.h2.send_headers(stream_id, [(":status", str(status))], end_stream=not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)

    def inject(self, frame: Frame):
        self.h2._data_to_send += frame.serialize()

    def goaway(self, last, data=b""):
        frame = GoAwayFrame(0)
        frame.last_stream_id = last
        frame.additional_data = data
        self.inject(frame)
        self.last = last


class Pair:
    def __init__(self, server=None, rng=None, make=Http2Client, **client):
        self.client = make(**client)
        self.server = server or Server()
        self.rng = rng
        self.owner = object()
        self.fates = {}
        self.sent = 0
        self.pump()

    def pump(self):
        """Move bytes both ways until nobody has any."""
        while True:
            up = self.client.outgoing()
            down = self.server.h2.data_to_send()
            if not up and not down:
                return
            for part in self.split(up):
                self.server.feed(part)
            for part in self.split(down):
                self.take(self.client.feed(part))

    def split(self, data):
        while data:
            n = self.rng.randint(1, max(1, min(len(data), 400))) if self.rng else len(data)
            yield data[:n]
            data = data[n:]

    def take(self, done):
        for run, stream_id in zip(done.accepted, done.streams, strict=True):
            self.settle(run.request(stream_id), 200)
        for answer in done.answers:
            self.settle(answer.request, answer.status, answer.body)

    def settle(self, request, status, body=b""):
        assert request.key not in self.fates, "a request has one fate"
        self.fates[request.key] = (status, body)

    def send(self, items, now=0.0, template=TEMPLATE):
        n = self.client.encode(self.owner, template, items, 0, len(items), now)
        self.sent += n
        self.pump()
        return n
