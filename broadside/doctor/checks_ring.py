"""The doctor's checks of a ring: the store's master, how far its replicas are behind, which peers take batons."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import trio
from structlog.testing import capture_logs

from broadside.config.tarantool import Peer, StoreConfig, tarantool_address
from broadside.doctor.findings import Finding, reason
from storage.errors import StorageError, VerbRefused
from storage.link import Endpoint, Link
from storage.tarantool_program import support

_TIMEOUT = 4.0
_pack = msgspec.msgpack.encode
MOST_BEHIND = 1000
"""Writes that a replica may be behind before it is a fault: less than a second of a large campaign."""
MOST_LAG = 1.0
"""Seconds, measured by the replica."""


def store(config: StoreConfig) -> Iterator[Finding]:
    """Check each instance of the store that the configuration names."""
    uris = list(dict.fromkeys([config.uri, *config.others, *([config.replica] if config.replica else [])]))
    masters = 0
    for uri in uris:
        found = greeting("store", uri)
        if not found.ok:
            yield found
            continue
        said, error = _ask(uri, config.user, config.password(), "store.replication")
        if said is None:
            yield Finding("store", False, f"{uri}: {error}", "is that Tarantool up, and are uri and password right?")
            continue
        masters += not said["read_only"]
        if "version" in said:  # an older Broadside's server does not say it
            yield Finding("store", True, f"{uri}: {support(said['version'], said['failover'], len(uris))}")
        yield _strangers(uri, said.get("hosts"))
        yield from _instance(uri, said)
    if masters != 1 and len(uris) > 1:
        what = "none of them takes writes" if not masters else f"{masters} of them take writes"
        yield Finding(
            "store", False, what, "there must be one master: docs/cluster.md says how to promote and retire one"
        )


def _strangers(uri: str, hosts: list[str] | None) -> Finding:
    """Check whether anybody who connects may run SQL: Tarantool asks a guest for no password."""
    if not guest_runs_sql(uri):
        return Finding("store", True, f"{uri}: refuses SQL without a password")
    if hosts is None and not isinstance(tarantool_address(uri), Path):
        remedy = "list the machines that may connect under hosts in that server's settings (docs/cluster.md)"
        return Finding("store", False, f"{uri}: runs SQL for anybody who connects, without a password", remedy)
    allowed = "this machine alone" if not hosts else ", ".join(hosts)
    return Finding("store", True, f"{uri}: runs SQL without a password, so it is open only to {allowed}")


def guest_runs_sql(uri: str) -> bool:
    """Whether ``SELECT 1`` works without a log-in."""
    request = _pack({0x00: 11, 0x01: 1}) + _pack({0x40: "SELECT 1", 0x41: []})  # IPROTO_EXECUTE
    try:
        with _connected(tarantool_address(uri)) as link, link.makefile("rb") as answers:
            answers.read(128)  # the greeting
            link.sendall(_pack(len(request)) + request)
            length = msgspec.msgpack.decode(answers.read(5), type=int)
            said = answers.read(length)
    except (OSError, msgspec.DecodeError):
        return False
    # a map whose first pair is 0 (the status): 0, or 0x8000 + the error's code, each as a 32-bit number
    return said[1:7] == b"\x00\xce\x00\x00\x00\x00"


def _instance(uri: str, said: dict[str, Any]) -> Iterator[Finding]:
    if said["read_only"]:
        source = next((other for other in said["instances"] if other["uuid"] == said["master"]), None)
        if source is None or not source["followed"]:
            yield Finding("store", False, f"{uri}: read replica, follows nobody", "is its master up?")
        else:
            lag = source["lag"] or 0.0
            yield Finding("store", lag <= MOST_LAG, f"{uri}: read replica, {lag * 1000:.1f} ms behind its master")
        return
    follows = [other for other in said["instances"] if other["follows"]]
    raft = said.get("failover") == "raft"
    lead = "leader" if raft else "master"
    text = f"{uri}: {lead} (term {said['term']}), quorum {said['quorum']}"
    remedy = "writes wait for replicas that are away: start them, or broadside store promote --quorum 1"
    yield Finding(
        "store", len(follows) + 1 >= said["quorum"], text, remedy if len(follows) + 1 < said["quorum"] else ""
    )
    for other in said["instances"]:
        name = f"{uri}: replica {other['uuid'][:8]}"
        if other["follows"]:
            behind = other["behind"]
            yield Finding("store", behind <= MOST_BEHIND, f"{name} follows, {behind:,} writes behind")
        else:
            gone = "one that never comes back is harmless"
            if raft:
                gone = f"one that never comes back still counts: broadside store forget DATA {other['uuid']}"
            yield Finding("store", False, f"{name} is away", f"start it; {gone}")


def peer(config: Peer) -> Finding:
    """Check whether another node's queue takes batons from this node."""
    found = greeting(config.name, config.uri)
    if not found.ok:
        return found
    said, error = _ask(config.uri, config.user, config.password(), "tubes.baton_put", [])
    if said is None:
        remedy = "is that node up, and are uri and password right? Until then it is skipped"
        return Finding(config.name, False, f"{config.uri}: {error}", remedy)
    return Finding(config.name, True, f"{config.uri}: takes batons")


def _ask(uri: str, user: str, password: str, verb: str, *args: Any) -> tuple[Any, str]:
    """Call a verb: its first result and no error, or None and the reason."""
    with capture_logs() as logged:
        answer = trio.run(_call, Endpoint(uri, user, password), verb, *args)
    if not isinstance(answer, StorageError):
        return answer[0], ""
    reasons = [str(entry["error"]) for entry in logged if "error" in entry]
    return None, answer.text if isinstance(answer, VerbRefused) else (reasons or [str(answer)])[-1]


async def _call(endpoint: Endpoint, verb: str, *args: Any) -> list[Any] | StorageError:
    link = Link({"instance": endpoint})
    async with trio.open_nursery() as nursery:
        await nursery.start(_run, link)
        try:
            return await link.call("instance", verb, *args, deadline=_TIMEOUT)
        except StorageError as error:
            return error
        finally:
            link.stop()
    raise AssertionError("the nursery ends with an answer")


async def _run(link: Link, task_status: trio.TaskStatus[None]) -> None:
    await link.run(task_status.started)


def greeting(name: str, uri: str) -> Finding:
    """Check whether a Tarantool answers at ``uri`` with its greeting."""
    address = tarantool_address(uri)
    try:
        with _connected(address) as link:
            said = link.recv(64)
    except OSError as error:
        return Finding(name, False, f"{uri}: {reason(error)}", "is that Tarantool up, and the uri right?")
    if not said.startswith(b"Tarantool"):
        return Finding(name, False, f"{uri}: something answers, but it is not a Tarantool", "check the uri's port")
    return Finding(name, True, f"{uri}: {said.decode('ascii', 'replace').split('(')[0].strip()}")


def _connected(address: tuple[str, int] | Path) -> socket.socket:
    if not isinstance(address, Path):
        return socket.create_connection(address, _TIMEOUT)
    link = socket.socket(socket.AF_UNIX)
    try:
        link.settimeout(_TIMEOUT)
        link.connect(str(address))
    except BaseException:
        link.close()
        raise
    return link
