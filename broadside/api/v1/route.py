"""One route of the API as a record: all that the server checks, the client calls, and the documents say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from broadside.api.bounds import LARGEST_ANSWER, LONGEST_CHANNEL

A = TypeVar("A")

Scope: TypeAlias = Literal["any", "viewer", "editor", "approver", "operator", "app"]
"""What a key must be allowed. ``any``: every key; ``viewer``: see campaigns and the node; ``editor``: compose, fire and
stop; ``approver``: fire what is too large for an editor alone; ``operator``: channels, tubes, peers, the whole base;
``app``: register and unregister subscribers."""

Repeat: TypeAlias = Literal["same", "store", "node"]
"""Why a POST may be repeated under its ``Idempotency-Key``. ``same``: a repeat has no further effect by itself;
``store``: the store keeps the key and what it did; ``node``: the node keeps the first answer for a day."""


class NoParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No parameter is known."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Route(Generic[A]):
    """One route. ``summary`` is a sentence for the document."""

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    scope: Scope | None
    """None: no key is asked for."""
    summary: str
    answer: type[A]
    status: int = 200
    """Of the ``answer``."""
    also: Mapping[int, Any] = field(default_factory=dict)
    """Other statuses with an answer of their own that is no error."""
    media: str = "application/json"
    """The answer's media type."""
    stream: bool = False
    """Whether the answer is NDJSON, a record of type ``answer`` on each line."""
    events: Mapping[str, type[msgspec.Struct]] = field(default_factory=dict)
    """Of an event stream: kind of event → the record in its ``data``."""
    query: type[msgspec.Struct] = NoParameters
    body: Any = None
    """The type of the body; None: it takes none."""
    noun: str = ""
    """What the body is called in errors."""
    lines: bool = False
    """Whether the body is NDJSON, a record of type ``body`` on each line, and of any length."""
    largest: int = LARGEST_ANSWER
    """Bytes of the body, or of one of its ``lines``."""
    too_large: str = "send it in several requests"
    """What to do about a larger one."""
    errors: Mapping[int, str] = field(default_factory=dict)
    """Status → when, for those that not every route has."""
    repeat: Repeat = "same"
    audited: bool = True
    """Whether a call that changes something leaves an entry in the audit."""
    noted: tuple[str, ...] = ()
    """The fields of the body that the entry has, by their names with dots: what an auditor must know, no tokens."""

    @property
    def name(self) -> str:
        """The operation's id in the document."""
        words = [word.strip("{}") for word in self.path.strip("/").split("/") if word != "v1"]
        return "_".join([self.method.lower(), *words]).replace("-", "_").replace(".", "_")

    @property
    def names(self) -> list[str]:
        """The names in its path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]


PATH: Mapping[str, Any] = {
    "id": Annotated[str, Meta(pattern="^[a-zA-Z2-7]{13}$", description="A campaign's id.", examples=["2qbsgz3kxm4ta"])],
    "story_id": Annotated[
        str, Meta(pattern="^[a-zA-Z2-7]{13}$", description="A story's id.", examples=["c5dq2j7vx3mna"])
    ],
    "draft_id": Annotated[str, Meta(pattern="^[a-z2-7]{13}$", description="A draft's id.", examples=["k7r2m5qpx4n3a"])],
    "name": Annotated[str, Meta(min_length=1, description="A node's name.", examples=["n2"])],
    "key_id": Annotated[str, Meta(min_length=1, max_length=80, description="A key's id.", examples=["k3xm4taq"])],
    "channel": Annotated[
        str,
        Meta(
            min_length=1, max_length=LONGEST_CHANNEL, description="One of this node's channels.", examples=["ios-news"]
        ),
    ],
}
"""Name in a path → its type."""

USUAL: Mapping[int, str] = {
    400: "A field, a parameter or the body is wrong: `field`, `value` and `remedy` say which and what to do.",
    401: "The key is missing or wrong.",
    403: "The key's role may not do this, or a page did not send its session's `X-CSRF-Token`.",
    413: "The body is too large.",
    421: "The node is not known under the name in `Host`: see `[http] names`.",
    431: "The request's path or its header fields are too long.",
    500: "The node failed: its log has the reason under `id`.",
    503: "The node does not reach its Tarantool: try again in a moment.",
    507: "Tarantool's memory or its disk is full.",
}
"""Errors of every route with a scope."""
