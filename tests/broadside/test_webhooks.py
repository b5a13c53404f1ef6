"""A webhook's receiver hears every change of state, in order, signed, whoever dies; one that is away costs nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import trio
import trio.testing
import trustme

from broadside.api.alarm import AlarmName
from broadside.api.outward_records import WebhookCall
from broadside.config.outward_tables import Webhook
from broadside.errors import ConfigError
from broadside.outward.guarded_web import GuardedWeb, LinkUnread, WebAnswer
from broadside.outward.outward import Outward
from broadside.outward.webhook_sender import LATE, LONGEST_PAUSE, SIGNATURE, WebhookSender, sign
from campaigns.message import Message
from storage.link import Link
from storage.outward_store import StateChange, WebhookDue, WebhookRow
from storage.store import Store
from tests.broadside.outward_server import Asked, OutwardServer
from tests.broadside.test_config import read
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, House

SECRET = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def webhook(tmp_path: Path) -> Webhook:
    file = tmp_path / "secret"
    file.write_text(SECRET + "\n")
    return Webhook(name="crm", url="http://127.0.0.1/", secret_file=file)


class PlainStore:
    """The store's part, in memory: for an hour of virtual time."""

    def __init__(self, changes: int) -> None:
        self.changes = [StateChange(n, NOW, CAMPAIGN, "firing") for n in range(1, changes + 1)]
        self.cursor = 0
        self.failing_since = 0
        self.tries = 0
        self.calls = 0
        self.herd = self.outward = self

    async def take_duty(self, duty: str, node: str) -> bool:
        return True

    async def due(self, name: str, limit: int) -> WebhookDue:
        self.calls += 1
        left = [change for change in self.changes if change.number > self.cursor]
        return WebhookDue(left[:limit], self.cursor, 0, self.failing_since)

    async def heard(self, name: str, number: int, missed: int, now: int) -> None:
        self.cursor, self.failing_since, self.tries = max(self.cursor, number), 0, 0

    async def failed(self, name: str, error: str, now: int) -> int:
        self.failing_since, self.tries = self.failing_since or now, self.tries + 1
        return self.failing_since

    async def campaign_get(self, id: int) -> None:
        return None


class Receiver:
    """Down until a moment of virtual time."""

    def __init__(self, until: float) -> None:
        self.until = until
        self.tried: list[float] = []
        self.heard: list[int] = []

    async def ask(self, method: str, url: str, *, body: bytes, **more: Any) -> WebAnswer:
        self.tried.append(trio.current_time())
        if trio.current_time() < self.until:
            await trio.sleep(5)
            raise LinkUnread(url, "no answer came within 5 s", "try again")
        self.heard.append(json.loads(body)["id"])
        return WebAnswer(200, {}, b"", 0.1)


async def test_a_receiver_that_is_away_for_an_hour_costs_a_call_a_minute_and_misses_nothing(
    webhook: Webhook, autojump_clock: trio.testing.MockClock
) -> None:
    """Issue 25.9, in virtual time."""
    store, began = PlainStore(300), trio.current_time()
    receiver = Receiver(began + 3600)
    clock = lambda: NOW + round(1000 * (trio.current_time() - began))  # noqa: E731
    sender = WebhookSender(webhook, node="n1", store=cast(Store, store), web=cast(GuardedWeb, receiver), clock=clock)
    with trio.move_on_after(2 * LATE / 1000):
        await sender.run(lambda: None)
    assert [alarm.name for alarm in sender.alarms()] == [AlarmName.WEBHOOK_FAILS]
    with trio.move_on_after(3600 - 2 * LATE / 1000 + LONGEST_PAUSE + 10):
        await sender.run(lambda: None)
    assert len([each for each in receiver.tried if each < receiver.until]) < 75, "about one a minute"
    assert receiver.heard == list(range(1, 301)), "all, once, in order"
    assert receiver.tried[-1] < receiver.until + LONGEST_PAUSE + 5, "soon after it is back"
    assert sender.alarms() == []


