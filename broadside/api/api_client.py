"""A client of the node's HTTP API, for the command line: over the data folder's Unix socket, with plain errors.

Synchronous on purpose: a command does one thing after the other. Only the import has several requests in flight, from
its own threads; they can share a client.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from broadside.api.audience_request import AudienceCount, CountRequest
from broadside.api.campaign_report import REPORT, CampaignReport, DryRunReport, FireRequest, NewsroomClock
from broadside.api.dead_records import DeadAnswer, DeadAnswered, DeadReport, DeadRestore, DeadRestored
from broadside.api.idempotency import HEADER
from broadside.api.operations import Coverage, Forgotten, PeerReport, Verification
from broadside.api.preview_report import PreviewReport
from broadside.datafolder import DataFolder
from broadside.errors import ApiError, NodeUnreachable

_REPORTS = msgspec.json.Decoder(dict[str, list[CampaignReport]])
_START = "start it: broadside node (from a checkout: ./dev run-node)"


class Imported(msgspec.Struct, frozen=True, omit_defaults=True):
    """The node's answer to a chunk of subscribers."""

    inserted: int
    updated: int
    replaces: dict[str, int] = {}
    """If rows named the tokens that theirs replace: ``moved``, ``merged``, ``unknown`` → how many."""


class BaseCount(msgspec.Struct, frozen=True):
    """The size of the base."""

    total: int
    channels: dict[str, int] = {}


class Channels(msgspec.Struct, frozen=True):
    """Answer to ``GET /api/channels``."""

    channels: dict[str, dict[str, str]]
    """The node's own channels: name → ``platform``. The import checks tokens by the platform's rules."""
    served: frozenset[str] | None = None
    """The channels that the ring serves; None: no node has joined yet."""

    @property
    def platforms(self) -> dict[str, str]:
        """Name → platform."""
        return {name: channel["platform"] for name, channel in self.channels.items()}


