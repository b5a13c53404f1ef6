"""The dry run: asks platforms and providers whether they would accept a message. Nothing is stored or fired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

import trio

from broadside.api.campaign_report import Verdict
from broadside.api.preview_report import ChannelPreview
from broadside.errors import Problem, RecordError
from broadside.newsroom.preview import preview
from campaigns import personal
from campaigns.batch import Batch
from campaigns.clock import Clock, wall_clock
from campaigns.message import Message
from campaigns.outcome import Outcome
from campaigns.recipient import NEW_APP, PersonalRecipient, Recipient
from storage.records import Row
from transports import registry
from transports.contract import Outcomes, Transport
from transports.errors import PayloadError, TransportError

PHONES = 5
"""Subscribers of each channel that the provider is asked about: it judges the message alike for all."""
LONGEST = 18.0
"""Seconds to wait for one channel's answers …"""
CLOSING = 2.0
"""… and then for its connections to close."""
BEGIN_WITHIN = 12.0
"""Seconds to wait for a connection and a credential: less than `LONGEST`, so that the verdict gives their reason."""


class DryRun:
    """Asks a channel's platform and provider. ``open`` builds a transport, which is closed after the answer."""

    def __init__(
        self,
        *,
        platforms: Mapping[str, str],
        open: Callable[[str], Transport],
        by_version: Collection[str] = (),
        clock: Clock = wall_clock,
    ) -> None:
        """``platforms``: channel → its platform. ``by_version``: channels that treat apps by their version: the
        provider is asked for every other phone as if its app were new. ``clock``: ms UTC.
        """
        self._platforms = platforms
        self._by_version = by_version
        self._open = open
        self._clock = clock

    def preview(self, channel: str, message: Message, campaign: int, expires_at: int) -> ChannelPreview:
        """Return what the channel's provider would get, without asking it. ``expires_at``: ms UTC."""
        platform = self._platforms[channel]
        try:
            transport = self._open(channel)
        except TransportError as error:
            return ChannelPreview(platform=platform, objections={"awake": f"cannot be opened: {error}"})
        return preview(transport, platform, message, campaign, expires_at)

    async def ask(self, channel: str, message: Message, rows: Sequence[Row], campaign: int, ttl: int) -> Verdict:
        """Return the verdict on ``message`` for ``channel``. Takes 20 s at most.

        ``rows``: subscribers of the channel, at most :data:`PHONES`. ``campaign``: an unused id. ``ttl``: seconds.
        """
        provider = registry.load(self._platforms[channel]).provider
        try:
            transport = self._open(channel)
            transport.check(message)
        except PayloadError as error:
            return Verdict("invalid", f"refused here: {error}")
        except TransportError as error:
            return Verdict("refused", f"cannot be opened: {error}")
        if not rows:
            return Verdict("checked", "checked here only; the channel has no subscriber to try it on")
        outcomes = await _sent(transport, self._batch(channel, message, rows, campaign, ttl, validate_only=True))
        if outcomes is None:
            return Verdict("unanswered", f"{provider} did not answer within {LONGEST:g} s", len(rows))
        return _judged(provider, outcomes, len(rows))

    def check(self, channel: str, message: Message) -> None:
        """Raise ``RecordError`` if a channel's platform cannot carry a message. A channel that cannot be opened can."""
        try:
            self._open(channel).check(message)
        except PayloadError as error:
            raise RecordError(Problem("message", f"{channel}: {error}", "shorten or mend it")) from None
        except TransportError:
            return

    async def send(
        self, channel: str, message: Message, rows: Sequence[Row], campaign: int, ttl: int
    ) -> list[tuple[str, str]]:
        """Send a message to these devices of a channel; return an outcome of ``DeviceAnswer`` and its words for each.

        Takes 20 s at most. Arguments as of `ask`.
        """
        provider = registry.load(self._platforms[channel]).provider
        try:
            transport = self._open(channel)
        except TransportError as error:
            return [("refused", f"{channel} cannot be opened: {error}")] * len(rows)
        outcomes = await _sent(transport, self._batch(channel, message, rows, campaign, ttl, validate_only=False))
        if outcomes is None:
            return [("unanswered", f"{provider} did not answer within {LONGEST:g} s")] * len(rows)
        found = [("accepted", f"{provider} accepts it")] * len(rows)
        for entry in outcomes.exceptions:
            known = entry.outcome not in (Outcome.POSTPONED, Outcome.UNKNOWN, Outcome.RETRY)
            said = outcomes.stop or (f"{provider} refuses it: {entry.reason}" if known else entry.reason)
            found[entry.index] = ("refused" if known or outcomes.stop else "unanswered", said)
        return found

    def _batch(
        self, channel: str, message: Message, rows: Sequence[Row], campaign: int, ttl: int, *, validate_only: bool
    ) -> Batch:
        fields = personal.fields(message)
        return Batch(
            campaign,
            message,
            1,
            self._clock() + ttl * 1000,
            [
                _recipient(row, fields, (("", NEW_APP)[n % 2],) if channel in self._by_version else ())
                for n, row in enumerate(rows, 1)
            ],
            begin_until=trio.current_time() + BEGIN_WITHIN,
            validate_only=validate_only,
        )


async def _sent(transport: Transport, batch: Batch) -> Outcomes | None:
    outcomes = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.run, lambda: None)
        with trio.move_on_after(LONGEST):
            outcomes = await transport.send(batch)
        transport.stop()
        nursery.cancel_scope.deadline = trio.current_time() + CLOSING
    return outcomes


def _judged(provider: str, outcomes: Outcomes, asked: int) -> Verdict:
    fates = {entry.outcome for entry in outcomes.exceptions}
    counts = Counter(entry.reason for entry in outcomes.exceptions)
    reasons = ", ".join(f"{count} × {reason}" for reason, count in counts.most_common())
    accepted = outcomes.delivered
    if outcomes.stop is not None:
        return Verdict("refused", outcomes.stop, asked, accepted)
    if accepted:
        more = f"; {reasons}" if reasons else ""
        return Verdict("accepted", f"{provider} accepts it ({accepted} of {asked}{more})", asked, accepted)
    if fates == {Outcome.DROPPED}:
        why = next(iter(counts)).removesuffix(": only checked here")
        return Verdict("checked", f"checked here only; {why}")
    if fates <= {Outcome.POSTPONED, Outcome.UNKNOWN, Outcome.RETRY}:
        return Verdict("unanswered", f"{provider} gives no verdict ({reasons})", asked)
    return Verdict("refused", f"{provider} accepts none of {asked} ({reasons})", asked)


def _recipient(row: Row, fields: Sequence[str], last: tuple[str, ...]) -> Recipient:
    plain = row.id, row.token, row.kind, row.registered_at, row.locale
    values = personal.values(fields, row.fields) + last
    return PersonalRecipient(*plain, values) if values else Recipient(*plain)
