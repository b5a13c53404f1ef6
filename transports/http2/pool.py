"""The connections to one origin, and the line of jobs before them."""

from __future__ import annotations

import ssl
import time
from collections import Counter, deque
from collections.abc import Callable

import structlog
import trio

from campaigns.batch import Leave
from campaigns.outcome import Outcome
from transports.backoff import Backoff
from transports.errors import ConnectionLost
from transports.http2.client import Http2Client
from transports.http2.connection import Connection, Origin, Timing, dial
from transports.http2.messages import UNPROCESSED, Completions
from transports.http2.submission import Job

_log = structlog.get_logger(__name__)

_CHUNK = 64  # requests given to one connection before looking again which one has the least to do
_PROVEN = 60.0  # seconds a connection must have lived to count as good without an accepted request


def wall_ms() -> int:
    """Milliseconds UTC."""
    return time.time_ns() // 1_000_000


class Pool:
    """Keeps ``connections`` connections to ``origin`` up for ever, and spreads jobs over them, least loaded first."""

    def __init__(
        self,
        origin: Origin,
        *,
        context: ssl.SSLContext,
        connections: int = 1,
        timing: Timing | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        client: Callable[[], Http2Client] = Http2Client,
        clock: Callable[[], int] = wall_ms,
    ) -> None:
        """``clock`` gives ms UTC, for the jobs' expiry."""
        self.origin = origin
        self.outage: str | None = "not connected yet"
        """Why no connection is up; None: at least one is."""
        self.outage_since = 0.0
        """When that began, on ``trio.current_time()``."""
        self.warm_up: Callable[[], Job | None] | None = None
        """Makes the one request that goes first over each connection (None: not yet, ask again)."""
        self._context = context
        self._size = connections
        self._timing = timing or Timing()
        self._backoff = backoff
        self._client = client
        self._clock = clock
        self._jobs: deque[Job] = deque()  # those with unsent requests, in order of arrival
        self._open: set[Job] = set()  # those with a waiter
        self._connections: list[Connection] = []
        self._stop = trio.Event()
        self._drained = trio.Event()
        self._closed = False

    @property
    def connections(self) -> int:
        """How many connections are ready for requests."""
        return sum(1 for connection in self._connections if connection.usable)

    @property
    def in_flight(self) -> int:
        """Requests that await their answer."""
        return sum(connection.client.in_flight for connection in self._connections)

    async def run(self, ready: Callable[[], None]) -> None:
        """Serve until stopped. An outage is retried for ever in here; only a bug raises."""
        self._closed = False
        self.outage_since = trio.current_time()
        try:
            async with trio.open_nursery() as nursery:
                for _ in range(self._size):
                    nursery.start_soon(self._keep, nursery)
                nursery.start_soon(self._sweep)
                ready()
                await self._stop.wait()
                await self._drain()
                nursery.cancel_scope.cancel()
        finally:
            self._closed = True
            self._withdraw("the transport has ended")

    def stop(self) -> None:
        """Begin nothing new; end :meth:`run` when what is in flight has its fate."""
        self._withdraw("the transport is stopping")
        self._stop.set()
        if not self._open:
            self._drained.set()

    async def submit(self, job: Job) -> None:
        """Wait until every request of ``job`` has its fate. Cancelled: nothing more of it is begun."""
        if self._closed or self._stop.is_set():
            job.withdraw(Outcome.HELD, "the transport is stopping")
            return
        self._open.add(job)
        self._enqueue(job)
        try:
            self.pump()
            await job.done.wait()
        finally:
            job.abandon()
            self._open.discard(job)
            if self._stop.is_set() and not self._open:
                self._drained.set()

    def pump(self) -> None:
        """Hand requests to connections while there are both requests and room."""
        if not self._jobs:
            return
        now = trio.current_time()
        wall = self._clock()
        candidates = [each for each in self._connections if each.warm and each.client.room()]
        while self._jobs:
            job = self._jobs[0]
            if job.unsent and wall >= job.expires_at:
                job.withdraw(Outcome.EXPIRED, "expired before it was sent")
            leave = job.leave()
            if leave is Leave.GONE:
                job.withdraw(Outcome.HELD, "the batch is in other hands")
            if not job.unsent:
                self._jobs.popleft().queued = False
                continue
            # who is not sure of one batch is not sure of those behind it: the sweep asks again
            if not candidates or leave is Leave.AWAITED:
                break
            best = candidates[0]
            if len(candidates) > 1:
                best = min(candidates, key=lambda connection: connection.client.in_flight)
            wanted = min(job.unsent, _CHUNK)
            begun = best.client.encode(job, job.template(), job.requests, job.cursor, job.cursor + wanted, now)
            job.cursor += begun
            if begun:
                best.check()
            if begun < wanted:
                candidates.remove(best)

    def _enqueue(self, job: Job) -> None:
        if not job.queued and job.unsent:
            job.queued = True
            self._jobs.append(job)

    def _settle(self, done: Completions) -> None:
        accepted = done.accepted
        if len(set(accepted)) == 1:  # as in most turns of a connection with few streams
            accepted[0].job.accept(len(accepted))
        else:
            for run, n in Counter(accepted).items():
                run.job.accept(n)
        for answer in done.answers:
            job = answer.job
            if answer.status == UNPROCESSED and job in self._open and job.refused(answer.request):
                if self._stop.is_set():
                    job.withdraw(Outcome.HELD, "the transport is stopping")
                else:
                    self._enqueue(job)
            else:
                job.answer(answer)

    def _withdraw(self, reason: str) -> None:
        for job in self._open:
            job.withdraw(Outcome.HELD, reason)
        self._jobs.clear()

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

    async def _keep(self, nursery: trio.Nursery) -> None:
        backoff = self._backoff()
        while not self._stop.is_set():
            try:
                stream = await dial(self.origin, self._context, self._timing.connect)
            except ConnectionLost as lost:
                reason = str(lost)
            else:
                connection = Connection(stream, self._client(), self._timing, self._settle, self._progress)
                nursery.start_soon(self._serve, connection)
                nursery.start_soon(self._warm, connection)
                await connection.unusable.wait()
                reason = connection.client.error or connection.client.retiring or "closed"
                if connection.client.accepted or connection.age > _PROVEN:
                    backoff.reset()
            delay = backoff.next()
            if not self.connections:
                if self.outage is None:
                    self.outage_since = trio.current_time()
                self.outage = reason
            _log.info("connection ended", origin=self.origin.host, reason=reason, next_try=round(delay, 2))
            await trio.sleep(delay)

    async def _serve(self, connection: Connection) -> None:
        self._connections.append(connection)
        try:
            await connection.run()
        finally:
            self._connections.remove(connection)

    async def _warm(self, connection: Connection) -> None:
        """Let jobs over a connection once it has said its SETTINGS and answered the first request."""
        with trio.move_on_after(self._timing.connect):
            await connection.settled.wait()
            if self.warm_up is not None:
                # until there is a credential, and a peer that allows a stream
                while (job := self.warm_up()) is None or not connection.client.room():  # noqa: ASYNC110
                    await trio.sleep(self._timing.sweep)
                connection.client.encode(job, job.template(), job.requests, 0, 1, trio.current_time())
                connection.wake()
                await job.done.wait()
        connection.warm = True
        self._progress()

    def _progress(self) -> None:
        if self.outage is not None and self.connections:
            self.outage = None
            _log.info("connected", origin=self.origin.host, window=self._connections[-1].client.window)
        self.pump()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(self._timing.sweep)
            # After a stall of our own loop, answers may lie unread: the readers go first, or we blame the peer.
            await trio.lowlevel.checkpoint()
            self.pump()
            now = trio.current_time()
            for job in self._open:
                if job.unsent and now >= job.begin_until:
                    job.withdraw(Outcome.HELD, self.outage or "no connection had room in time")
            for connection in list(self._connections):
                connection.sweep(now, wanted=bool(self._jobs))
