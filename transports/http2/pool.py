"""The connections to one origin, and the queue of submissions that wait for them."""

from __future__ import annotations

import math
import ssl
from collections import Counter, deque
from collections.abc import Callable, Mapping

import structlog
import trio

from transports.backoff import Backoff
from transports.errors import ConnectionLost
from transports.http2.client import Http2Client
from transports.http2.connection import HTTP_1_1, Connection, Origin, Timing, dial
from transports.http2.engine import Engine
from transports.http2.growth import CROWDED, Bound, Growth, busy_seconds
from transports.http2.messages import UNPROCESSED, Completions
from transports.http2.rounds import Rounds
from transports.http2.submission import Submission
from transports.load import Load
from transports.proxy import Proxy
from transports.traffic import CLASSES, Traffic, time_class

_log = structlog.get_logger(__name__)

HTTP_2: Mapping[str, Callable[[], Engine]] = {"h2": Http2Client}
ABUSE = "GOAWAY ENHANCE_YOUR_CALM"
CALM = 3_600.0
"""Seconds without a PING after the peer has said :data:`ABUSE`."""
_SPARE = "nobody needs it"
_CHUNK = 64  # requests given to one connection before the least busy one is chosen again
_FEW = 32
"""Requests in flight that are not of the upper lane, on the connection that is kept for it: enough to show that it is
alive, and few to wait behind (`./dev bench lanes`)."""


