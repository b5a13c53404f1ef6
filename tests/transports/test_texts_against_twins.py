"""Texts, personal fields and presentations on their way to the twins, which share no code with the renderer."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Callable, Mapping
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
import trio

from campaigns import personal
from campaigns.batch import Batch
from campaigns.clock import wall_clock
from campaigns.identity import campaign_text
from campaigns.message import Message, PlatformText, Text
from campaigns.outcome import Outcome
from campaigns.presentation import Presentation
from campaigns.recipient import NEW_APP, PersonalRecipient, Recipient
from campaigns.text_choice import in_words
from simulators.ledger import Entry, read_ledger
from simulators.serving.service import serve_twin
from transports import registry
from transports.apns.transport import build as build_apns
from transports.contract import TransportSettings
from transports.editions import Editions
from transports.errors import PayloadError
from transports.fcm.transport import build as build_fcm

BUILD: dict[str, Callable[..., Any]] = {"apns": build_apns, "fcm": build_fcm}
APPS = {"apns": "com.example.news", "fcm": "twin-project"}
EXPIRES = 4_000_000_000_000
ASLEEP, AWAKE = Presentation.ASLEEP, Presentation.AWAKE
CAMPAIGN = 77

NEWS = Message(
    title="Storm",
    body="Stay inside, {first_name|friend}",
    url="https://example.com/en",
    image="https://example.com/storm.jpg",
    texts={
        "pt": Text(title="Tempestade", body='Fique em casa, {first_name|"amigo"}'),
        "pt-BR": Text(url="https://example.com/br"),
        "ar": Text(body="\u200fعاصفة الليلة 👩‍👩‍👧\u2028"),
    },
    platforms={"fcm": PlatformText(texts={"pt": Text(title="Temporal")})},
    sound="gong.caf",
    badge=3,
    category="BREAKING",
    thread="storm-7",
)
PHONES = [
    ("en-US", "Ada"),
    ("", ""),
    ("pt-BR", "Zoë"),
    ("pt-PT", 'J"\\o\u2028'),
    ("ar", "x"),
    ("ar-EG", ""),
    ("zh-Hant", "👩‍👩‍👧"),
]


class Against:
    """A transport whose pushes go to a twin that keeps their bodies."""

    def __init__(self, platform: str, transport: Any, ledger: Path) -> None:
        self.platform, self.transport, self._ledger = platform, transport, ledger
        transport._clock = lambda: EXPIRES - 3_600_000  # an hour before the news expires, for ever

    def batch(self, message: Message, presentation: Presentation = AWAKE) -> Batch:
        """The message to each of ``PHONES``."""
        fields = personal.fields(message)
        recipients: list[Recipient] = []
        for number, (locale, name) in enumerate(PHONES):
            plain = number + 1, self.token(number), "token", 0, locale
            own = {"first_name": name}
            recipients.append(PersonalRecipient(*plain, personal.values(fields, own)) if fields else Recipient(*plain))
        return Batch(CAMPAIGN, message, 1, EXPIRES, recipients, presentation=presentation)

    def token(self, number: int) -> str:
        """The token of a phone."""
        return f"{number:064x}" if self.platform == "apns" else f"{number:022}:APA91b{number:064}"

    def entries(self) -> list[Entry]:
        """The twin's ledger, by token."""
        return sorted(read_ledger(self._ledger), key=lambda entry: entry.token)

    def bodies(self) -> list[str]:
        """Each phone's body."""
        return [entry.body or "" for entry in self.entries()]

    def said(self) -> list[tuple[str, str]]:
        """The title and text that each phone shows."""
        found = []
        for body in self.bodies():
            plain = json.loads(body)
            shown = plain["aps"]["alert"] if self.platform == "apns" else plain["message"]["notification"]
            found.append((shown.get("title", ""), shown.get("body", "")))
        return found