@pytest.fixture
def receiver() -> Iterator[OutwardServer]:
    server = OutwardServer()
    yield server
    server.end()


def sender(receiver: OutwardServer, webhook: Webhook, store: Store, node: str = "n1") -> WebhookSender:
    mine = msgspec.structs.replace(webhook, url=f"{receiver.url}/hook")
    web = GuardedWeb([f"127.0.0.1:{receiver.port}"])
    return WebhookSender(mine, node=node, store=store, web=web, clock=lambda: NOW)


async def until(look: Callable[[], bool]) -> None:
    while not look():  # noqa: ASYNC110, another thread changes it
        await trio.sleep(0.05)


async def until_heard(receiver: OutwardServer, states: int, *senders: WebhookSender) -> list[dict[str, Any]]:
    async with trio.open_nursery() as nursery:
        for each in senders:
            nursery.start_soon(each.run, lambda: None)
        with trio.fail_after(20):
            await until(lambda: len(receiver.asked) >= states)
        await trio.sleep(0.7)  # and no more
        nursery.cancel_scope.cancel()
    return [json.loads(asked.body) for asked in receiver.asked]


@pytest.mark.tarantool
async def test_every_change_of_state_is_told_signed_and_in_order(
    receiver: OutwardServer, webhook: Webhook, own_link: Link
) -> None:
    house = House(own_link)
    await house.join()
    assert (await house.store.outward.due("crm", 5)).changes == [], "a new one hears nothing of what was before it"
    await house.store.campaign_create(CAMPAIGN + 9, Message(title="t", body="b"), None, {"drill": {"by": ""}}, NOW)
    await house.subscribers(20)
    await house.fire()
    while await house.walk_page() is not None:
        pass
    await house.deliver("ios")
    await house.deliver("android")
    await house.report()
    assert await house.state() == "done"
    calls = await until_heard(receiver, 3, sender(receiver, webhook, house.store))
    assert [call["state"] for call in calls] == ["draft", "firing", "done"]
    assert [call["id"] for call in calls] == sorted(call["id"] for call in calls)
    assert calls[2]["channels"]["ios"]["delivered"] == 10
    assert calls[2].keys() == set(WebhookCall.__struct_fields__)
    for asked in receiver.asked:
        assert asked.method == "POST"
        at, signature = (part.split("=")[1] for part in asked.headers[SIGNATURE].split(","))
        wanted = hmac.new(SECRET.encode(), f"{at}.".encode() + asked.body, hashlib.sha256).hexdigest()
        assert signature == wanted
        assert SECRET not in str(asked)
    (row,) = await house.store.outward.webhooks()
    assert (row.waiting, row.failing_since, row.missed) == (0, 0, 0)


@pytest.mark.tarantool
async def test_one_node_of_the_ring_calls_and_another_takes_over_where_it_stopped(
    receiver: OutwardServer, webhook: Webhook, own_link: Link
) -> None:
    store = Store(own_link)
    await store.outward.due("crm", 1)
    for n in range(6):
        await store.campaign_create(CAMPAIGN + n, Message(title=f"{n}", body="b"), None, {}, NOW)
    one, two = (sender(receiver, webhook, store, node) for node in ("n1", "n2"))
    refuse = 3

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        return (200 if len(receiver.asked) <= refuse else 500), {}, b""

    receiver.answer = answer
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run, lambda: None)
        with trio.fail_after(20):
            await until(lambda: len(receiver.asked) >= 5)
        nursery.cancel_scope.cancel()  # as a crash: nobody is told
    receiver.answer = lambda asked: (200, {}, b"")
    receiver.asked.clear()
    assert await two.look() > 0, "not yet: the first may be alive"
    assert receiver.asked == []
    await trio.sleep(10.5)
    calls = await until_heard(receiver, 3, two)
    assert [call["title"] for call in calls] == ["3", "4", "5"], "what was heard is not told again"


