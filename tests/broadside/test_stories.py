"""Stories: one channel each, the newest card last, nothing left behind, whatever dies in between."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broadside.api.alarm import Severity
from broadside.api.campaign_report import CampaignReport, FireRequest
from broadside.api.story_records import BroadcastPlace, StoryChange, StoryReport, StoryRequest
from broadside.api.v1.examples import EXAMPLES
from broadside.errors import ConfigError, Conflict, FireFailed, Problem, RecordError
from broadside.newsroom.guards.approvals import Asker
from broadside.newsroom.stories import story_desk
from broadside.newsroom.stories.story_desk import StoryDesk
from broadside.newsroom.stories.story_keeper import StoryKeeper, channel_alarms
from broadside.newsroom.stories.story_plan import LINGER, Story, with_update
from broadside.newsroom.stories.story_shelf import StoryShelf
from broadside.newsroom.stories.story_work import HOLD, StoryWork
from campaigns.identity import campaign_text, parse_campaign
from campaigns.message import Message
from storage.link import Link
from storage.store import Store
from storage.stories import StoryStore
from tests.broadside.test_config import read
from transports.apns.broadcast_channels import ApnsBroadcasts
from transports.broadcasts import BroadcastLater, BroadcastRefused, CardState
from transports.errors import ConnectionLost, CredentialsError

NOW = 1_800_000_000_000
ANA = Asker("ana", "Ana", approver=False)
GOAL = StoryChange(state={"score": "1:0"}, message=Message(title="Goal", body="1:0"))
OPEN = StoryRequest(title="Cup final", change=GOAL)


class Killed(BaseException):
    """The process is gone."""


class Apple:
    """Apple's broadcast channels, in memory, as its pages describe them; answers may be lost."""

    limit = 10_000
    body = ApnsBroadcasts.body

    def __init__(self) -> None:
        self.place = "com.example.news at apple"
        self.ids: list[str] = ["foreign"]
        self.sent: list[tuple[str, dict[str, Any], int]] = []
        self.fails: list[Exception] = []
        self.lost = False
        self.log: list[str] = []

    def broadcasts(self) -> Apple:
        return self

    async def create(self, *, stored: bool) -> str:
        self.log.append(f"ours-{len(self.log) + 1}")
        self.ids.append(self.log[-1])
        if self.lost:
            self.lost = False
            raise ConnectionLost("no answer")
        return self.ids[-1]

    async def channels(self) -> list[str]:
        return list(self.ids)

    async def delete(self, channel: str) -> None:
        if channel in self.ids:
            self.ids.remove(channel)

    async def send(self, channel: str, body: bytes, *, urgent: bool, kept_until: int) -> None:
        if self.fails:
            raise self.fails.pop(0)
        assert channel in self.ids, "a broadcast to a channel that is not there"
        self.sent.append((channel, msgspec.json.decode(body)["aps"], kept_until))

    @property
    def made(self) -> int:
        return len(self.log)

    @property
    def overtaken(self) -> bool:
        stamps = [aps["timestamp"] for _, aps, _ in self.sent]
        return stamps != sorted(stamps)


class Campaigns:
    """Fires a campaign once for each key, as the newsroom does."""

    def __init__(self) -> None:
        self.fired: dict[str, tuple[int, FireRequest]] = {}
        self.refuse: Exception | None = None

    async def fire(self, request: FireRequest, key: str, owner: str, by: Asker, *, story: int) -> CampaignReport:
        if self.refuse is not None:
            raise self.refuse
        assert owner == "story"
        id, _ = self.fired.setdefault(key, (len(self.fired) + 1, request))
        return msgspec.structs.replace(EXAMPLES[CampaignReport], id=campaign_text(id))

    async def cancel(self, id: int) -> CampaignReport:
        raise Conflict("it has ended")


