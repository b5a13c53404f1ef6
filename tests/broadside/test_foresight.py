"""Before Fire: who would get nothing, who gets it at another time than the others, and who has no quiet hours."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from broadside.api.audience_request import AudienceRequest
from broadside.api.campaign_report import FireRequest, Verdict
from broadside.newsroom import audience_desk
from broadside.newsroom.foresight import Fate, foresee
from broadside.newsroom.newsroom import Newsroom
from broadside.newsroom.quiet_policy import NO_QUIET, Quiet
from broadside.newsroom.ring import Ring
from broadside.newsroom.starts import Times
from broadside.node.program import _warn_of_no_zone
from campaigns.message import Message
from campaigns.quiet_hours import QuietHours
from campaigns.windows import BEST, LocalTime, QuietRule
from storage.link import Link
from storage.store import Store
from tests.broadside.api_parts import api_of
from tests.broadside.fake_node import FakeNode, Said, broadside, folder, node
from tests.broadside.test_audience import row
from tests.broadside.test_fire_once import BODY, newsroom
from tests.broadside.test_unserved import BOTH, join

__all__ = ["broadside", "folder", "node"]  # fixtures

NOW = 1_795_966_200_000  # 2026-11-29 15:30 UTC: 16:30 in Vienna, 0:30 on Monday in Tokyo and Seoul
HOUR = 3_600_000
NIGHT = QuietHours.parse("23:00-07:00")
ZONES = {"ios": "Europe/Vienna", "android": "Europe/Vienna"}
SOON = "2026-11-29T18:00Z"


def room_over(link: Link, quiet: Quiet) -> Newsroom:
    room = newsroom(link, lambda: NOW)
    room._quiet = quiet
    room._checks = dict.fromkeys(room._checks, lambda *_: None)
    return room


async def fire(link: Link, hours: Quiet, key: str | None = None, **more: Any) -> tuple[int, dict[str, Any]]:
    api = api_of(room_over(link, hours), Ring(store=Store(link), node="n1"), link, "k")
    headers = {"authorization": "Bearer k"} | ({} if key is None else {"idempotency-key": key})
    transport = httpx.ASGITransport(app=api.app())
    async with httpx.AsyncClient(transport=transport, base_url="http://node", headers=headers) as client:
        answer = await client.post("/v1/campaigns", content=json.dumps({**BODY, **more}))
    return answer.status_code, answer.json()


async def base(store: Store, zones: Mapping[str, int], **more: Any) -> None:
    """``zones``: zone → how many phones."""
    names = [zone for zone, count in zones.items() for _ in range(count)]
    await store.subscribers_put([row(n, tz=zone, **more) for n, zone in enumerate(names, 1)])


WORLD = {"Europe/Vienna": 50, "Asia/Tokyo": 30, "Asia/Seoul": 14, "Asia/Chita": 4, "Australia/Perth": 2}


@pytest.mark.tarantool
async def test_who_would_get_nothing_is_counted_by_zone_and_needs_a_yes(own_link: Link) -> None:
    """21.2.1: `expires` before somebody's first allowed moment."""
    await join(own_link, "n1", BOTH)
    await base(store := Store(own_link), WORLD)
    quiet = Quiet(NIGHT, ZONES)
    for later in ({}, {"when": "2026-11-29T16:00Z"}):
        status, answer = await fire(own_link, quiet, "goal", expires=SOON, **later)
        told = {name: answer[name] for name in ("detail", "field", "value", "remedy", "confirm")}
        assert (status, told) == (
            409,
            {
                "detail": 'expires: 50 of 100 phones would get nothing: "2026-11-29T18:00Z" is before they may first '
                "get it: 30 in Asia/Tokyo, 14 in Asia/Seoul, 4 in Asia/Chita and 1 more zone "
                "(let it expire later, or say yes: expire_asleep (fire --expire-asleep))",
                "field": "expires",
                "value": '"2026-11-29T18:00Z"',
                "remedy": "let it expire later, or say yes: expire_asleep (fire --expire-asleep)",
                "confirm": "expire_asleep",
            },
        )
    assert await store.campaign_list() == [], "nothing is stored"
    status, fired = await fire(own_link, quiet, "goal", expires=SOON, expire_asleep=True)
    assert (status, len(fired["notes"])) == (201, 1)
    assert fired["notes"][0] == (
        "50 of 100 phones get nothing: the news expires before they may first get it: "
        "30 in Asia/Tokyo, 14 in Asia/Seoul, 4 in Asia/Chita and 1 more zone"
    )
    again = await fire(own_link, quiet, "goal", expires=SOON, expire_asleep=True)
    assert (again[0], again[1]["id"], again[1]["notes"]) == (201, fired["id"], fired["notes"])