class Pool:
    """Keeps connections to ``origin`` up, and spreads requests over them, the least busy one first.

    What is on its way to a provider cannot be overtaken. So there may be one connection more, nearly free, on which the
    upper lane does not wait behind a thousand requests of others.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        context: ssl.SSLContext,
        connections: int = 1,
        upper: bool = False,
        most: int | None = None,
        every: float = 1.0,
        busy: Callable[[], float] = busy_seconds,
        public: bool = False,
        proxy: Proxy | None = None,
        timing: Timing | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        engines: Mapping[str, Callable[[], Engine]] = HTTP_2,
    ) -> None:
        """``connections`` are always kept up; up to ``most`` (None: no more) as they are needed, one in ``every``
        seconds; ``busy``: see :class:`Growth`. ``upper``: keep one connection more for the upper lane; ``public``: see
        :func:`dial`. ``engines``: by ALPN protocol, what makes a connection's engine; ``context`` must offer these
        protocols.
        """
        self.origin = origin
        self.outage: str | None = "not connected yet"
        """Why no connection is up; None: at least one is."""
        self.outage_since = 0.0
        """When the outage began, on ``trio.current_time()``."""
        self._answered = -math.inf  # when the last answer came
        self.warm_up: Callable[[], Submission | None] | None = None
        """Makes the first request of each connection (it returns None: not yet, call again)."""
        self._context = context
        self._growth = Growth(connections, most, every, busy)
        self._upper = upper
        self._waiting = False
        self._public = public
        self._proxy = proxy
        self._timing = timing or Timing()
        self._backoff = backoff
        self._engines = engines
        self._queue: deque[Submission] = deque()  # with unsent requests: first ones, then others, as they came
        self._open: set[Submission] = set()  # submissions with a waiter
        self._connections: list[Connection] = []
        self._stop = trio.Event()
        self._drained = trio.Event()
        self._closed = False
        self._calm_until = -math.inf
        self._answers = [0] * CLASSES
        self._granted = self._looks = 0
        self._by_window = self._by_streams = 0.0
        self._rounds = Rounds(self._progress)

    @property
    def traffic(self) -> Traffic:
        """What the connections are doing now."""
        clients = [each.client for each in self._connections if each.usable]
        return Traffic(
            connections=len(clients),
            wanted=self.wanted,
            streams=self.in_flight,
            streams_allowed=sum(client.stream_limit for client in clients),
            window=max(0, min((client.window for client in clients), default=0)),
            answers=tuple(self._answers),
            granted=self._granted,
            round_trip=min((each.round_trip for each in self._connections if each.round_trip), default=0.0),
            looks=self._looks,
            by_window=round(self._by_window, 2),
            by_streams=round(self._by_streams, 2),
        )

    @property
    def connections(self) -> int:
        """How many connections are ready for requests."""
        return sum(1 for connection in self._connections if connection.usable)

    @property
    def wanted(self) -> int:
        """How many connections it wants to keep up at present."""
        return self._growth.size

    @property
    def load(self) -> Load:
        """What its connections wait for."""
        bounds = Counter(each.client.bound for each in self._connections if each.usable and self._waiting)
        return Load(self.connections, self._growth.most, bounds[Bound.WINDOW], bounds[Bound.STREAMS])

    @property
    def in_flight(self) -> int:
        """Requests that await their answer."""
        return sum(connection.client.in_flight for connection in self._connections)

    @property
    def silence(self) -> float:
        """Seconds for which no request was answered, though some are under way; 0: none is."""
        sent = [at for each in self._connections if (at := each.client.oldest()) is not None]
        return trio.current_time() - max(min(sent), self._answered) if sent else 0.0

    def probe(self) -> None:
        """Requests come soon: replace connections that died in silence, and open as many as the last ones needed."""
        now = trio.current_time()
        self._growth.prepare(now)
        for connection in self._connections:
            if connection.usable:
                connection.certain(now)

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until stopped. Retries for ever during an outage; only a bug raises."""
        self._closed = False
        self.outage_since = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self._growth.size):
                    nursery.start_soon(self._keep, nursery)
                if self._upper:
                    nursery.start_soon(self._keep, nursery, _FEW)
                nursery.start_soon(self._sweep, nursery)
                nursery.start_soon(self._rounds.run)
                ready()
                await self._stop.wait()
                await self._drain()
                nursery.cancel_scope.cancel()
        finally:
            self._closed = True
            self.withdraw("the transport has ended")

    def stop(self) -> None:
        """Begin nothing new; end :meth:`run` once everything in flight is settled."""
        self.withdraw("the transport is stopping")
        self._stop.set()
        if not self._open:
            self._drained.set()

    async def submit(self, submission: Submission) -> None:
        """Wait until every request of ``submission`` has ended. If cancelled, no more of them are begun."""
        if self._closed or self._stop.is_set():
            submission.withdraw("the transport is stopping")
            return
        self._open.add(submission)
        self._enqueue(submission)
        try:
            self.pump()
            await submission.done.wait()
        finally:
            submission.abandon()
            self._open.discard(submission)
            if self._stop.is_set() and not self._open:
                self._drained.set()

    def pump(self) -> None:
        """Give requests to connections while there are both requests and room."""
        queue = self._queue
        if not queue:
            return
        now = trio.current_time()
        upper = queue[0].first
        candidates = self._candidates(upper, now)
        while queue:
            first = queue[0]
            if upper and not first.first:
                upper = False
                candidates = self._candidates(upper, now)
            may_begin = first.may_begin()  # it may also withdraw what is unsent
            unsent = first.unsent
            if not unsent:
                queue.popleft().queued = False
                continue
            if not candidates or not may_begin:
                break  # the sweep asks again
            best = candidates[0]
            if len(candidates) > 1:
                best = min(candidates, key=_load if upper else _place_for_others)
            wanted = min(unsent, _CHUNK, best.room(upper))
            begun = best.client.encode(first, first.template(), first.rows, first.cursor, first.cursor + wanted, now)
            first.cursor += begun
            if begun:
                first.begun_at = now
                best.check()
            if begun < wanted or not best.room(upper):
                candidates.remove(best)

    def _candidates(self, upper: bool, now: float) -> list[Connection]:
        return [each for each in self._connections if each.warm and each.room(upper) and each.certain(now)]

    def _enqueue(self, submission: Submission) -> None:
        if not submission.queued and submission.unsent:
            submission.queued = True
            place = len(self._queue)
            if submission.first:
                place = next((at for at, other in enumerate(self._queue) if not other.first), place)
            self._queue.insert(place, submission)

    def _settle(self, done: Completions) -> str | None:
        """Report to each submission which of its requests have ended.

        Returns why the connection they were on should take no new requests; None: it may.
        """
        now = trio.current_time()
        if done.accepted or any(answer.status > 0 for answer in done.answers):
            self._answered = now
        for run, n in Counter(done.accepted).items():
            owner = run.owner
            assert isinstance(owner, Submission)  # set by this pool
            owner.accept(n)
            self._answers[time_class(now - run.sent)] += n
        retire: str | None = None
        for answer in done.answers:
            owner = answer.owner
            assert isinstance(owner, Submission)
            if answer.status == UNPROCESSED and owner in self._open and owner.refused(answer.request):
                if self._stop.is_set():
                    owner.withdraw("the transport is stopping")
                else:
                    self._enqueue(owner)
            else:
                reason = owner.answer(answer)
                retire = reason if retire is None else retire
        return retire

    def withdraw(self, reason: str) -> None:
        """End every request that is not begun; those under way continue."""
        for submission in self._open:
            submission.withdraw(reason)
        while self._queue:
            self._queue.popleft().queued = False

    async def _drain(self) -> None:
        # Bounded: each request in flight has a deadline.
        await self._drained.wait()
        for connection in self._connections:
            connection.client.retire("stopping")
            connection.check()
        with trio.move_on_after(2):
            while self._connections:
                await self._connections[0].unusable.wait()
                await trio.sleep(0.01)

    async def _keep(self, nursery: trio.Nursery, most: int | None = None, more: bool = False) -> None:
        """Keep a connection up. ``most``: see :class:`Connection`; ``more``: it is one more than there were."""
        backoff = self._backoff()
        while not self._stop.is_set():
            try:
                stream = await dial(
                    self.origin, self._context, self._timing.connect, self._proxy, self._engines, public=self._public
                )
            except ConnectionLost as lost:
                reason = str(lost)
                if more:
                    _log.warning("one more connection refused", origin=self.origin.host, reason=reason)
                    return self._growth.refused(trio.current_time())
            else:
                more = False
                engine = self._engines[stream.protocol or HTTP_1_1]()
                self._growth.every = min(self._growth.every, engine.connect_every)
                connection = Connection(stream, engine, self._timing, self._settle, self._progress, self._rounds, most)
                if trio.current_time() < self._calm_until:
                    connection.ask_no_more()
                nursery.start_soon(self._serve, connection)
                nursery.start_soon(self._warm, connection)
                await connection.unusable.wait()
                reason = connection.client.error or connection.client.retiring or "closed"
                if reason == _SPARE:
                    return None
                if ABUSE in reason:
                    self._calm(reason)
                if engine.accepted or connection.age > engine.good_after:
                    backoff.reset()
            delay = backoff.next()
            if not self.connections:
                if self.outage is None:
                    self.outage_since = trio.current_time()
                self.outage = reason
            _log.info("connection ended", origin=self.origin.host, reason=reason, next_try=round(delay, 2))
            await trio.sleep(delay)
        return None

    def _calm(self, reason: str) -> None:
        """Send no PING to this origin for an hour: it counts them as abuse."""
        self._calm_until = trio.current_time() + CALM
        for connection in self._connections:
            connection.ask_no_more()
        _log.warning("the peer counts something as abuse: no PING for an hour", origin=str(self.origin), reason=reason)

    async def _serve(self, connection: Connection) -> None:
        self._connections.append(connection)
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)

    async def _warm(self, connection: Connection) -> None:
        """Open a connection to batches once its SETTINGS have arrived and its first request is answered."""
        with trio.move_on_after(self._timing.connect):
            await connection.settled.wait()
            connection.measure()
            if self.warm_up is not None:
                # until there is a credential, and the peer allows a stream
                while (first := self.warm_up()) is None or not connection.client.room():  # noqa: ASYNC110
                    await trio.sleep(self._timing.sweep)
                connection.client.encode(first, first.template(), first.rows, 0, 1, trio.current_time())
                connection.wake()
                await first.done.wait()
        connection.warm = True
        self._progress()

    def _progress(self) -> None:
        if self.outage is not None and self.connections:
            self.outage = None
            _log.info("connected", origin=self.origin.host, window=self._connections[-1].client.window)
        self.pump()

    async def _sweep(self, nursery: trio.Nursery) -> None:
        while True:
            await trio.sleep(self._timing.sweep)
            # After a stall of our own event loop, answers may be unread: let the readers run before judging the peer.
            await trio.lowlevel.checkpoint()
            self.pump()
            now = trio.current_time()
            for submission in self._open:
                if submission.unsent and now >= submission.begin_until:
                    submission.withdraw(self.outage or "no connection had room in time")
            for connection in list(self._connections):
                connection.sweep(now, wanted=bool(self._queue))
            self._look_for_stragglers(now)
            self._grow(nursery, now)

    def _grow(self, nursery: trio.Nursery, now: float) -> None:
        """Open one more connection if all are full, or let one go that nobody needs."""
        self._waiting = bool(self._queue)
        usable = [each for each in self._connections if each.usable and each.most is None]
        for connection in usable:
            if connection.client.in_flight:
                connection.used = now
        bounds = [each.client.bound for each in usable]
        self._note(usable, bounds)
        if self._stop.is_set():
            return
        full = [
            (self._waiting and bound is not None) or each.client.in_flight >= CROWDED * each.client.stream_limit
            for each, bound in zip(usable, bounds, strict=True)
        ]
        if self._growth.look(now, full):
            _log.info("one more connection", origin=self.origin.host, connections=self._growth.size)
            nursery.start_soon(self._keep, nursery, None, True)
        elif usable and self._growth.spare(now, now - usable[-1].used):
            usable[-1].client.retire(_SPARE)
            usable[-1].check()

    def _note(self, usable: list[Connection], bounds: list[Bound | None]) -> None:
        """Count what they wait for."""
        self._looks += 1
        for each in usable:
            self._granted = max(self._granted, each.client.window)
        if self._waiting and bounds:
            self._by_window += bounds.count(Bound.WINDOW) / len(bounds)
            self._by_streams += bounds.count(Bound.STREAMS) / len(bounds)

    def _look_for_stragglers(self, now: float) -> None:
        """Report to the submissions that lag which of their requests are unanswered."""
        unanswered: dict[object, list[int]] = {each: [] for each in self._open if each.lags(now)}
        if unanswered:
            for connection in self._connections:
                connection.client.unanswered(unanswered)
            for submission in self._open.intersection(unanswered):
                submission.stragglers(unanswered[submission])


def _load(connection: Connection) -> int:
    return connection.client.in_flight


def _place_for_others(connection: Connection) -> tuple[bool, int]:
    """The order in which requests that are not of the upper lane choose: the connection kept for it last."""
    return connection.most is not None, connection.client.in_flight