class Cut:
    """Kills at the ``n``-th crossing of the process's border, before or after what is asked for is done."""

    def __init__(self, n: int, after: bool) -> None:
        self.left, self.after = n, after

    def around(self, thing: Any, *names: str) -> None:
        for name in names:
            setattr(thing, name, self._cut(getattr(thing, name)))

    def _cut(self, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def cut(*arguments: Any, **more: Any) -> Any:
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Killed
            found = await call(*arguments, **more)
            if self.left == 0:
                raise Killed
            return found

        return cut


class House:
    """A ring with one store. ``node``: a fresh process."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.now = NOW
        self.apple = Apple()
        self.campaigns = Campaigns()
        self.numbers = itertools.count(1)

    def node(
        self, channels: tuple[str, ...] = ("ios", "android"), cut: Cut | None = None, name: str = "", life: str = ""
    ) -> StoryDesk:
        name = name or f"n{next(self.numbers)}"
        store = Store(self.link)
        shelf = StoryShelf(store.stories, self.clock)
        transports = {"ios": self.apple} if "ios" in channels else {}
        life = life or f"life {next(self.numbers)}"
        fire, cancel = self.campaigns.fire, self.campaigns.cancel
        self.work = StoryWork(name, store, shelf, transports, fire, cancel, self.clock, life=life)
        if cut is not None:
            apple, campaigns = Apple(), Campaigns()
            apple.__dict__, campaigns.__dict__ = dict(self.apple.__dict__), dict(self.campaigns.__dict__)
            cut.around(apple, "create", "channels", "delete", "send")
            cut.around(campaigns, "fire")
            cut.around(shelf._store, "save")
            transports["ios"] = apple
            fire, cancel = campaigns.fire, campaigns.cancel
            self.work = StoryWork(name, store, shelf, transports, fire, cancel, self.clock, life=life)
        desk = StoryDesk(
            shelf, self.work, transports, check=lambda message, names: None, channels=lambda request: list(channels),
            kind=lambda request: None, clock=self.clock,
        )  # fmt: skip
        self.keeper = StoryKeeper(shelf, self.work, desk, transports, self.clock)
        return desk

    def clock(self) -> int:
        return self.now

    async def later(self, ms: int, name: str = "") -> None:
        """Time goes by, and a fresh node looks after stories."""
        self.now += ms
        self.node(name=name)
        await self.keeper.look()


@pytest.fixture
def house(own_link: Link) -> House:
    return House(own_link)


def id_of(story: StoryReport) -> int:
    return parse_campaign(story.id)


async def test_a_story_is_opened_updated_and_ended_and_its_channel_goes_in_the_end(house: House) -> None:
    desk = house.node()
    story = await desk.open(OPEN, ANA, "k1")
    assert (story.state, story.cards[0].broadcast, story.fallback) == ("open", "ours-1", ["android"])
    assert (story.updates[0].state, story.updates[0].campaign) == ("sent", campaign_text(1))
    second = StoryChange(state={"score": "2:0"}, message=Message(title="Goal", body="2:0"), loud=True, stale_seconds=60)
    await desk.update(id_of(story), "update", second, ANA, None)
    last = await desk.update(id_of(story), "end", StoryChange(state={"score": "2:0"}, dismiss_seconds=900), ANA, None)
    assert last.state == "ending"
    assert [aps["event"] for _, aps, _ in house.apple.sent] == ["update", "update", "end"]
    first, two, end = (aps for _, aps, _ in house.apple.sent)
    assert "alert" not in first, "the card changes silently"
    assert two["alert"] == {"title": "Goal", "body": "2:0"}
    assert two["stale-date"] == two["timestamp"] + 60
    assert end["dismissal-date"] == end["timestamp"] + 900
    assert [stamp for *_, stamp in house.apple.sent] == [aps["timestamp"] + 8 * 3600 for _, aps, _ in house.apple.sent]
    assert len({aps["timestamp"] for _, aps, _ in house.apple.sent}) == 3, "all came in one second"
    with pytest.raises(Conflict, match="has ended"):
        await desk.update(id_of(story), "update", GOAL, ANA, None)
    await house.later(LINGER[True] - 1)
    assert "ours-1" in house.apple.ids, "iPhones that were offline still get its end"
    await house.later(1)
    assert house.apple.ids == ["foreign"]
    assert (await desk.show(id_of(story))).state == "ended"


async def test_a_channel_without_storage_gets_expiration_zero(house: House) -> None:
    await house.node().open(msgspec.structs.replace(OPEN, stored=False), ANA, None)
    assert [kept for *_, kept in house.apple.sent] == [0]


async def test_the_same_request_under_one_key_is_done_once_at_any_node(house: House) -> None:
    first = await house.node().open(OPEN, ANA, "k1")
    again = await house.node().open(OPEN, ANA, "k1")
    assert again.id == first.id
    for _ in range(2):
        await house.node().update(id_of(first), "update", GOAL, ANA, "u1")
    assert len((await house.node().show(id_of(first))).updates) == 2
    with pytest.raises(RecordError, match="was used for another update"):
        await house.node().update(id_of(first), "end", GOAL, ANA, "u1")
    with pytest.raises(RecordError, match="was used for story"):
        await house.node().open(msgspec.structs.replace(OPEN, title="Another"), ANA, "k1")
    assert (house.apple.made, len(house.campaigns.fired)) == (1, 2)


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("name", "wait"), [("", HOLD + 1), ("n", 0)], ids=["another node", "the node itself"])
@pytest.mark.parametrize("act", ["open", "update", "end"])
async def test_a_crash_at_every_step_leaves_one_channel_and_the_newest_card(
    own_link: Link, act: str, name: str, wait: int
) -> None:
    """The process dies before or behind any call to Apple, to the store, to the newsroom; another one goes on.

    Another node does once the hold is over, the same node at once.
    """
    steps = 0
    while await crashed(own_link, act, steps // 2 + 1, name, wait, after=bool(steps % 2)):
        steps += 1
    assert steps > 2 * {"open": 8, "update": 5, "end": 5}[act], "each step was cut off"


async def crashed(link: Link, act: str, step: int, name: str, wait: int, *, after: bool) -> bool:
    """Whether the process died at this step; what must hold holds either way."""
    house, newest = House(link), StoryChange(state={"score": "2:1"}, message=Message(title="Goal", body="2:1"))
    house.apple.place = f"app {act} {step} {after} {name}"
    key = house.apple.place
    opening = OPEN if act != "open" else msgspec.structs.replace(OPEN, change=newest)
    id = 0 if act == "open" else id_of(await house.node().open(OPEN, ANA, key))
    cut, died = Cut(step, after), False

    async def ask(desk: StoryDesk) -> StoryReport:
        if act == "open":
            return await desk.open(opening, ANA, key)
        return await desk.update(id, "end" if act == "end" else "update", newest, ANA, "u1")

    try:
        await ask(house.node(cut=cut, name=name))
    except Killed:
        died = True
        await house.later(wait, name)
        await ask(house.node(name=name))  # the editor presses again
    await house.later(wait, name)
    story = await ask(house.node(name=name))
    assert story.updates[0].state == "sent"
    assert len(story.updates) == (1 if act == "open" else 2)
    assert house.apple.ids == ["foreign", story.cards[0].broadcast], "one channel, and the story knows it"
    assert house.apple.sent[-1][1]["content-state"] == {"score": "2:1"}
    assert not house.apple.overtaken
    assert house.campaigns.fired.keys() == {f"{story.id} {each.number}" for each in story.updates}
    if act != "end":
        await house.node().update(id_of(story), "end", newest, ANA, "e1")
    await house.later(LINGER[True])
    assert house.apple.ids == ["foreign"], "nothing is left behind"
    return died


async def test_a_reload_takes_nothing_out_of_the_hands_of_its_own_process(house: House) -> None:
    """It makes the desk anew, and the one before may be in the midst of an act."""
    with pytest.raises(Killed):
        await house.node(cut=Cut(5, after=False), name="n", life="1").open(OPEN, ANA, "k1")
    ((row,),) = [await StoryStore(house.link).live()]
    shelf = StoryShelf(StoryStore(house.link), house.clock)
    kept = await shelf.get(row.id)
    house.node(name="n", life="1")
    assert not house.work.free(kept.story)
    house.node(name="n", life="2")
    assert house.work.free(kept.story)


async def test_a_channel_whose_answer_was_lost_is_adopted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story_desk, "ANSWERED_WITHIN", 0.3)
    house.apple.lost = True
    story = await house.node().open(OPEN, ANA, None)
    assert (story.cards[0].state, story.waiting) == ("making", "no answer")
    await house.later(2_000)
    story = await house.node().show(id_of(story))
    assert (story.cards[0].broadcast, house.apple.made) == ("ours-1", 1)


async def test_a_lost_channel_that_cannot_be_told_from_others_is_left_alone_and_shown(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story_desk, "ANSWERED_WITHIN", 0.3)
    create = house.apple.create

    async def both(*, stored: bool) -> str:
        house.apple.ids.append("somebody-elses")
        house.apple.create = create  # type: ignore[method-assign]
        return await create(stored=stored)

    house.apple.create, house.apple.lost = both, True  # type: ignore[method-assign]
    desk = house.node()
    story = await desk.open(OPEN, ANA, None)
    await house.later(2_000)
    desk = house.node()
    story = await desk.show(id_of(story))
    assert story.cards[0].broadcast == "ours-2", "another one was made"
    await house.keeper.count()
    (place,) = (await desk.page(1, "")).places
    assert place.unknown == ["foreign", "ours-1", "somebody-elses"]
    assert (place.channels, place.ours) == (4, 1)


async def test_a_story_that_ended_before_its_channel_was_known_leaves_none(house: House) -> None:
    with pytest.raises(Killed):
        await house.node(cut=Cut(5, after=True)).open(OPEN, ANA, "k1")
    assert "ours-1" in house.apple.ids, "made, and not written down"
    ((row,),) = [await StoryStore(house.link).live()]
    story = await _ended(house, row.id)
    await house.later(HOLD + 1)
    await house.later(LINGER[True])
    assert house.apple.ids == ["foreign"]
    assert (await house.node().show(story)).state == "ended"


async def _ended(house: House, id: int) -> int:
    """The end comes in while nobody works on the story."""
    shelf = StoryShelf(StoryStore(house.link), house.clock)
    await shelf.change(id, lambda story: with_update(story, "end", GOAL, house.now, ANA, ""))
    return id


async def test_what_passes_is_tried_again_and_a_newer_update_takes_its_place(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(story_desk, "ANSWERED_WITHIN", 0.0)
    desk = house.node()
    story = await desk.open(OPEN, ANA, None)
    await house.later(0)
    house.apple.fails = [BroadcastLater("Apple answers 503", 60.0)]
    late = await desk.update(id_of(story), "update", StoryChange(state={"score": "2:0"}), ANA, None)
    await house.later(0)
    waits = await desk.show(id_of(late))
    assert (waits.updates[0].state, waits.waiting) == ("sending", "Apple answers 503")
    assert waits.updates[0].campaign is not None, "other phones do not wait for Apple"
    await desk.update(id_of(story), "update", StoryChange(state={"score": "3:0"}), ANA, None)
    await house.later(0)
    shown = await desk.show(id_of(story))
    assert [each.state for each in shown.updates] == ["sent", "superseded", "sent"]
    assert [aps["content-state"]["score"] for _, aps, _ in house.apple.sent] == ["1:0", "3:0"]
    assert shown.waiting == ""


async def test_what_is_refused_is_said_and_not_tried_again(house: House) -> None:
    desk = house.node()
    house.apple.fails = [BroadcastRefused("Apple does not know the channel", gone=True)]
    house.campaigns.refuse = RecordError(Problem("audience", "goes to 700 phones", "two people let it go"))
    story = await desk.open(OPEN, ANA, None)
    assert story.updates[0].state == "refused"
    assert story.updates[0].errors == {
        "ios": "Apple does not know the channel",
        "android": "audience: goes to 700 phones (two people let it go)",
    }
    await house.later(HOLD + 1)
    assert house.apple.sent == []


async def test_a_store_without_room_is_waited_for(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(story_desk, "ANSWERED_WITHIN", 0.0)
    house.campaigns.refuse = FireFailed("", "Tarantool's memory is full", maybe=False, status=507)
    story = await house.node().open(OPEN, ANA, None)
    await house.later(0)
    assert "memory is full" in (await house.node().show(id_of(story))).waiting
    house.campaigns.refuse = None
    await house.later(60_000)
    assert (await house.node().show(id_of(story))).updates[0].state == "sent"
    assert len(house.apple.sent) == 1


@pytest.mark.parametrize(
    ("change", "field", "why"),
    [
        ({"state": {}}, "change.state", "is empty"),
        ({"state": {"text": "x" * 5_200}}, "change.state", "which takes 5120"),
        ({"state": {"a": 1}, "dismiss_seconds": 5}, "change.dismiss_seconds", "only for the end"),
    ],
)
async def test_what_a_card_cannot_show_is_refused_before_anything_is_done(
    house: House, change: dict[str, Any], field: str, why: str
) -> None:
    with pytest.raises(RecordError, match=why) as refused:
        await house.node().open(msgspec.structs.replace(OPEN, change=StoryChange(**change)), ANA, None)
    assert refused.value.problem.where == field
    assert (house.apple.made, await house.node().page(1, "")) == (0, await house.node().page(1, ""))


async def test_a_channel_with_a_certificate_is_refused_in_plain_words(house: House) -> None:
    def none() -> Apple:
        raise CredentialsError("credentials.certificate: Apple takes broadcasts only with a signing key")

    house.apple.broadcasts = none  # type: ignore[method-assign]
    with pytest.raises(RecordError, match=r"ios has no cards: .* only with a signing key"):
        await house.node().open(OPEN, ANA, None)


async def test_a_full_app_opens_no_story_and_two_openings_do_not_mix(house: House) -> None:
    house.apple.ids = [str(n) for n in range(10_000)]
    desk = house.node()
    story = await desk.open(OPEN, ANA, None)
    assert story.cards[0].state == "failed"
    assert "has 10,000 channels, and Apple keeps 10,000" in story.cards[0].error
    await house.keeper.count()
    (alarm,) = channel_alarms(desk.places)
    assert (alarm.severity, alarm.about) == (Severity.CRITICAL, house.apple.place)
    assert "no story can be opened" in alarm.text


@pytest.mark.parametrize(("channels", "alarms"), [(8_999, 0), (9_000, 1)])
def test_the_limit_of_channels_is_watched(channels: int, alarms: int) -> None:
    place = BroadcastPlace(place="app", channels=channels, limit=10_000, ours=1, unknown=[], at=NOW)
    found = channel_alarms({"app": place})
    assert [each.severity for each in found] == [Severity.WARNING] * alarms


async def test_two_stories_never_make_channels_at_one_place_at_a_time(house: House) -> None:
    """What is new in the list could be either's."""
    store = StoryStore(house.link)
    assert (await store.save(1, 0, "{}", NOW, live=True, making="app"))[0] == "saved"
    assert (await store.save(2, 0, "{}", NOW, live=True, making="app"))[0] == "busy"
    assert (await store.save(2, 0, "{}", NOW, live=True, making="other"))[0] == "saved"
    assert (await store.save(1, 1, "{ }", NOW, live=True))[0] == "saved"
    assert (await store.save(2, 1, "{ }", NOW, live=True, making="app"))[0] == "saved"
    assert (await store.save(1, 1, "{  }", NOW, live=True))[0] == "changed"
    assert (await store.save(1, 1, "{ }", NOW, live=True))[0] == "saved", "the repeat of a lost call"


async def test_a_story_that_is_over_is_forgotten_after_four_weeks_and_one_under_way_is_not(house: House) -> None:
    store = StoryStore(house.link)
    await store.save(1, 0, "{}", NOW, live=False)
    await store.save(2, 0, "{}", NOW, live=True)
    await store.save(3, 0, "{}", NOW + 28 * 86_400_000 + 1, live=True)
    assert [row.id for row in await store.page(10)] == [3, 2]
    assert [row.id for row in await store.live()] == [2, 3]
    assert [row.id for row in await store.page(1, (NOW + 28 * 86_400_000 + 1, 3))] == [2]


@pytest.mark.parametrize(
    ("platform", "line", "why"),
    [
        ("apns", 'twin = true\nmanage_origin = "https://m.example"', "has no use beside twin = true"),
        ("fcm", 'twin = true\nbroadcast_origin = "https://b.example"', "has no use on fcm.*it is for apns"),
        ("apns", 'twin = true\nmanage_origin = "m.example"', '"m.example" is not an origin'),
    ],
)
def test_a_wrong_host_of_broadcasts_is_refused(tmp_path: Path, platform: str, line: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read(tmp_path, f'[channels.ios]\nplatform = "{platform}"\napp = "com.example.news"\n{line}\n')


def test_timestamps_grow_whatever_the_clock_says() -> None:
    story = with_update(Story(id=1, title="t", created_at=NOW, created_by="Ana"), "update", GOAL, NOW, ANA, "")
    for clock in (NOW, NOW - 86_400_000, NOW + 500, NOW + 60_000):
        story = with_update(story, "update", GOAL, clock, ANA, "")
    stamps = [each.timestamp for each in story.steps]
    assert stamps == [NOW // 1000 + n for n in (0, 1, 2, 3, 60)]
    assert CardState("update", stamps[0], {}).timestamp < stamps[-1]