class Client:
    """A connection to one node. Every method raises ``NodeUnreachable`` or ``ApiError``."""

    def __init__(self, url: str, socket: Path, key: str, timeout: float = 60.0) -> None:
        """Connect to the node of ``url`` through its Unix ``socket``, with the API key ``key``.

        ``timeout`` in seconds bounds each wait for the node. Requests never go to ``url``, where another program may
        listen by now: a socket in a closed folder is always the node's own.
        """
        self.url = url.rstrip("/")
        limits = httpx.Limits(max_connections=8)
        # trust_env=False: no proxy from the environment between us and the node; verify=False: there is no TLS
        self._http = httpx.Client(
            base_url=self.url,
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
            answer = self._http.get("/readyz", timeout=5.0)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        try:
            detail = answer.json()
        except ValueError:
            detail = {"status": answer.text.strip()[:200]}
        return answer.is_success, detail if isinstance(detail, dict) else {"status": detail}

    def status(self) -> dict[str, Any]:
        """Fetch the supervision tree's snapshot and the versions in use."""
        return msgspec.json.decode(self._call("GET", "/api/status"), type=dict[str, Any])

    def fire(self, request: FireRequest, key: str = "") -> CampaignReport:
        """Create a campaign and fire it; with an idempotency ``key`` only once, however often this is called."""
        headers = {HEADER: key} if key else {}
        return REPORT.decode(self._call("POST", "/api/campaigns", msgspec.json.encode(request), 30.0, headers))

    def dry_run(self, request: FireRequest) -> DryRunReport:
        """Ask whether the platforms and providers would accept a campaign."""
        body = msgspec.json.encode(msgspec.structs.replace(request, dry_run=True))
        return msgspec.json.decode(self._call("POST", "/api/campaigns", body), type=DryRunReport)

    def preview(self, request: FireRequest) -> PreviewReport:
        """Fetch the exact requests that the providers would get of a campaign."""
        answer = self._call("POST", "/api/campaigns/preview", msgspec.json.encode(request))
        return msgspec.json.decode(answer, type=PreviewReport)

    def preview_of(self, campaign: str) -> PreviewReport:
        """Fetch the exact requests that the providers get of a campaign."""
        return msgspec.json.decode(self._call("GET", f"/api/campaigns/{campaign}/preview"), type=PreviewReport)

    def audience_count(self, request: CountRequest) -> AudienceCount:
        """Count an audience. An exact count of a large base takes seconds."""
        body = msgspec.json.encode(request)
        answer = self._call("POST", "/api/audience/count", body, timeout=600.0 if request.exact else 30.0)
        return msgspec.json.decode(answer, type=AudienceCount)

    def campaigns(self) -> list[CampaignReport]:
        """List campaigns, newest first."""
        return _REPORTS.decode(self._call("GET", "/api/campaigns")).get("campaigns", [])

    def campaign(self, campaign: str) -> CampaignReport:
        """Fetch one campaign's report."""
        return REPORT.decode(self._call("GET", f"/api/campaigns/{campaign}"))

    def move(self, campaign: str, act: str) -> CampaignReport:
        """Begin to ``pause``, ``resume`` or ``cancel`` a campaign."""
        return REPORT.decode(self._call("POST", f"/api/campaigns/{campaign}/{act}"))

    def coverage(self, campaign: str) -> Coverage:
        """Fetch the id ranges that a campaign has walked."""
        return msgspec.json.decode(self._call("GET", f"/api/campaigns/{campaign}/coverage"), type=Coverage)

    def verify(self, campaign: str) -> Verification:
        """Have a campaign's ledger checked against the base. For a large base this takes long."""
        answer = self._call("GET", f"/api/campaigns/{campaign}/verify", timeout=600.0)
        return msgspec.json.decode(answer, type=Verification)

    def peers(self) -> list[PeerReport]:
        """List the registered nodes."""
        return msgspec.json.decode(self._call("GET", "/api/peers"), type=dict[str, list[PeerReport]])["peers"]

    def forget(self, name: str, force: bool) -> Forgotten:
        """Forget a node."""
        path = f"/api/peers/{quote(name, safe='')}/forget" + ("?force=true" if force else "")
        return msgspec.json.decode(self._call("POST", path), type=Forgotten)

    def tubes(self) -> dict[str, Any]:
        """Fetch the node's tubes: tasks by state, parked batches, the outbox."""
        return msgspec.json.decode(self._call("GET", "/api/tubes"), type=dict[str, Any])

    def buried(self, channel: str, limit: int) -> list[dict[str, Any]]:
        """Fetch buried batches."""
        answer = self._call("GET", f"/api/tubes/{quote(channel, safe='')}/buried?limit={limit}")
        return msgspec.json.decode(answer, type=dict[str, list[dict[str, Any]]])["buried"]

    def end_buried(self, channel: str) -> dict[str, int]:
        """End buried batches; returns the numbers of ``batches`` and of their ``recipients``."""
        answer = self._call("POST", f"/api/tubes/{quote(channel, safe='')}/end")
        return msgspec.json.decode(answer, type=dict[str, int])

    def kick(self, channel: str, count: int) -> int:
        """Put buried batches back on their tube; returns how many."""
        answer = self._call("POST", f"/api/tubes/{quote(channel, safe='')}/kick?count={count}")
        return msgspec.json.decode(answer, type=dict[str, int])["kicked"]

    def dead(self) -> DeadReport:
        """Fetch the dead ledger's report."""
        return msgspec.json.decode(self._call("GET", "/api/dead"), type=DeadReport)

    def dead_answer(self, act: str, channel: str, campaign: str | None) -> DeadAnswered:
        """Answer a question: ``confirm`` or ``keep``."""
        body = msgspec.json.encode(DeadAnswer(channel=channel, campaign=campaign))
        return msgspec.json.decode(self._call("POST", f"/api/dead/{act}", body), type=DeadAnswered)

    def dead_restore(self, channel: str | None, campaign: str | None) -> DeadRestored:
        """Undo a day's deletions. A large undo takes long."""
        body = msgspec.json.encode(DeadRestore(channel=channel, campaign=campaign))
        return msgspec.json.decode(self._call("POST", "/api/dead/restore", body, timeout=600.0), type=DeadRestored)

    def remove(self, channel: str, token: str) -> bool:
        """Delete one subscriber."""
        path = f"/api/subscribers?channel={quote(channel, safe='')}&token={quote(token, safe='')}"
        return msgspec.json.decode(self._call("DELETE", path), type=dict[str, bool])["removed"]

    def progress(self, campaign: str) -> Iterator[CampaignReport]:
        """Yield the report on every change until the campaign ends (``NodeUnreachable`` if the node goes away)."""
        path = f"/api/campaigns/{campaign}/progress"
        try:
            # a campaign that waits for its provider may send nothing for long: no read timeout
            with self._http.stream("GET", path, timeout=httpx.Timeout(None, connect=5.0)) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _api_error(answer)
                rest = b""
                for part in answer.iter_bytes():  # not iter_lines: it also ends a line at U+2028, which a text may have
                    *lines, rest = (rest + part).split(b"\n")
                    yield from map(REPORT.decode, filter(None, lines))
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def upsert(self, body: bytes) -> Imported:
        """Send one chunk of subscribers: a JSON array of at most ``MAX_SUBSCRIBERS`` records."""
        return msgspec.json.decode(self._call("POST", "/api/subscribers", body), type=Imported)

    def channels(self) -> Channels:
        """Fetch the node's channels, and the channels that the ring serves."""
        return msgspec.json.decode(self._call("GET", "/api/channels"), type=Channels)

    def newsroom(self) -> NewsroomClock:
        """Fetch the newsroom's time zone and the node's time."""
        return msgspec.json.decode(self._call("GET", "/api/newsroom"), type=NewsroomClock)

    def count(self) -> BaseCount:
        """Count the base."""
        return msgspec.json.decode(self._call("GET", "/api/subscribers/count"), type=BaseCount)

    def subscribers(self, after: int, limit: int) -> bytes:
        """Fetch up to ``limit`` subscribers with id > ``after``, as NDJSON."""
        return self._call("GET", f"/api/subscribers?after={after}&limit={limit}")

    def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        timeout: float | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> bytes:
        headers = {**headers, "content-type": "application/json"} if body is not None else headers
        wait = httpx.USE_CLIENT_DEFAULT if timeout is None else httpx.Timeout(timeout, connect=5.0)
        try:
            answer = self._http.request(method, path, content=body, headers=headers, timeout=wait)
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


def _api_error(answer: httpx.Response) -> ApiError:
    index: int | None = None
    fire = {"campaign": "", "fired": "", "confirm": ""}
    try:
        error = answer.json()["error"]
        index = error["index"] if isinstance(error.get("index"), int) else None
        fields = {name: str(error.get(name) or "") for name in ("message", "field", "value", "remedy")}
        fire = {name: str(error.get(name) or "") for name in fire}
    except (ValueError, KeyError, TypeError, AttributeError):
        fields = {"message": f"the node answered {answer.status_code}: {answer.text.strip()[:200]}"}
    # a node gives a record's position in words
    if index is None and (found := re.match(r"record (\d+): ", fields["message"])):
        index = int(found[1])
    if answer.status_code == 401:
        fields["remedy"] = "the key in the data folder is not this node's: is --data right?"
    failure = ApiError(answer.status_code, index=index, **fields)
    failure.campaign, failure.fired, failure.confirm = fire["campaign"], fire["fired"], fire["confirm"]
    return failure
