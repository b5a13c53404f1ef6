"""Apple's own figures: what became of an app's pushes, by day. Apple rounds them and knows no campaign.

Source: developer.apple.com, PushKit, "Exporting delivery metrics logs". An export is asked for, takes a while, and is a
CSV file with push type, status, day and count. Its token is made in the CloudKit console, and holds six months at most.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
import trio

from transports import credential_entries, foreign
from transports.apns.fields import EXPORT_TOKEN, TEAM
from transports.contract import DELIVERY_ORIGIN, DeliveryFigures, TransportSettings
from transports.errors import ConnectionLost, CredentialsError, DeliveryRefused
from transports.http1 import ask
from transports.proxy import Proxy

ORIGIN = "https://api.icloud.apple.com"
SHOWN = "alert"
"""The push type that campaigns are counted under: others are no news."""
LONGEST = 30
"""Days back, at most."""
TIMEOUT = 30.0
"""Seconds for each answer."""
PATIENCE = 1800.0
"""Seconds for an export to be made …"""
FIRST_LOOK, LAST_LOOK = 2.0, 60.0
"""… and between two looks whether it is: twice as long each time."""
LARGEST = 4 << 20
"""Bytes of an export: thirty days take some tens of thousands."""
_TOKEN_REMEDY = "make a new data export token in the CloudKit console (six months at most), and write it into the file"  # noqa: S105


T = TypeVar("T")


class _Asked(msgspec.Struct, rename="camel"):
    status_url: str


class _Download(msgspec.Struct, rename="camel"):
    data_url: str = ""


class _Status(msgspec.Struct, rename="camel"):
    status: str
    download_details: _Download | None = None


class DeliveryMetrics:
    """One app's figures. ``clock``: the present, for the days that Apple gives."""

    def __init__(
        self,
        app: str,
        team: str,
        token: Callable[[], str],
        origin: str = ORIGIN,
        ca: Path | None = None,
        proxy: Proxy | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._app, self._team, self._token = app, team, token
        self._origin, self._ca, self._proxy, self._clock = origin, ca, proxy, clock

    async def figures(self, first: date, last: date) -> list[DeliveryFigures]:
        """See ``DeliverySource``. Apple gives whole days alone, of the last thirty."""
        today = self._clock().date()
        first, last = max(first, today - timedelta(LONGEST)), min(last, today - timedelta(1))
        if first >= last:
            return []
        path = f"/v1/dataExports/apns/teams/{self._team}/appId/{self._app}/datasetName/deliverymetrics/request"
        wanted = {"startDate": first.isoformat(), "endDate": last.isoformat(), "dataDownloadUrlExpiresInMinutes": 60}
        url = self._origin + path
        asked = _read(url, await self._send("POST", url, wanted), _Asked)
        file = await self._made(self._own(asked.status_url))
        status, body = await ask("GET", file, self._ca, TIMEOUT, self._proxy, largest=LARGEST)
        if status != 200:
            raise ConnectionLost(f"{_host(file)} answered {status} instead of the export")
        return figures_of(body)

    async def _made(self, url: str) -> str:
        """Wait until the export is made; returns its address."""
        pause = FIRST_LOOK
        with trio.move_on_after(PATIENCE):
            while True:
                said = _read(url, await self._send("GET", url), _Status)
                if said.status == "SUCCESS" and said.download_details is not None:
                    if urlsplit(said.download_details.data_url).scheme != "https":
                        raise ConnectionLost("Apple names an export that is not at an https address")
                    return said.download_details.data_url
                if said.status != "PROCESSING":
                    raise ConnectionLost(f"Apple's export is {said.status[:40]}")
                await trio.sleep(pause)
                pause = min(2 * pause, LAST_LOOK)
        raise ConnectionLost(f"Apple's export was not made within {PATIENCE / 60:.0f} minutes")

    async def _send(self, method: str, url: str, body: Mapping[str, object] | None = None) -> bytes:
        headers = {"X-Apple-CloudKit-Management-Token": self._token()}
        content: dict[str, Any] = {} if body is None else {"json": body}
        status, said = await ask(method, url, self._ca, TIMEOUT, self._proxy, headers, **content)
        if status == 200:
            return said
        # the address of a status answers 404 for a token that holds no more, as Apple's page says
        if status in (401, 403) or (method == "GET" and status == 404):
            raise DeliveryRefused(f"Apple refuses the data export token ({status}): {_TOKEN_REMEDY}")
        if status == 400:
            why = "check team, app and that the token is for this app's delivery metrics"
            raise DeliveryRefused(f"Apple refuses the request for delivery metrics (400): {why}")
        raise ConnectionLost(f"{_host(url)} answered {status}")

    def _own(self, url: str) -> str:
        """The address of a status, if it is Apple's: the token goes there, too."""
        host = _host(url)
        if urlsplit(url).scheme != "https" or (host != _host(self._origin) and not host.endswith(".apple.com")):
            raise ConnectionLost(f"{self._origin} names a status at {host[:100]!r}, which gets no token")
        return url


def figures_of(body: bytes) -> list[DeliveryFigures]:
    """Read an export. Raises ``ConnectionLost`` for one that is none."""
    counts: dict[date, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    try:
        rows = csv.reader(io.StringIO(body.decode("utf-8-sig")))
        names = [name.strip().lower() for name in next(rows, [])]
        kind, status, day, count = (names.index(name) for name in ("push type", "status", "date (utc)", "count"))
        for row in rows:
            if row and row[kind].strip().lower() == SHOWN:
                word = row[status].strip().lower().replace("_", " ")
                counts[date.fromisoformat(row[day].strip()[:10])][word] += int(row[count])
    except (ValueError, IndexError, csv.Error) as error:
        raise ConnectionLost(f"Apple's export is no table of delivery metrics ({error})") from None
    return [_of_day(day, words) for day, words in sorted(counts.items())]


def _of_day(day: date, words: Mapping[str, int]) -> DeliveryFigures:
    """``delivered from storage`` was ``stored`` before."""

    def total(start: str) -> int:
        return sum(count for word, count in words.items() if word.startswith(start))

    late = total("delivered from stor")
    return DeliveryFigures(
        day,
        campaign="",
        accepted=total("received") or total("accepted"),
        delivered=total("delivered"),
        waiting=max(0, total("stored") - late),
        discarded=total("discarded"),
    )


def _read(url: str, body: bytes, form: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=form)
    except foreign.UNREADABLE:
        raise ConnectionLost(f"{_host(url)} answered 200 without what was asked for") from None


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""


def build(settings: TransportSettings, given: Mapping[str, str]) -> DeliveryMetrics:
    """Build the source of a channel's figures. Raises ``CredentialsError`` naming the field and the remedy."""
    team = given.get(TEAM.name) or settings.credentials.get(TEAM.name, "")
    if not team:
        raise CredentialsError(f"delivery.{TEAM.name}: missing; it is {TEAM.meaning}")

    def token() -> str:  # read anew each time: it may be renewed while the node runs
        return credential_entries.read_secret(EXPORT_TOKEN, given[EXPORT_TOKEN.name], "data export token").decode()

    token()
    return DeliveryMetrics(
        settings.app, team, token, given.get(DELIVERY_ORIGIN.name) or ORIGIN, settings.ca, settings.proxy
    )
