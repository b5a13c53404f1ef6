"""A provider that takes one JSON message a request, and answers errors in the form of Google's APIs (AIP-193).

Each such twin says what it takes; scripts, the ledger and the cache of what was judged before are here.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from simulators import reasons
from simulators.answers import JSON_UTF_8, STATUS, Rejection, TwinAnswer, scripted
from simulators.anything import Anything
from simulators.faults.director import Director
from simulators.faults.script import Rule
from simulators.http2.header_compression import Field
from simulators.http2.received_request import ReceivedRequest
from simulators.ledger import Entry, Ledger
from simulators.provider import Provider
from simulators.script_player import ScriptPlayer

_CACHED: Final = 2048


@dataclass(frozen=True, slots=True)
class MessageShape:
    """The verdict on bodies that differ only in their target."""

    collapse: str | None
    validate_only: bool
    asleep: bool
    ttl: float | None
    """Seconds for which it is kept."""
    label: str = ""
    """Under which the provider counts its deliveries."""


class MessageTwin(Provider):
    """Judges messages; arguments as of :class:`simulators.provider.Provider`."""

    words: ClassVar[Mapping[str, int]]
    """The provider's reasons, and the status that each comes with."""
    usual: ClassVar[Mapping[str, str]]
    """The reason that each short answer of a script stands for."""
    said: ClassVar[Mapping[str, str]] = {}
    """The provider's sentences, where it has one of its own."""

    def __init__(
        self,
        director: Director,
        ledger: Ledger,
        apps: tuple[str, ...] = (),
        latency: Callable[[], float] = float,
    ) -> None:
        super().__init__(director, ledger, apps, latency)
        self._decode = msgspec.json.Decoder().decode
        self._shapes: dict[bytes, MessageShape | Rejection] = {}
        anything = Anything("fcm", self.words, director.script.seed)
        self._player = ScriptPlayer(anything, self.usual, self.words, JSON_UTF_8, ledger, latency)

    @abstractmethod
    def judge_head(self, fields: dict[bytes, bytes], now: float) -> Rejection | str:
        """Judge path and header fields; return what is wrong, or the project."""

    @abstractmethod
    def target(self, request: Any) -> tuple[str, str]:
        """The kind of a body's target, and the target; both empty if there is none."""

    @abstractmethod
    def check_request(self, request: Any) -> Rejection | None:
        """Judge a decoded body in everything but the form of its target."""

    @abstractmethod
    def check_target(self, kind: str, value: str) -> Rejection | None:
        """Judge the form of a target."""

    @abstractmethod
    def shape_of(self, request: dict[str, Any]) -> MessageShape:
        """The shape of a body that was found valid."""

    @abstractmethod
    def name_of(self, project: str, shape: MessageShape, now: float) -> str:
        """The id of an accepted message."""

    def granted(self, name: str) -> dict[str, Any]:
        """The body of a success."""
        return {"name": name}

    def accepted(self, shape: MessageShape, now: float) -> None:
        """Hear of an accepted message. ``now``: seconds UTC."""

    def details(self, rejection: Rejection) -> list[dict[str, object]]:
        """The ``details`` of an error."""
        return []

    def scripted_details(self, rule: Rule, status: int) -> list[dict[str, object]]:
        """Further details that a script asks for."""
        return []

    def answer(self, request: ReceivedRequest) -> TwinAnswer:
        """Judge one request, and add it to the ledger if accepted."""
        now = time.time()
        project = self.judge_head(dict(request.fields), now)
        if isinstance(project, Rejection):
            return self._refuse(project)
        judged = self._judge_body(request.body)
        if isinstance(judged, Rejection):
            return self._refuse(judged)
        shape, kind, target = judged
        name = self.name_of(project, shape, now)
        rule = self.director.rule_for(target, kind=kind) if self.director.script.rules else None
        entry = Entry(
            time=int(now * 1000),
            token=target,
            kind=kind,
            collapse=shape.collapse,
            id=name,
            app=project,
            expires=None if shape.ttl is None else int((now + shape.ttl) * 1000) if shape.ttl else 0,
            asleep=shape.asleep,
            body=request.body.decode() if self.director.script.bodies else None,
            validated=shape.validate_only,
        )
        if rule is not None and rule.answer not in ("accept", "slow"):
            return self._script(rule, entry)
        self.ledger.add(entry)
        self.accepted(shape, now)
        answer = self._say(200, self.granted(name))
        return answer if rule is None else scripted(answer, rule, answer.delay)

    def _judge_body(self, body: bytes) -> Rejection | tuple[MessageShape, str, str]:
        try:
            request = self._decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return Rejection(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error}", "body")
        kind, target = self.target(request)
        shape = self._shape(body, request, kind, target)
        if isinstance(shape, Rejection):
            return shape
        return self.check_target(kind, target) or (shape, kind, target)

    def _shape(self, body: bytes, request: Any, kind: str, target: str) -> MessageShape | Rejection:
        """Judge everything but the target. Cached: a campaign's bodies differ only in the target."""
        quoted = b'"%s"' % target.encode()
        key = b""
        if target and body.count(quoted) == 1:
            # A NUL is not legal in JSON, so no other body has this key.
            key = body.replace(quoted, b"\0" + kind.encode())
            known = self._shapes.get(key)
            if known is not None:
                return known
        wrong = self.check_request(request)
        shape = self.shape_of(request) if wrong is None else wrong
        if key:
            if len(self._shapes) >= _CACHED:
                self._shapes.clear()
            self._shapes[key] = shape
        return shape

    def _script(self, rule: Rule, entry: Entry) -> TwinAnswer:
        def accept(status: int) -> None:
            self.ledger.add(msgspec.structs.replace(entry, answered=status))

        def refuse(status: int, reason: str) -> TwinAnswer:
            said = rule.message or self.said.get(reason, reason)
            rejection = Rejection(status, reason, said, rule.field or "")
            return self._refuse(rejection, rule.retry_after, self.scripted_details(rule, status))

        return self._player.play(rule, entry.token, accept, refuse)

    def _refuse(
        self, rejection: Rejection, retry_after: int | None = None, more: Iterable[dict[str, object]] = ()
    ) -> TwinAnswer:
        name = reasons.RPC_NAMES.get(rejection.status, "UNKNOWN")
        self.ledger.refuse(rejection.reason or rejection.field or name, rejection.message)
        error: dict[str, object] = {"code": rejection.status, "message": rejection.message, "status": name}
        details = [*self.details(rejection), *more]
        if details:
            error["details"] = details
        extra: tuple[Field, ...] = ()
        if retry_after is not None:
            extra = ((b"retry-after", str(retry_after).encode()),)
        return self._say(rejection.status, {"error": error}, extra)

    def _say(self, status: int, said: dict[str, Any], extra: tuple[Field, ...] = ()) -> TwinAnswer:
        return TwinAnswer((STATUS[status], JSON_UTF_8, *extra), msgspec.json.encode(said), self.latency())