@pytest.mark.tarantool
async def test_a_receiver_that_ends_and_comes_back_hears_all(
    receiver: OutwardServer, webhook: Webhook, own_link: Link
) -> None:
    """Issue 25.9, over real sockets: it is ended while it is called."""
    store = Store(own_link)
    await store.outward.due("crm", 1)
    heard: list[str] = []

    def answer(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        heard.append(json.loads(asked.body)["title"])
        return 204, {}, b""

    receiver.answer = answer
    me = sender(receiver, webhook, store)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(me.run, lambda: None)
        for n in range(30):
            await store.campaign_create(CAMPAIGN + n, Message(title=f"{n}", body="b"), None, {}, NOW)
            if n == 10:
                await trio.to_thread.run_sync(receiver.end)
            if n == 25:
                with trio.fail_after(20):
                    while not (await store.outward.webhooks())[0].failing_since:  # noqa: ASYNC110, it is in the store
                        await trio.sleep(0.05)
                await trio.to_thread.run_sync(receiver.start)
        with trio.fail_after(30):
            while (await store.outward.webhooks())[0].waiting:  # noqa: ASYNC110, it is in the store
                await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    assert list(dict.fromkeys(heard)) == [f"{n}" for n in range(30)], "each, in order"
    (row,) = await store.outward.webhooks()
    assert isinstance(row, WebhookRow)
    assert (row.failing_since, row.missed, row.tries) == (0, 0, 0)


def https(authority: trustme.CA, name: str) -> OutwardServer:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(name).configure_cert(context)
    return OutwardServer(tls=context)


async def called(webhook: Webhook, server: OutwardServer, ca: Path | None) -> tuple[str, list[Asked]]:
    """Have the node of a configuration tell a change; returns what was wrong, and what the receiver was asked."""
    mine = msgspec.structs.replace(webhook, url=f"{server.url}/hook", ca=ca)
    store = PlainStore(1)
    (each,) = Outward(cast(Store, store), "n1", webhooks=(mine,), clock=lambda: NOW)._senders.values()
    await each.look()
    assert (store.cursor == 1) is (store.tries == 0), "a call that was not taken is made again"
    return each._error, server.asked


async def test_https_is_checked_by_the_webhook_s_own_authority_and_a_bad_certificate_is_refused_in_words(
    webhook: Webhook, tmp_path: Path
) -> None:
    """Issue 25.9."""
    ours, others = trustme.CA(), trustme.CA()
    ca = tmp_path / "ca.pem"
    ours.cert_pem.write_to_path(str(ca))
    good, foreign, misnamed = https(ours, "localhost"), https(others, "localhost"), https(ours, "hooks.example.com")
    try:
        error, asked = await called(webhook, good, ca)
        assert (error, [each.path for each in asked]) == ("", ["/hook"])
        at = int(asked[0].headers[SIGNATURE].split(",")[0].removeprefix("t="))
        assert asked[0].headers[SIGNATURE] == sign(SECRET, at, asked[0].body)
        for server, authority, word in (
            (foreign, ca, "unable to get local issuer certificate"),
            (good, None, "unable to get local issuer certificate"),  # the system does not know our authority
            (misnamed, ca, "Hostname mismatch"),
        ):
            before = len(server.asked)
            error, asked = await called(webhook, server, authority)
            assert word in error, error
            assert "its certificate is not accepted" in error
            assert "ca" in error, "and what to do"
            assert len(asked) == before, "nothing was said to it"
    finally:
        for server in (good, foreign, misnamed):
            server.end()


def test_a_webhook_s_authority_that_cannot_be_read_is_found_when_the_configuration_is_read(tmp_path: Path) -> None:
    secret, ca = tmp_path / "secret", tmp_path / "ca.pem"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    ca.write_text("this is no certificate")
    channel = '[channels.ios]\nplatform = "apns"\napp = "com.example.news"\ntwin = true\n'
    table = f'[[webhooks]]\nname = "crm"\nurl = "https://hooks.example.com/"\nsecret_file = "{secret}"\nca = "{ca}"\n'
    with pytest.raises(ConfigError, match=r"webhooks\[0\].ca.*ca.pem.*is not a readable PEM certificate"):
        read(tmp_path, channel + table)
