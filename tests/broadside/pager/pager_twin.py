"""The twin of the made-up pager company."""

from __future__ import annotations

import time

from simulators.answers import STATUS, TwinAnswer
from simulators.http2.received_request import ReceivedRequest
from simulators.ledger import Entry
from simulators.provider import BuiltTwin, Provider, TwinParts


class Pagers(Provider):
    """Takes a page for every number that does not end in 9."""

    usual_streams = 100

    def session(self, certificate: bytes | None = None) -> Pagers:
        return self

    def answer(self, request: ReceivedRequest) -> TwinAnswer:
        fields = dict(request.fields)
        number = fields[b":path"].decode().removeprefix("/page/")
        if fields.get(b"pin") != b"4711" or number.endswith("9"):
            self.ledger.refuse("no such pager")
            return TwinAnswer((STATUS[404],))
        campaign, club = fields[b"campaign"].decode(), fields[b"club"].decode()
        entry = Entry(time=int(time.time() * 1000), token=number, kind="number", collapse=campaign, id=number, app=club)
        self.ledger.add(entry)
        return TwinAnswer((STATUS[200],))


def build_twin(parts: TwinParts) -> BuiltTwin:
    """The rules, and the PIN that they want to see."""
    provider = Pagers(parts.director, parts.ledger, parts.apps, parts.latency)
    return BuiltTwin(provider, {"pin": "4711"})
