"""Google's own figures: what became of the pushes to an Android app, by day and campaign (``analytics_label``).

Source: firebase.google.com/docs/reference/fcmdata/rest/v1beta1/projects.androidApps.deliveryData/list. They come from
phones whose users let Google have them, some hours or a day later.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from transports import foreign
from transports.contract import DELIVERY_ORIGIN, DeliveryFigures, TransportSettings
from transports.errors import ConnectionLost, CredentialsError, DeliveryRefused
from transports.fcm import keyless
from transports.fcm.fields import ANDROID_APP
from transports.http1 import ask
from transports.proxy import Proxy
from transports.token_grants import GrantRefused, TokenSource

ORIGIN: Final = "https://fcmdata.googleapis.com"
TIMEOUT: Final = 30.0
"""Seconds for each answer."""
ENTRIES: Final = 1_000
"""Days and campaigns of one answer …"""
LARGEST: Final = 2 << 20
"""… its bytes …"""
PAGES: Final = 100
"""… and the most answers: more than a campaign a minute in the month that Google tells of."""


class _Date(msgspec.Struct):
    year: int = 0
    month: int = 0
    day: int = 0


class _Outcomes(msgspec.Struct, rename="camel"):
    """Shares of the accepted messages, in percent."""

    delivered: float = 0.0
    pending: float = 0.0
    dropped_app_force_stopped: float = 0.0
    dropped_device_inactive: float = 0.0
    dropped_too_many_pending_messages: float = 0.0

    @property
    def dropped(self) -> float:
        return self.dropped_app_force_stopped + self.dropped_device_inactive + self.dropped_too_many_pending_messages


class _Data(msgspec.Struct, rename="camel"):
    count_messages_accepted: int = 0
    message_outcome_percents: _Outcomes = msgspec.field(default_factory=_Outcomes)


class _Entry(msgspec.Struct, rename="camel"):
    date: _Date
    analytics_label: str = ""
    data: _Data = msgspec.field(default_factory=_Data)


class _Page(msgspec.Struct, rename="camel"):
    android_delivery_data: list[_Entry] = []
    next_page_token: str = ""


class DeliveryData:
    """One Android app's figures."""

    def __init__(
        self,
        project: str,
        app: str,
        tokens: TokenSource,
        origin: str = ORIGIN,
        ca: Path | None = None,
        proxy: Proxy | None = None,
    ) -> None:
        self._url = f"{origin}/v1beta1/projects/{quote(project)}/androidApps/{quote(app, safe=':')}/deliveryData"
        self._tokens, self._ca, self._proxy = tokens, ca, proxy

    async def figures(self, first: date, last: date) -> list[DeliveryFigures]:
        """See ``DeliverySource``."""
        try:
            granted = await self._tokens.ask()
        except GrantRefused as error:
            raise DeliveryRefused(str(error)) from None
        found: list[DeliveryFigures] = []
        token = ""
        for _ in range(PAGES):
            page = await self._page(granted.token, token)
            found += [made for entry in page.android_delivery_data if (made := _figures(entry)) is not None]
            if not (token := page.next_page_token):
                break
        return [each for each in found if first <= each.day <= last]

    async def _page(self, access: str, token: str) -> _Page:
        url = f"{self._url}?pageSize={ENTRIES}" + (f"&pageToken={quote(token, safe='')}" if token else "")
        headers = {"authorization": f"Bearer {access}"}
        status, body = await ask("GET", url, self._ca, TIMEOUT, self._proxy, headers, largest=LARGEST)
        if status in (400, 401, 403, 404):
            remedy = (
                "enable the Firebase Cloud Messaging Data API, give the account the role to read it, check android_app"
            )
            raise DeliveryRefused(f"Google does not give delivery data ({status}): {remedy}")
        if status != 200:
            raise ConnectionLost(f"{self._url} answered {status}")
        try:
            return msgspec.json.decode(body, type=_Page, strict=False)  # numbers of 64 bits are texts there
        except foreign.UNREADABLE:
            raise ConnectionLost(f"{self._url} answered 200 without delivery data") from None


def _figures(entry: _Entry) -> DeliveryFigures | None:
    """One day of one campaign; None: not of this calendar."""
    try:
        day = date(entry.date.year, entry.date.month, entry.date.day)
    except ValueError:
        return None
    accepted, shares = entry.data.count_messages_accepted, entry.data.message_outcome_percents

    def part(percent: float) -> int:
        return round(accepted * min(max(percent, 0.0), 100.0) / 100)

    return DeliveryFigures(
        day, entry.analytics_label, accepted, part(shares.delivered), part(shares.pending), part(shares.dropped)
    )


def build(settings: TransportSettings, given: Mapping[str, str]) -> DeliveryData:
    """Build the source of a channel's figures. Raises ``CredentialsError`` naming the field and the remedy."""
    tokens, own_project = keyless.source(settings.credentials, settings.ca, settings.proxy, scope=keyless.CLOUD)
    if not given.get(ANDROID_APP.name):
        raise CredentialsError(f"delivery.{ANDROID_APP.name}: missing; it is {ANDROID_APP.meaning}")
    return DeliveryData(
        settings.app or own_project,
        given[ANDROID_APP.name],
        tokens,
        given.get(DELIVERY_ORIGIN.name) or ORIGIN,
        settings.ca,
        settings.proxy,
    )