@pytest.mark.tarantool
async def test_where_nobody_is_concerned_nothing_is_asked(own_link: Link) -> None:
    """21.2.1: without quiet hours, for people awake, for a time that counts by person, by other rules than hold."""
    await join(own_link, "n1", BOTH)
    await base(Store(own_link), WORLD)
    quiet = Quiet(NIGHT, ZONES, frozenset(ZONES))
    for hours, wanted in (
        (NO_QUIET, {"expires": SOON}),
        (quiet, {"expires": "2h"}),
        (quiet, {"expires": "2026-11-30T09:00Z"}),
        (quiet, {"expires": SOON, "quiet": "break_through"}),
        (quiet, {"expires": SOON, "quiet": "drop"}),
        (quiet, {"expires": SOON, "quiet": "silent"}),
        (quiet, {"expires": SOON, "audience": {"zones": ["Europe/Vienna"]}}),
        (quiet, {"expires": SOON, "audience": {"subscribers": [1, 2, 3]}}),
    ):
        status, answer = await fire(own_link, hours, **wanted)
        assert (status, answer.get("notes")) == (201, []), wanted
    mute = Quiet(NIGHT, ZONES, frozenset({"ios"}))
    status, answer = await fire(own_link, mute, expires=SOON, quiet="silent")
    assert status == 409
    assert "25 of 100 phones" in answer["detail"], "a channel that shows nothing asleep holds"
    status, answer = await fire(own_link, quiet, expires=SOON, audience={"subscribers": [1, 60, 61]})
    assert "2 of 3 phones would get nothing" in answer["detail"], answer


