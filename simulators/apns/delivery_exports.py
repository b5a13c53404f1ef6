"""Apple's exports of delivery metrics, as a twin plays them: asked for, made after a while, a CSV file.

Source: developer.apple.com, PushKit, "Exporting delivery metrics logs". They have a host of their own at Apple; here
they are at the twin's, by HTTP/1.1 alone.
"""

from __future__ import annotations

import hmac
import itertools
import re
import secrets
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from simulators.answers import JSON, STATUS, TwinAnswer
from simulators.delivery_counts import DeliveryCounts
from simulators.http2.received_request import ReceivedRequest
from simulators.twin_credentials import TEAM_ID

_REQUEST: Final = re.compile(
    r"/v1/dataExports/apns/teams/([A-Z0-9]{10})/appId/([A-Za-z0-9.-]{1,155})/datasetName/deliverymetrics/request"
)
_EXPORT: Final = re.compile(r"/v1/dataExports/(status|download)/(\d{1,9})")
_LONGEST: Final = 30
_CSV: Final = (b"content-type", b"text/csv")


class _Wanted(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    start_date: date
    end_date: date
    data_download_url_expires_in_minutes: int


class DeliveryExports:
    """One connection's way to the exports. ``counts``: what was accepted, by app."""

    streams = 1

    def __init__(self, directory: Path, origin: str, counts: DeliveryCounts, today: Callable[[], datetime]) -> None:
        """Write ``data-export-token`` into ``directory``, if it is missing."""
        self.token_file = directory / "data-export-token"
        if not self.token_file.exists():
            self.token_file.touch(mode=0o600)
            self.token_file.write_text(f"twin-export.{secrets.token_urlsafe(24)}\n")
        self._token = self.token_file.read_bytes().strip()
        self._origin = origin
        self._counts = counts
        self._today = today
        self._numbers = itertools.count(1)
        self._exports: dict[int, tuple[str, _Wanted, int]] = {}

    def answer(self, request: ReceivedRequest) -> TwinAnswer:
        """Judge one request."""
        fields = dict(request.fields)
        path = fields.get(b":path", b"").decode(errors="replace")
        method = fields.get(b":method")
        found = _EXPORT.fullmatch(path)
        if found is not None and found[1] == "download" and method == b"GET":  # its address is the secret
            return self._download(int(found[2]))
        shown = fields.get(b"x-apple-cloudkit-management-token", b"")
        good = hmac.compare_digest(shown, self._token)
        if found is not None and method == b"GET":
            return self._status(int(found[2])) if good else _say(404, {"reason": "the token is invalid"})
        asked = _REQUEST.fullmatch(path)
        if asked is None or method != b"POST":
            return _say(404, {"reason": "there is nothing here by HTTP/1.1 but exports of delivery metrics"})
        if not good or asked[1] != TEAM_ID:
            return _say(401, {"reason": "the data export token is invalid"})
        if (status := self._counts.refusal()) is not None:
            return _say(status, {"reason": "scripted"})
        return self._ask(asked[2], request.body)

    def _ask(self, app: str, body: bytes) -> TwinAnswer:
        try:
            wanted = msgspec.json.decode(body, type=_Wanted)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _say(400, {"reason": str(error)[:200]})
        today = self._today().date()
        oldest, newest = today - timedelta(_LONGEST), today - timedelta(1)
        if not oldest <= wanted.start_date < wanted.end_date <= newest:
            return _say(400, {"reason": f"the days must lie between {oldest} and {newest}, the first before the last"})
        if not 20 <= wanted.data_download_url_expires_in_minutes <= 60:
            return _say(400, {"reason": "dataDownloadUrlExpiresInMinutes is 20 to 60"})
        number = next(self._numbers)
        self._exports[number] = (app, wanted, self._counts.rule.processing)
        status = f"{self._origin}/v1/dataExports/status/{number}"
        return _say(200, {"statusUrl": status, "requestedAt": self._today().isoformat()})

    def _status(self, number: int) -> TwinAnswer:
        if number not in self._exports:
            return _say(400, {"reason": "there is no such export"})
        app, wanted, looks = self._exports[number]
        said: dict[str, object] = {"status": "PROCESSING", "requestedAt": self._today().isoformat()}
        if looks:
            self._exports[number] = (app, wanted, looks - 1)
            return _say(200, said)
        until = (self._today() + timedelta(hours=1)).isoformat()
        download = {"dataUrl": f"{self._origin}/v1/dataExports/download/{number}", "expiresAt": until}
        return _say(200, said | {"status": "SUCCESS", "downloadDetails": download})

    def _download(self, number: int) -> TwinAnswer:
        if number not in self._exports:
            return _say(403, {"reason": "there is no such export"})
        app, wanted, _ = self._exports[number]
        rule = self._counts.rule
        lines = ["Push Type,Status,Date (UTC),Count"]
        for day, name, count in self._counts.all():
            if name == app and wanted.start_date <= day <= wanted.end_date:
                parts = {
                    "received": count, "delivered": round(count * rule.delivered),
                    "stored": round(count * rule.waiting), "discarded": round(count * rule.discarded),
                }  # fmt: skip
                lines += [f"alert,{word},{day},{each}" for word, each in parts.items()]
        return TwinAnswer((STATUS[200], _CSV), "\n".join([*lines, ""]).encode())


def _say(status: int, said: dict[str, object]) -> TwinAnswer:
    return TwinAnswer(((b":status", str(status).encode()), JSON), msgspec.json.encode(said))
