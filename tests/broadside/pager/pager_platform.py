"""A platform that was made up: pagers, known by seven digits, reached over HTTP/2 with a PIN."""

from __future__ import annotations

import ssl
from collections.abc import Callable

import httpx
import trio

from campaigns.batch import Batch
from campaigns.identity import campaign_text
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.presentation import Presentation
from transports.contract import CredentialField, Exceptional, Outcomes, Platform, Preview, TransportSettings
from transports.errors import PayloadError, TokenError


class PagerTransport:
    """One channel's way to the pager company."""

    outage = None
    quota = None

    def __init__(self, settings: TransportSettings) -> None:
        self._settings = settings
        self._stopped = trio.Event()

    async def run(self, ready: Callable[[], None]) -> None:
        ready()
        await self._stopped.wait()

    def stop(self) -> None:
        self._stopped.set()

    def check(self, message: Message, presentation: Presentation = Presentation.AWAKE) -> None:
        if presentation is Presentation.ASLEEP:
            raise PayloadError("message: a pager always beeps")
        if len(message.title) > 20:
            raise PayloadError("message.title: a pager shows 20 letters; shorten it")

    def preview(
        self, message: Message, campaign: int, expires_at: int, presentation: Presentation = Presentation.AWAKE
    ) -> list[Preview]:
        self.check(message, presentation)
        fields = {"campaign": campaign_text(campaign)}
        return [Preview("", fields, message.title.encode(), len(message.title), 20)]

    async def send(self, batch: Batch) -> Outcomes:
        outcomes = Outcomes()
        headers = {
            "pin": self._settings.credentials["pin"],
            "club": self._settings.app,
            "campaign": campaign_text(batch.campaign),
        }
        context = ssl.create_default_context(cafile=self._settings.ca)
        async with httpx.AsyncClient(http1=False, http2=True, verify=context, headers=headers) as client:
            for index, recipient in enumerate(batch.recipients):
                url = f"{self._settings.origin}/page/{recipient.token}"
                answer = await client.post(url, content=batch.message.title)
                if answer.status_code == 200:
                    outcomes.delivered += 1
                else:
                    outcomes.exceptions.append(Exceptional(index, Outcome.REJECTED, f"HTTP {answer.status_code}"))
        return outcomes


def token(kind: str, text: str) -> str:
    """The digits alone. Raises ``TokenError``."""
    digits = text.replace("-", "")
    if kind != "number" or len(digits) != 7 or not digits.isdecimal():
        raise TokenError(f"is no pager's {kind}", "a pager has a number of 7 digits")
    return digits


PLATFORM = Platform(
    provider="Pagers Ltd",
    service="the pager network",
    app="the name of the club",
    credentials=((CredentialField("pin", "the PIN on the contract", pattern=r"\d{4}", form="4 digits"),),),
    environments={},
    sample=lambda digits: str(int(digits[:6], 16) % 10**7).zfill(7),
    build=PagerTransport,
    kinds=("number",),
    token=token,
    tokens=lambda kind, texts: None,
    options=lambda given: None,
)
