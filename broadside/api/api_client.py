"""A client of the node's HTTP API, for the command line: over the data folder's Unix socket, with plain errors.

Synchronous on purpose: a command does one thing after the other. Only the import has several requests in flight, from
its own threads; they can share a client.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from broadside.api.base_records import ImportedLines
from broadside.api.campaign_report import CampaignLine, CampaignReport, DryRunReport, FireRequest
from broadside.api.dead_records import DeadEntry
from broadside.api.idempotency import HEADER
from broadside.api.node_status import NodeStatus
from broadside.api.outward_records import FeedLine
from broadside.api.problem_details import ProblemDetails, problem
from broadside.api.v1 import table
from broadside.api.v1.route import Route
from broadside.datafolder import DataFolder
from broadside.errors import ApiError, NodeUnreachable
from broadside.optional_packages import without

with without("click", "rich"):
    import httpx

A = TypeVar("A")

_REPORT = msgspec.json.Decoder(table.PROGRESS.answer)
_START = "start it: broadside node (from a checkout: ./dev run-node)"


class Client:
    """A connection to one node. Every method raises ``NodeUnreachable`` or ``ApiError``."""

    def __init__(self, url: str, socket: Path, key: str, timeout: float = 60.0) -> None:
        """Connect to the node of ``url`` through its Unix ``socket``, with the API key ``key``.

        ``timeout`` in seconds bounds each wait for the node. Requests never go to ``url``, where another program may
        listen by now: a socket in a closed folder is always the node's own.
        """
        self.url = url.rstrip("/")
        limits = httpx.Limits(max_connections=8)
        # trust_env=False: no proxy from the environment between us and the node; verify=False: there is no TLS on the
        # socket, even if the node has it at `url`
        self._http = httpx.Client(
            base_url="http://" + self.url.partition("://")[2],
            transport=httpx.HTTPTransport(uds=str(socket), verify=False, limits=limits, trust_env=False),
            headers={"authorization": f"Bearer {key}", "user-agent": "broadside-cli"},
            timeout=httpx.Timeout(timeout, connect=5.0),
            trust_env=False,
        )

    @classmethod
    def of(cls, folder: DataFolder) -> Client:
        """Find the node that runs on ``folder`` (DataFolderError if the folder is another user's)."""
        folder.check_owner()
        node, key = folder.read_node(), folder.read_key()
        if node is None or key is None:
            if folder.in_use():
                raise NodeUnreachable(f"the node on the data folder {folder.root} is starting or stopping; try again")
            raise NodeUnreachable(f"no node is running on the data folder {folder.root} ({_START})")
        socket = folder.root / node.socket
        if not folder.owns(socket):
            raise NodeUnreachable(f"the node's socket {socket} is gone, or no longer its own (restart the node)")
        return cls(node.url, socket, key)

    def __enter__(self) -> Client:
        """Open nothing: connections are made when needed."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Fetch ``/readyz``: whether the node can fire, and the state of its parts."""
        try:
            answer = self._http.get(table.READY.path, timeout=5.0)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        try:
            detail = answer.json()
        except ValueError:
            detail = {"status": answer.text.strip()[:200]}
        return answer.is_success, detail if isinstance(detail, dict) else {"status": detail}

    def status(self) -> NodeStatus:
        """Fetch what runs in the node."""
        return self.call(table.STATUS)

    def fire(self, request: FireRequest, key: str = "") -> CampaignReport:
        """Create a campaign and fire it; with an idempotency ``key`` only once, however often this is called."""
        return self.call(table.FIRE, request, key=key, timeout=30.0)

    def dry_run(self, request: FireRequest) -> DryRunReport:
        """Ask whether the platforms and providers would accept a campaign."""
        body = msgspec.structs.replace(request, dry_run=True)
        return msgspec.json.decode(self._send(table.FIRE, body), type=DryRunReport)

    def campaigns(self) -> list[CampaignLine]:
        """List the newest campaigns, the newest first."""
        return self.call(table.CAMPAIGNS).items

    def dead(self) -> list[DeadEntry]:
        """Fetch all entries of the dead ledger."""
        found, cursor = [], ""
        while True:
            page = self.call(table.DEAD, query=table.DeadQuery(limit=1000, cursor=cursor))
            found += page.items
            if page.next is None:
                return found
            cursor = page.next

    def progress(self, campaign: str) -> Iterator[CampaignReport]:
        """Yield the report on every change until the campaign ends (``NodeUnreachable`` if the node goes away)."""
        route = table.PROGRESS
        try:
            # a campaign that waits for its provider may send nothing for long: no read timeout
            timeout = httpx.Timeout(None, connect=5.0)
            with self._http.stream(route.method, _path(route, {"id": campaign}), timeout=timeout) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _api_error(answer)
                rest = b""
                for part in answer.iter_bytes():  # not iter_lines: it also ends a line at U+2028, which a text may have
                    *lines, rest = (rest + part).split(b"\n")
                    yield from map(_REPORT.decode, filter(None, lines))
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def feed(self, cursor: str, limit: int) -> list[FeedLine]:
        """Fetch a part of the feed."""
        lines = self._send(table.FEED, query=table.FeedQuery(limit=limit, cursor=cursor)).split(b"\n")
        return [msgspec.json.decode(line, type=FeedLine) for line in lines if line]

    def upsert(self, body: bytes) -> ImportedLines:
        """Send subscribers, one as JSON on each line."""
        return self.call(table.BULK, body)

    def base(self, limit: int, cursor: str) -> bytes:
        """Fetch a part of the base, not decoded: rows of an older version may break a rule of today."""
        return self._send(table.SUBSCRIBERS, query=table.SubscribersQuery(limit=limit, cursor=cursor))

    def call(
        self,
        route: Route[A],
        body: msgspec.Struct | bytes | None = None,
        *,
        query: msgspec.Struct | None = None,
        key: str = "",
        timeout: float | None = None,
        **names: str,
    ) -> A:
        """Send a request. ``key``: its idempotency key; ``timeout`` in seconds; ``names``: what the path names."""
        return msgspec.json.decode(self._send(route, body, query, key, timeout, names), type=route.answer)

    def _send(
        self,
        route: Route[Any],
        body: msgspec.Struct | bytes | None = None,
        query: msgspec.Struct | None = None,
        key: str = "",
        timeout: float | None = None,
        names: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        headers = {HEADER: key} if key else {}
        if body is not None:
            headers["content-type"] = "application/x-ndjson" if route.lines else "application/json"
        content = msgspec.json.encode(body) if isinstance(body, msgspec.Struct) else body
        wait = httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=5.0)
        try:
            answer = self._http.request(
                route.method, _path(route, names, query), content=content, headers=headers, timeout=wait
            )
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if not answer.is_success:
            raise _api_error(answer)
        return answer.content

    def _unreachable(self, error: httpx.TransportError) -> NodeUnreachable:
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            text = f"the node at {self.url} did not answer in time (is it overloaded? see its log)"
            return NodeUnreachable(text, sent=True)
        sent = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
        what = "nothing listens" if isinstance(error, httpx.ConnectError) else f"the connection broke: {error}"
        return NodeUnreachable(f"no node at {self.url}: {what} ({_START})", sent=sent)


def _path(route: Route[Any], names: Mapping[str, str], query: msgspec.Struct | None = None) -> str:
    path = route.path.format(**{name: quote(text, safe="") for name, text in names.items()})
    given = {} if query is None else msgspec.to_builtins(query)
    texts = {name: str(value).lower() if isinstance(value, bool) else value for name, value in given.items()}
    return path + (f"?{urlencode(texts)}" if texts else "")


def _api_error(answer: httpx.Response) -> ApiError:
    try:
        told = msgspec.json.decode(answer.content, type=ProblemDetails)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        text = f"the node answered {answer.status_code}: {answer.text.strip()[:200]}"
        told = problem(answer.status_code if answer.status_code in set(HTTPStatus) else 500, text)
    remedy = told.remedy
    if answer.status_code == 401:
        remedy = "the key in the data folder is not this node's: is --data right?"
    failure = ApiError(answer.status_code, told.detail, told.field, told.value, remedy)
    failure.campaign, failure.fired = told.campaign or "", told.fired or ""
    failure.confirm = told.confirm or ""
    return failure