@pytest.mark.tarantool
async def test_a_large_base_is_estimated_with_an_error(own_link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """21.2.1: nobody counts millions while an editor waits."""
    await join(own_link, "n1", BOTH)
    await base(store := Store(own_link), {"Europe/Vienna": 1200, "Asia/Tokyo": 800})
    monkeypatch.setattr(audience_desk, "SMALL", 100)

    async def counted(*_: Any, **__: Any) -> Any:
        raise AssertionError("every row is counted")

    monkeypatch.setattr(Store, "audience_count", counted)
    for more, of, least, most in (({}, 2000, 700, 900), ({"audience": {"countries": ["DE"]}}, 500, 130, 270)):
        status, answer = await fire(own_link, Quiet(NIGHT, ZONES), expires=SOON, **more)
        told = answer["detail"].removeprefix("expires: ")
        number, _, rest = told.partition(" ± ")
        assert (status, least < int(number) < most) == (409, True), told
        assert "(95 %) of " in rest
        whole = int(rest.partition(" of ")[2].partition(" phones")[0].replace(",", ""))
        assert abs(whole - of) <= (0 if of == 2000 else 60), told
    assert await store.campaign_list() == []


@pytest.mark.tarantool
async def test_who_has_no_zone_is_counted_at_the_start_of_a_node_before_fire_and_in_the_report(own_link: Link) -> None:
    """21.2.2: no quiet hours hold for them, never UTC by accident."""
    await join(own_link, "n1", BOTH)
    await base(store := Store(own_link), {"Europe/Vienna": 50, "": 30, "Mars/Base": 20})
    said = (
        "are reached at once, without quiet hours: they have no time zone, nor has their channel "
        '(set zone = "Europe/Vienna" under [newsroom] or [channels.NAME] in broadside.toml)'
    )
    none = Quiet(NIGHT, {"ios": None, "android": None})
    status, fired = await fire(own_link, none)
    assert (status, fired["notes"]) == (201, [f"50 of 100 phones {said}"])
    with capture_logs() as lines:
        await _warn_of_no_zone(SimpleNamespace(newsroom=room_over(own_link, none)))  # type: ignore[arg-type]
    assert lines == [{"event": "no quiet hours", "why": fired["notes"][0], "log_level": "warning"}]
    half = Quiet(NIGHT, {"ios": None, "android": "Europe/Vienna"})
    assert (await fire(own_link, half))[1]["notes"] == [f"25 of 100 phones {said}"]
    assert await room_over(own_link, half).zoneless() == f"25 of 50 phones {said}"
    for quiet in (Quiet(NIGHT, ZONES), Quiet(None, {"ios": None, "android": None})):
        assert (await fire(own_link, quiet))[1]["notes"] == []
        assert await room_over(own_link, quiet).zoneless() == ""
    assert (await fire(own_link, none, quiet="break_through"))[1]["notes"] == [], "nobody has any"
    kept = await store.campaign_list()
    assert len(kept) == 5


@pytest.mark.tarantool
async def test_a_local_time_that_is_over_and_a_best_time_in_quiet_hours_are_told_with_their_zones(
    own_link: Link,
) -> None:
    """21.2.3: late zones get it at once, or never; best times move to the end of quiet hours."""
    await join(own_link, "n1", BOTH)
    await base(Store(own_link), {"Europe/Vienna": 50, "Asia/Tokyo": 30, "America/New_York": 20})
    quiet = Quiet(NIGHT, ZONES)
    late = "get it as soon as they may: this local time is over where they are: 30 in Asia/Tokyo"
    assert (await fire(own_link, quiet, when="local 2026-11-29T20:00"))[1]["notes"] == [f"30 of 100 phones {late}"]
    skipped = "get nothing: this local time is over where they are: 50 in Europe/Vienna, 30 in Asia/Tokyo"
    status, fired = await fire(own_link, quiet, when="local 2026-11-29T16:00 skip")
    assert (status, fired["notes"]) == (201, [f"80 of 100 phones {skipped}"]), "the editor has said so"
    moved = "get it when their quiet hours end: their time lies in them"
    night = await fire(own_link, quiet, when="local 2026-11-30T06:30")
    assert night[1]["notes"] == [
        f"100 of 100 phones {moved}: 50 in Europe/Vienna, 30 in Asia/Tokyo, 20 in America/New_York"
    ]
    assert (await fire(own_link, quiet, when="local 2026-11-30T06:30", quiet="drop"))[1]["notes"] == []
    status, refused = await fire(own_link, NO_QUIET, when="local 2026-11-29T20:00", expires="2026-11-29T19:30Z")
    assert (status, refused["confirm"]) == (409, "expire_asleep"), "20:00 in New York is after it"
    assert "20 of 100 phones would get nothing" in refused["detail"]
    await base(Store(own_link), {"Europe/Vienna": 50, "Asia/Tokyo": 30}, minute=2 * 60 + 10)
    assert (await fire(own_link, quiet, when="best"))[1]["notes"] == [
        f"80 of 100 phones {moved}: 50 in Europe/Vienna, 30 in Asia/Tokyo"
    ]


@pytest.mark.tarantool
async def test_a_dry_run_tells_it_all_before_fire(own_link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    """21.2: what an editor reads before anything is fired."""
    await join(own_link, "n1", BOTH)
    await base(store := Store(own_link), {"Europe/Vienna": 50, "Asia/Tokyo": 30, "": 20})
    room = room_over(own_link, Quiet(NIGHT, {"ios": None, "android": None}))

    async def ask(*_: Any) -> Verdict:
        return Verdict("checked", "checked here only")

    monkeypatch.setattr(room._dry_run, "ask", ask)
    told = await room.rehearse(FireRequest(message=Message(title="t", body="b"), expires=SOON, dry_run=True))
    assert [note.partition(" phones ")[0] for note in told.notes] == ["30 of 100", "20 of 100"]
    assert await store.campaign_list() == []


@pytest.mark.tarantool
async def test_the_count_agrees_with_the_windows_of_each_phone(own_link: Link) -> None:
    """21.2: by channel, zone and best time, as the page loop parts them."""
    await join(own_link, "n1", BOTH)
    zones = ["Europe/Vienna", "Asia/Tokyo", "", "America/New_York", "Mars/Base"]
    minutes = [None, 0, 130, 500, 1439]
    rows = [row(n, tz=zones[n % 5], minute=minutes[n // 5 % 5]) for n in range(1, 201)]
    await Store(own_link).subscribers_put(rows)
    quiet = Quiet(NIGHT, {"ios": None, "android": "Asia/Tokyo"})
    room = room_over(own_link, quiet)
    for moment in (BEST, LocalTime("2026-11-30", 6 * 60), LocalTime("2026-11-29", 17 * 60, "skip")):
        times = Times(NOW, False, moment, 6 * HOUR, NOW + 6 * HOUR, QuietRule.HOLD)
        windows = quiet.windows(QuietRule.HOLD, ["ios", "android"], NOW, 6 * HOUR, moment, NOW + 6 * HOUR)
        assert windows is not None
        chosen = await room.audience.choose(AudienceRequest(countries=["DE"]), None, "salt")
        found = await foresee(room.audience, chosen, times, windows)
        assert found is not None
        nothing = unknown = 0
        for n, (channel, *_, zone, country, _, _, minute, _, _) in enumerate(rows, 1):
            assert country == ("FR" if n % 4 else "DE")
            if country != "DE":
                continue
            counts = zone if zone in windows.zones else quiet.zones[channel]
            if counts is None:
                unknown += 1
                continue
            slot = 48 if minute is None else minute // 30
            number = windows.days[windows.zones[counts] - 1][slot] if moment == BEST else windows.zones[counts]
            one = windows.classes[number - 1]
            nothing += bool(one.start) and not one.intervals
        for fate, expected in ((Fate.NOTHING, nothing), (Fate.NO_ZONE, unknown)):
            told = found.sample.size(found.groups.get(fate, {})).subscribers
            assert told == expected, (moment, fate)


# -- the command line --------------------------------------------------------------------------------------------------

FIRE = ("fire", "--title", "t", "--body", "b", "--expires", SOON)
ASLEEP = "expires: 50 of 100 phones would get nothing"


def test_without_a_terminal_fire_refuses_with_the_count_and_says_how_to_insist(broadside: Said, node: FakeNode) -> None:
    """21.2.1: exit code 2, and one request."""
    node.asleep = f"{ASLEEP} (say yes: fire --expire-asleep)"
    code, out, err = broadside(*FIRE)
    assert (code, out, len(node.fired)) == (2, "", 1)
    assert ASLEEP in err
    assert "--expire-asleep" in err
    assert broadside(*FIRE, "--expire-asleep")[0] == 0
    assert node.fired[-1]["expire_asleep"] is True


@pytest.mark.parametrize(("answer", "fired"), [("y", True), ("yes", True), ("", False), ("n", False)])
def test_on_a_terminal_fire_asks_and_fires_under_the_same_key(
    broadside: Said, node: FakeNode, monkeypatch: pytest.MonkeyPatch, answer: str, fired: bool
) -> None:
    """21.2.1: y or n."""
    node.asleep = ASLEEP
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda: answer)
    code, out, err = broadside(*FIRE, "--json")
    assert f"{ASLEEP}\nFire it nevertheless? [y/N] " in err
    assert "[y/N]" not in out
    assert (code, [each.get("expire_asleep") for each in node.fired]) == ((0, [None, True]) if fired else (2, [None]))
    assert len(set(node.keys)) == 1
