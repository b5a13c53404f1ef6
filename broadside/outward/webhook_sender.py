"""Tells one webhook's receiver every change of a campaign's state, in order, at least once.

Every node has a sender for each webhook, and one of them has the duty. How far the receiver has heard is in the store,
so that another node goes on after a crash. A receiver that is away costs one call a minute, and later hears all.
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec
import structlog
import trio

from actors.periodic import Periodic
from broadside.api.alarm import Alarm, AlarmName, Severity
from broadside.api.outward_records import WebhookCall
from broadside.config.outward_tables import Webhook
from broadside.errors import BroadsideError, shown
from broadside.outward.guarded_web import GuardedWeb
from campaigns.clock import Clock
from campaigns.identity import campaign_text
from storage.errors import StorageError
from storage.outward_store import StateChange
from storage.store import Store

log = structlog.get_logger(__name__)

SIGNATURE = "broadside-signature"
"""``t=SECONDS,v1=HEX``: HMAC-SHA256 by the secret over ``SECONDS.BODY``. SECONDS: of the call, UTC."""
AT_ONCE = 20
"""Changes read from the store at once; a call tells one."""
IDLE = 0.5
"""Seconds between two looks for changes."""
OFF_DUTY = 2.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds after a call that failed: twice as long after each."""
LATE = 300_000
"""Ms for which calls may fail before it is an alarm."""


def sign(secret: str, at: int, body: bytes) -> str:
    """Return the signature's header. ``at``: seconds UTC."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class WebhookSender(Periodic):
    """``web``: the way to the receiver."""

    def __init__(self, webhook: Webhook, *, node: str, store: Store, web: GuardedWeb, clock: Clock) -> None:
        super().__init__()
        self._webhook = webhook
        self._node = node
        self._store = store
        self._web = web
        self._clock = clock
        self._pause = 0.0
        self._again = 0.0
        self._failing_since = 0
        self._error = ""

    async def look(self) -> float:
        """Tell what is due, if it is this node's duty."""
        name = self._webhook.name
        try:
            if not await self._store.herd.take_duty(f"webhook {name}", self._node):
                self._pause = 0.0
                rows = [row for row in await self._store.outward.webhooks() if row.name == name]
                self._failing_since, self._error = (rows[0].failing_since, rows[0].error) if rows else (0, "")
                return OFF_DUTY
            if (left := self._again - trio.current_time()) > 0 and self._pause:
                return min(left, OFF_DUTY)
            due = await self._store.outward.due(name, AT_ONCE)
            self._failing_since = due.failing_since
            missed = due.missed
            for change in due.changes:
                if error := await self._tell(change):
                    return await self._failed(error)
                await self._store.outward.heard(name, change.number, missed, self._clock())
                self._pause, self._failing_since, missed = 0.0, 0, 0
                if not await self._store.herd.take_duty(f"webhook {name}", self._node):
                    return OFF_DUTY
        except StorageError as error:
            log.debug("a webhook waits for the store", webhook=name, error=str(error))
            return OFF_DUTY
        return 0.0 if len(due.changes) == AT_ONCE else IDLE

    async def _failed(self, error: str) -> float:
        self._error = error
        if not self._pause:
            log.warning("a webhook's receiver does not take a call", webhook=self._webhook.name, why=error)
        self._pause = min(LONGEST_PAUSE, 2 * self._pause or FIRST_PAUSE)
        self._again = trio.current_time() + self._pause
        self._failing_since = await self._store.outward.failed(self._webhook.name, error, self._clock())
        return min(self._pause, OFF_DUTY)

    async def _tell(self, change: StateChange) -> str:
        """Make the call; return what was wrong, or nothing."""
        campaign = await self._store.campaign_get(change.campaign)
        call = WebhookCall(id=change.number, campaign=campaign_text(change.campaign), state=change.state, at=change.at)
        if campaign is not None:
            message = campaign.message
            call = msgspec.structs.replace(
                call,
                kind=campaign.policy.get("kind", ""),
                title=(message.title or message.body)[:200],
                channels=campaign.tallies,
            )
        body = msgspec.json.encode(call)
        try:
            signature = sign(self._webhook.secret(), self._clock() // 1000, body)
            headers = [("content-type", "application/json"), (SIGNATURE, signature)]
            answer = await self._web.ask(
                "POST", self._webhook.url, within=self._webhook.within, headers=headers, body=body
            )
        except BroadsideError as error:
            return shown(str(error), 200)
        return "" if 200 <= answer.status < 300 else f"answers {answer.status}"

    def alarms(self) -> list[Alarm]:
        """Return the alarm that the receiver has been away for too long, or none."""
        since = self._failing_since
        if not since or self._clock() - since < LATE:
            return []
        text = f"the receiver of webhook {self._webhook.name} takes no calls: {self._error}"
        remedy = "look at it; nothing is lost for 30 days, and it hears all when it is back"
        return [
            Alarm(
                name=AlarmName.WEBHOOK_FAILS,
                severity=Severity.WARNING,
                text=text,
                remedy=remedy,
                about=self._webhook.name,
                since=since,
            )
        ]