@pytest.fixture
def against(tmp_path: Path, fast: dict[str, Any], running: Any) -> Any:
    @contextlib.asynccontextmanager
    async def start(
        platform: str, scripted: Mapping[str, int] = MappingProxyType({}), **settings: Any
    ) -> AsyncIterator[Against]:
        script = tmp_path / "script.json"
        script.write_text(json.dumps({"bodies": True, **scripted}))
        made: list[Any] = []
        up = trio.Event()

        def announce(ready: Any) -> None:
            made.append(ready)
            up.set()

        async def serve() -> None:
            await serve_twin(
                platform,
                directory=tmp_path / "twin",
                ledger=tmp_path / "ledger",
                script=script,
                announce=announce,
                app=(APPS[platform],),
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            with trio.fail_after(20):
                await up.wait()
            whole = TransportSettings(
                channel="c",
                platform=platform,
                app=APPS[platform],
                credentials=made[0].credentials,
                origin=made[0].origin,
                ca=Path(made[0].ca),
                **settings,
            )
            async with running(BUILD[platform](whole, **fast)) as transport:
                yield Against(platform, transport, tmp_path / "ledger")
            nursery.cancel_scope.cancel()

    return start


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_each_phone_gets_the_text_of_its_language_with_its_own_name(platform: str, against: Any) -> None:
    async with against(platform) as twin:
        outcomes = await twin.transport.send(twin.batch(NEWS))
        assert (outcomes.delivered, outcomes.exceptions) == (len(PHONES), [])
        storm = "Temporal" if platform == "fcm" else "Tempestade"
        arabic = ("", "\u200fعاصفة الليلة 👩‍👩‍👧\u2028")
        assert twin.said() == [
            ("Storm", "Stay inside, Ada"),
            ("Storm", "Stay inside, friend"),
            (storm, "Fique em casa, Zoë"),
            (storm, 'Fique em casa, J"\\o\u2028'),
            arabic,
            arabic,
            ("Storm", "Stay inside, 👩‍👩‍👧"),
        ]
        urls = [
            body["url"] if platform == "apns" else body["message"]["data"]["url"]
            for body in map(json.loads, twin.bodies())
        ]
        assert [url.rpartition("/")[2] for url in urls] == ["en", "en", "br", "en", "en", "en", "en"]


@pytest.mark.parametrize("presentation", [AWAKE, ASLEEP])
@pytest.mark.parametrize(
    ("platform", "settings"),
    [("apns", {}), ("fcm", {"quiet_channel": "quiet"}), ("fcm", {"quiet_channel": "quiet", "android_v2": True})],
)
async def test_a_preview_is_byte_by_byte_what_the_provider_gets(
    platform: str, settings: dict[str, Any], presentation: Presentation, against: Any
) -> None:
    message = NEWS
    async with against(platform, **settings) as twin:
        previews = {each.locale: each for each in twin.transport.preview(message, CAMPAIGN, EXPIRES, presentation)}
        assert [*previews] == ["", "ar", "pt", "pt-BR"]
        nobody = [(locale, "") for locale in previews]
        batch = twin.batch(message, presentation)
        recipients = [
            PersonalRecipient(n + 1, twin.token(n), "token", 0, locale, ("",)) for n, (locale, _) in enumerate(nobody)
        ]
        outcomes = await twin.transport.send(dataclasses.replace(batch, recipients=recipients))
        assert outcomes.delivered == len(nobody)
        sample = f"{'0' * 22}:APA91b{'0' * 64}"
        for number, (body, preview) in enumerate(zip(twin.bodies(), previews.values(), strict=True)):
            assert body == preview.body.decode().replace(sample, twin.token(number))
        assert {entry.asleep for entry in twin.entries()} == {presentation is ASLEEP}
        if platform == "apns":
            assert previews[""].fields["apns-collapse-id"] == campaign_text(CAMPAIGN)


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_a_push_that_is_asleep_rings_nowhere(platform: str, against: Any) -> None:
    loud = {
        "apns": {"apns": {"priority": 10, "aps": {"sound": "alarm.caf", "interruption-level": "time-sensitive"}}},
        "fcm": {
            "fcm": {
                "android": {
                    "priority": "HIGH",
                    "notification": {"channel_id": "breaking", "sound": "alarm", "default_sound": True},
                },
                "apns": {"headers": {"Apns-Priority": "10"}, "payload": {"aps": {"interruption-level": "critical"}}},
                "webpush": {"headers": {"urgency": "high"}},
            }
        },
    }[platform]
    message = msgspec.structs.replace(NEWS, options=loud)
    async with against(platform, quiet_channel="quiet") as twin:
        assert (await twin.transport.send(twin.batch(message, ASLEEP))).delivered == len(PHONES)
        assert all(entry.asleep for entry in twin.entries())
        body = json.loads(twin.bodies()[0])
        if platform == "apns":
            assert body["aps"]["interruption-level"] == "passive"
            assert "sound" not in body["aps"]
            assert body["aps"]["badge"] == 3
        else:
            push = body["message"]
            assert push["android"]["priority"] == "NORMAL"
            shown = push["android"]["notification"]
            assert (shown["channel_id"], "sound" in shown, "default_sound" in shown) == ("quiet", False, False)
            assert push["apns"]["headers"] == {"apns-collapse-id": campaign_text(CAMPAIGN), "apns-priority": "5"}
            assert push["webpush"]["headers"]["Urgency"] == "low"
            assert push["webpush"]["notification"]["silent"] is True


async def test_no_option_makes_an_iphone_behind_google_ring(against: Any) -> None:
    for apns in (None, {"payload": {"aps": {"content-available": 1, "sound": "gong"}}}, {"payload": None}):
        message = msgspec.structs.replace(NEWS, options={"fcm": {"apns": apns, "webpush": None, "android": None}})
        async with against("fcm", quiet_channel="quiet") as twin:
            assert (await twin.transport.send(twin.batch(message, ASLEEP))).delivered == len(PHONES)
            assert all(entry.asleep for entry in twin.entries())


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_no_provider_keeps_a_push_for_longer_than_its_window_is_open(platform: str, against: Any) -> None:
    """A phone that is off at ten and switched on at three must stay silent."""
    closes = EXPIRES - 1_800_000
    async with against(platform) as twin:
        begin_until = trio.current_time() + 25.0
        batch = dataclasses.replace(twin.batch(NEWS), closes_at=closes, begin_until=begin_until)
        assert (await twin.transport.send(batch)).delivered == len(PHONES)
        if platform == "apns":
            assert {entry.expires for entry in twin.entries()} == {closes}
        else:  # this twin's clock is not the test's: what is left counts when the last push may be begun
            push = json.loads(twin.bodies()[0])["message"]
            ttl = int(push["webpush"]["headers"]["TTL"])
            assert push["android"]["ttl"] == f"{ttl}s"
            assert 1_774 <= ttl <= 1_776
            kept = {(entry.expires or 0) - entry.time for entry in twin.entries()}
            assert kept <= {ttl * 1000 + rounded for rounded in (-1, 0, 1)}


async def test_google_keeps_no_push_into_the_night_however_long_it_waited_to_be_begun(against: Any) -> None:
    """Issue 21: Google counts a time to live from when it gets the push, not from when its batch was made ready."""
    async with against("fcm", {"streams": 1, "latency_ms": 300}) as twin:
        twin.transport._clock = wall_clock
        closes = wall_clock() + 60_000
        begin_until = trio.current_time() + 25.0
        lives = closes + 10**6
        batch = dataclasses.replace(twin.batch(NEWS), expires_at=lives, closes_at=closes, begin_until=begin_until)
        assert (await twin.transport.send(batch)).delivered == len(PHONES)
        begun = [entry.time for entry in twin.entries()]
        assert max(begun) - min(begun) > 1_200, "some waited"
        assert all(closes - 26_500 < entry.expires <= closes for entry in twin.entries())


def test_a_channel_can_be_asleep_where_its_platform_can_and_android_only_with_a_quiet_channel() -> None:
    found = {(name, quiet): registry.load(name).can_be_asleep(quiet) for name in APPS for quiet in (None, "quiet")}
    assert found == {("apns", None): True, ("apns", "quiet"): True, ("fcm", None): False, ("fcm", "quiet"): True}


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_a_text_that_is_empty_for_somebody_without_a_name_is_refused(platform: str, against: Any) -> None:
    async with against(platform) as twin:
        with pytest.raises(PayloadError, match=r"message.title: is empty, and so is message.body"):
            twin.transport.check(Message(title="{first_name|}"))
        twin.transport.check(Message(title="{first_name|friend}"))


async def test_a_push_awake_is_not_asleep_and_says_when_it_expires(against: Any) -> None:
    async with against("apns") as twin:
        await twin.transport.send(twin.batch(NEWS))
        assert {(entry.asleep, entry.expires) for entry in twin.entries()} == {(False, EXPIRES)}


async def test_without_a_quiet_channel_no_android_push_is_asleep(against: Any) -> None:
    async with against("fcm") as twin:
        with pytest.raises(PayloadError, match=r"on Android it would ring although it is asleep; .*quiet_channel"):
            twin.transport.check(NEWS, ASLEEP)
        twin.transport.check(NEWS)
        outcomes = await twin.transport.send(twin.batch(NEWS, ASLEEP))
        assert {each.outcome for each in outcomes.exceptions} == {Outcome.REJECTED}
        assert twin.entries() == []


async def test_an_urgent_notification_goes_by_googles_second_form_and_nothing_else_does(against: Any) -> None:
    data_only = {"fcm": {"notification": None}}
    async with against("fcm", android_v2=True, quiet_channel="quiet") as twin:
        for message, presentation in (
            (NEWS, AWAKE),
            (NEWS, ASLEEP),
            (msgspec.structs.replace(NEWS, options=data_only), AWAKE),
            (msgspec.structs.replace(NEWS, options={"fcm": {"android": {"priority": "NORMAL"}}}), AWAKE),
        ):
            assert (await twin.transport.send(twin.batch(message, presentation))).delivered == len(PHONES)
        first = [
            json.loads(entry.body)["message"] for entry in read_ledger(twin._ledger) if entry.token == twin.token(0)
        ]
        assert ["android_v2" in push for push in first] == [True, False, False, False]
        second = first[0]["android_v2"]
        assert second["ttl"] == "3600s"
        assert second["remote_notification"]["notification"]["tag"] == campaign_text(CAMPAIGN)
        assert "priority" not in second


@pytest.mark.parametrize("message", [NEWS, Message(title="Storm", body="Stay inside")], ids=["personal", "plain"])
async def test_only_apps_of_the_versions_that_a_channel_names_get_googles_second_form(
    message: Message, against: Any
) -> None:
    """21.4: in one batch; who carries no version (an older node has read the page) counts as old."""
    async with against("fcm", android_v2=">=5.0", quiet_channel="quiet") as twin:
        batch = twin.batch(message)
        fields = personal.fields(message)
        values = [each.values if isinstance(each, PersonalRecipient) else () for each in batch.recipients]
        new = {n for n in range(len(PHONES)) if n % 3 == 0}
        for n, (phone, own) in enumerate(zip(batch.recipients, values, strict=True)):
            plain = phone.id, phone.token, phone.kind, phone.registered_at, phone.locale
            last = (NEW_APP,) if n in new else ("",) if n % 3 == 1 else ()
            batch.recipients[n] = PersonalRecipient(*plain, own + last)
        outcomes = await twin.transport.send(batch)
        assert (outcomes.delivered, outcomes.exceptions) == (len(PHONES), [])
        pushes = [json.loads(body)["message"] for body in twin.bodies()]
        assert {n for n, push in enumerate(pushes) if "android_v2" in push} == new
        assert {n for n, push in enumerate(pushes) if "android" in push} == set(range(len(PHONES))) - new
        if fields:
            assert twin.said()[0] == ("Storm", "Stay inside, Ada")
            assert twin.said()[3] == ("Temporal", 'Fique em casa, J"\\o\u2028')
        previews = twin.transport.preview(message, CAMPAIGN, EXPIRES)
        assert {each.apps: "android_v2" in json.loads(each.body)["message"] for each in previews} == {
            ">=5.0": True,
            "others": False,
        }
        asleep = twin.transport.preview(message, CAMPAIGN, EXPIRES, ASLEEP)
        assert {each.apps for each in asleep} == {""}


async def test_a_slot_replaces_what_was_there_and_only_a_named_one_is_taken(against: Any) -> None:
    message = msgspec.structs.replace(NEWS, collapse="score")
    async with against("fcm", collapse_slots=("score", "weather")) as twin:
        assert (await twin.transport.send(twin.batch(message))).delivered == len(PHONES)
        push = json.loads(twin.bodies()[0])["message"]
        assert (push["android"]["collapse_key"], push["android"]["notification"]["tag"]) == ("score", "score")
        assert (push["apns"]["headers"]["apns-collapse-id"], push["webpush"]["headers"]["Topic"]) == ("score", "score")
        assert twin.entries()[0].collapse == "score"
        with pytest.raises(PayloadError, match=r'message.collapse: "tide" is no slot .*\(it has score, weather\)'):
            twin.transport.check(msgspec.structs.replace(NEWS, collapse="tide"))
        plain = json.loads(twin.transport.preview(NEWS, CAMPAIGN, EXPIRES)[0].body)["message"]["android"]
        assert "collapse_key" not in plain, "never a key of the campaign's own"


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_a_text_of_exactly_the_limit_passes_and_one_octet_more_names_text_and_excess(
    platform: str, against: Any
) -> None:
    """The longest name is counted: whoever has it gets the push as well."""
    name = "Ö" * (personal.LONGEST // 2)

    def message(room: int) -> Message:
        long = "Olá {first_name|x}, " + '"' * (room // 2) + "y" * (room % 2)
        return msgspec.structs.replace(
            NEWS, image=None, options={}, texts={"pt": Text(title="t", body=long)}, platforms={}
        )

    async with against(platform) as twin:
        size = next(each.size for each in twin.transport.preview(message(0), CAMPAIGN, EXPIRES) if each.locale == "pt")
        full = message(4_096 - size)
        assert [each.size for each in twin.transport.preview(full, CAMPAIGN, EXPIRES)][1] == 4_096
        twin.transport.check(full)
        phones = [PersonalRecipient(1, twin.token(0), "token", 0, "pt-BR", (name,))]
        batch = Batch(CAMPAIGN, full, 1, EXPIRES, [*phones])
        assert (await twin.transport.send(batch)).delivered == 1, "the twin counts as the provider does"
        assert name in twin.said()[0][1]
        service = "APNs" if platform == "apns" else r"FCM \(iPhones\)"
        for more in (1, 5):
            expected = rf"^message.texts.pt: {4_096 + more} bytes for {service}, which takes 4096: {more} too many"
            with pytest.raises(PayloadError, match=expected):
                twin.transport.check(message(4_096 - size + more))
        asleep = r"^message.texts.pt: 41\d\d bytes for APNs, which takes 4096, asleep: \d+ too many"
        if platform == "apns":
            with pytest.raises(PayloadError, match=asleep):
                twin.transport.check(full, ASLEEP)


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_a_text_that_nobody_checked_rejects_only_who_reads_it(platform: str, against: Any) -> None:
    message = msgspec.structs.replace(NEWS, texts={"pt": Text(body="x" * 4_096)}, platforms={})
    async with against(platform) as twin:
        outcomes = await twin.transport.send(twin.batch(message))
        assert outcomes.delivered == len(PHONES) - 2
        assert sorted(each.index for each in outcomes.exceptions) == [2, 3]
        assert all("too many" in each.reason and each.outcome is Outcome.REJECTED for each in outcomes.exceptions)
        assert len(twin.entries()) == len(PHONES) - 2


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_a_text_is_rendered_once_however_many_read_it(
    platform: str, against: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 21, Benches: batches of twelve window classes have twelve expirations, and each one rendered all texts."""
    async with against(platform) as twin:
        rendered: list[Message] = []
        real = twin.transport._render
        monkeypatch.setattr(
            twin.transport, "_render", lambda *given, **more: (rendered.append(given[-1]), real(*given, **more))[1]
        )
        message = msgspec.structs.replace(NEWS, body="Stay inside", texts={"pt": Text(body="Fique")}, platforms={})
        other = dataclasses.replace(twin.batch(Message(title="Flood")), campaign=CAMPAIGN + 1)
        for number in range(3):
            closes, begin_until = EXPIRES - 600_000 * number, trio.current_time() + 25.0
            one = dataclasses.replace(twin.batch(message), closes_at=closes, begin_until=begin_until)
            for batch in (one, other):
                assert (await twin.transport.send(batch)).delivered == len(PHONES)
        assert len(rendered) == 3, "the default text, the Portuguese one, and the other campaign's"
        bodies = {in_words(message, platform, locale).body for locale in ("", "pt")}
        assert {each.body for each in rendered if each.title != "Flood"} == bodies


def test_the_requests_of_one_text_follow_each_other() -> None:
    """Issue 21, Benches: a connection looks up a header block each time that the body's size changes."""
    message = Message(title="Flood", texts={"pt": Text(title="Cheia grave"), "de": Text(title="Flut")})
    made = Editions(message, "apns", lambda one: one.title.encode(), lambda title: title)
    phones = [Recipient(n, "aa", "token", 0, ("pt-BR", "de", "en")[n % 3]) for n in range(30)]
    keys, bodies, rejected = made.contents(phones)
    assert (sorted(keys), rejected) == (list(range(30)), [])
    assert [body for body, _ in groupby(bodies)] == [b"Cheia grave", b"Flut", b"Flood"]
    expected = {"pt-BR": b"Cheia grave", "de": b"Flut", "en": b"Flood"}
    assert all(body == expected[phones[key].locale] for key, body in zip(keys, bodies, strict=True))
