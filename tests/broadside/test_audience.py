"""Whom a campaign is for: through the API, the command line, and a whole node (21.1)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from broadside import cli
from broadside.api.audience_request import AudienceCount, AudienceRequest, ChannelCount, where_of
from broadside.api.campaign_report import FireRequest
from broadside.api.report_text import written
from broadside.demo import samples
from broadside.newsroom import audience_desk
from broadside.newsroom.audience_desk import AudienceDesk
from campaigns.identity import parse_campaign
from campaigns.message import Message
from campaigns.where import Share, Where
from storage.link import Link
from storage.store import Store
from tests.broadside.fake_node import FakeNode, Said, broadside, folder, node
from tests.broadside.test_fire_once import BODY, client, newsroom
from tests.broadside.test_node_end_to_end import CHANNELS, NodeProcess
from tests.broadside.test_unserved import BOTH, join

__all__ = ["broadside", "folder", "node"]  # fixtures


def row(n: int, **other: Any) -> tuple[Any, ...]:
    plain = {
        "channel": "ios" if n % 2 else "android", "token": f"token-{n}", "kind": "token", "at": 1, "locale": "de",
        "tz": "UTC", "country": "FR" if n % 4 else "DE", "version": "", "screen": "", "minute": None,
        "tags": ["sport"] if n % 10 == 0 else [], "fields": {},
    }  # fmt: skip
    return tuple((plain | other).values())


async def base(store: Store, count: int) -> None:
    await store.subscribers_put([row(n) for n in range(1, count + 1)])


async def post(api: httpx.AsyncClient, path: str, body: Any) -> tuple[int, Any]:
    answer = await api.post(path, content=json.dumps(body))
    return answer.status_code, answer.json()


# -- the API -----------------------------------------------------------------------------------------------------------


@pytest.mark.tarantool
async def test_a_fire_keeps_its_conditions_in_their_stored_form_and_says_about_how_many(own_link: Link) -> None:
    """21.1"""
    await join(own_link, "n1", BOTH)
    await base(Store(own_link), 400)
    audience = {"countries": ["deu"], "locales": ["DE_at", "de"], "app_version": None, "share": 0.5}
    async with client(own_link) as api:
        status, fired = await post(api, "/v1/campaigns", {**BODY, "audience": {**audience, "channels": ["android"]}})
    assert status == 201, fired
    assert fired["conditions"] == {
        "countries": ["DE"], "locales": ["de-AT", "de"], "share": {"share": 0.5, "salt": fired["id"]}
    }  # fmt: skip
    assert list(fired["channels"]) == ["android"]
    assert 20 < fired["channels"]["android"]["audience"] < 80


@pytest.mark.tarantool
async def test_a_list_of_ids_and_tokens_is_looked_up_and_a_stranger_in_it_refused(own_link: Link) -> None:
    """21.1"""
    await join(own_link, "n1", BOTH)
    await base(Store(own_link), 20)
    async with client(own_link) as api:
        listed = {"subscribers": [3, "token-4", "token-3"]}
        status, fired = await post(api, "/v1/campaigns", {**BODY, "audience": listed})
        assert (status, fired["conditions"]) == (201, {})
        assert {name: tally["audience"] for name, tally in fired["channels"].items()} == {"ios": 1, "android": 1}
        status, answer = await post(api, "/v1/campaigns", {**BODY, "audience": {"subscribers": [3, "token-99"]}})
    assert status == 400
    assert answer["detail"].startswith('audience.subscribers: 1 of 2 are not in the base: "token-99"')


@pytest.mark.tarantool
async def test_a_scheduled_campaign_keeps_its_audience_once_and_starts_with_it(own_link: Link) -> None:
    """21.1: a list of 10,000 tokens in the policy, too, would be copied at every change of the campaign."""
    await join(own_link, "n1", BOTH)
    await base(store := Store(own_link), 20)
    room = newsroom(own_link, lambda: time.time_ns() // 1_000_000)
    audience = AudienceRequest(channels=["android"], countries=["DE"], subscribers=[3, "token-4", "token-8"])
    at = datetime.now(UTC).isoformat()
    fired = await room.fire(FireRequest(message=Message(title="t", body="b"), audience=audience, start=at))
    id = parse_campaign(fired.id)
    kept = await store.campaign_get(id)
    assert kept is not None
    assert (kept.state, kept.where) == ("scheduled", {"countries": ["DE"]})
    assert "token-4" not in json.dumps(kept.policy)
    await room.start(id)
    started = await store.campaign_get(id)
    assert started is not None
    assert (started.state, started.where, started.audience) == ("firing", kept.where, ["android"])
    assert started.tallies["android"]["rows"] == 2


@pytest.mark.tarantool
async def test_a_preview_is_of_the_channels_that_the_audience_names(own_link: Link) -> None:
    """21.1"""
    async with client(own_link) as api:
        body = {**BODY, "audience": {"channels": ["androit"]}}
        status, answer = await post(api, "/v1/campaigns/preview", body)
        assert (status, answer["detail"][:35]) == (400, 'channels: unknown channel "androit"')
        status, answer = await post(api, "/v1/campaigns/preview", {**body, "channels": ["ios"]})
    assert (status, answer["detail"][:27]) == (400, "audience.channels: is given")


@pytest.mark.parametrize(
    ("audience", "said"),
    [
        ({"countries": ["Germany"]}, 'audience.countries[0]: "Germany" is not valid (two letters, as in DE)'),
        ({"locales": ["de", "d"]}, 'audience.locales[1]: "d" is not valid (a language tag, as in pt or pt-BR)'),
        ({"zones": ["Mars/Base"]}, 'audience.zones[0]: "Mars/Base" is not valid (an IANA time zone'),
        ({"zones": []}, "audience.zones: names none (leave it out for all)"),
        ({"app_version": ">=4.x"}, 'audience.app_version: ">=4.x" is no bound of a version (numbers and'),
        ({"tags": {"any": ["a|b"]}}, 'audience.tags.any[0]: "a|b" is not valid'),
        ({"tags": {"every": ["a"]}}, "audience.tags.every: unknown field"),
        ({"tags": {"all": [f"t{n}" for n in range(31)]}}, "audience.tags.all: has 31 values (at most 30)"),
        ({"screen": [""]}, 'audience.screen[0]: "" is not valid'),
        ({"share": 0}, "audience.share: 0 is not a number above 0"),
        ({"share_salt": "a"}, "audience.share_salt: is given without a share (add a share, as in 0.05)"),
        ({"share": 0.1, "rest": True}, "audience.rest: needs the share's salt"),
        ({"share": 1, "share_salt": "a", "rest": True}, "audience.rest: of a share of 1 is nobody"),
        ({"subscribers": []}, "audience.subscribers: names nobody"),
        ({"subscribers": [0]}, "audience.subscribers[0]: 0 is no id and no token (ids begin at 1)"),
        ({"subscribers": [1] * 10_001}, "audience.subscribers: has 10,001 entries (at most 10,000"),
        ({"ages": [1]}, "audience.ages: unknown field (did you mean"),
        ({"channels": ["ios"]}, "audience.channels: is given, and so is channels (give one of them)"),
    ],
)
@pytest.mark.tarantool
async def test_a_condition_that_cannot_be_is_named_with_its_value_and_a_remedy(
    link: Link, audience: dict[str, Any], said: str
) -> None:
    """21.1"""
    async with client(link) as api:
        status, answer = await post(api, "/v1/campaigns", {**BODY, "channels": ["ios"], "audience": audience})
    assert status == 400
    assert said in answer["detail"]


@pytest.mark.tarantool
async def test_a_page_of_a_narrow_audience_has_more_rows_so_that_its_batches_stay_large(own_link: Link) -> None:
    """21, benches: a tenth of a page of 2,000 made batches of a hundred."""
    await join(own_link, "n1", BOTH)
    await base(store := Store(own_link), 400)
    room, sizes = newsroom(own_link, lambda: int(time.time() * 1000)), []
    for countries in (["DE", "FR"], ["DE"], ["SE"]):
        audience = AudienceRequest(countries=countries)
        report = await room.fire(FireRequest(message=Message(title="t"), audience=audience))
        campaign = await store.campaign_get(parse_campaign(report.id))
        assert campaign is not None
        sizes.append(campaign.policy["page_size"])
    assert sizes == [2000, 8000, 16_000], "all, a quarter, nobody"


# -- the count ---------------------------------------------------------------------------------------------------------


@pytest.mark.tarantool
async def test_whole_channels_and_small_bases_are_counted_exactly_at_once(own_link: Link) -> None:
    """21.1"""
    await base(Store(own_link), 400)
    async with client(own_link) as api:
        _, whole = await post(api, "/v1/audience/count", {})
        assert (whole["subscribers"], whole["error"], whole["of"]) == (400, None, 400)
        _, some = await post(api, "/v1/audience/count", {"audience": {"countries": ["DE"], "channels": ["android"]}})
        assert some == {"subscribers": 100, "error": None, "of": 200, "channels": {"android": {"subscribers": 100}}}
        status, answer = await post(api, "/v1/audience/count", {"audience": {"channels": ["androit"]}})
    assert status == 400
    assert answer["detail"].startswith('audience.channels[0]: no subscriber is on "androit" (known: android')


@pytest.mark.tarantool
async def test_an_estimate_holds_though_the_old_half_of_the_base_is_nearly_gone(
    own_link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """21.1: the next row after a drawn id would be one of the few old ones every other time."""
    store = Store(own_link)
    await store.subscribers_put([row(n, channel="ios", country="DE" if n <= 3000 else "FR") for n in range(1, 6001)])
    for n in range(1, 3001):
        if n % 10:
            await store.subscribers_remove("ios", f"token-{n}")
    monkeypatch.setattr(audience_desk, "SMALL", 0)
    germans = AudienceRequest(countries=["DE"])
    exact = await AudienceDesk(store).count(germans, exact=True)
    assert (exact.subscribers, exact.error, exact.of) == (300, None, 3300)
    found = await AudienceDesk(store).count(germans, exact=False)
    assert found.error is not None
    assert found.error < 60
    assert abs(found.subscribers - 300) < 3 * found.error
    nobody = await AudienceDesk(store).count(AudienceRequest(countries=["JP"]), exact=False)
    assert nobody.subscribers == 0
    assert nobody.error, "who was not among the drawn may still be there"


def test_a_number_is_written_without_digits_that_mean_nothing() -> None:
    """21.1"""
    assert written(ChannelCount(212_345, 11_760)) == "212,000 ± 12,000 (95 %)"
    assert written(ChannelCount(345, 7)) == "345 ± 7 (95 %)"
    assert written(AudienceCount(212_345, None, 2_000_000, {})) == "212,345"


# -- the command line --------------------------------------------------------------------------------------------------


def test_fire_sends_the_conditions_of_its_options_and_of_a_file(
    broadside: Said, node: FakeNode, tmp_path: Path
) -> None:
    """21.1"""
    file = tmp_path / "audience.json"
    file.write_text('{"subscribers": [7, "token"], "zones": ["Europe/Berlin"]}')
    words = ["--tag", "sport", "--tag", "news", "--tag-none", "crime", "--country", "DE", "--locale", "pt"]
    words += ["--app-version", ">=4.2,<5", "--share", "0.05", "--share-salt", "abc", "--rest", "--audience", str(file)]
    code, out, err = broadside("fire", "--title", "t", *words)
    assert (code, err[:5]) == (0, "watch"), (out, err)
    assert node.fired[-1]["audience"] == {
        "locales": ["pt"], "countries": ["DE"], "zones": ["Europe/Berlin"], "app_version": ">=4.2,<5",
        "tags": {"any": ["sport", "news"], "none": ["crime"]}, "share": 0.05, "share_salt": "abc", "rest": True,
        "subscribers": [7, "token"],
    }  # fmt: skip
    broadside("fire", "--title", "t")
    assert "audience" not in node.fired[-1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--share", "1.5"], "--share: Expected `float` <= 1.0"),
        (["--zone", "UTC", "--audience", "FILE"], "has zones already (leave the option out, or the field)"),
        (["--audience", "nowhere.json"], '--audience: file "nowhere.json" not found (name a JSON file)'),
        (["--audience", "WRONG"], "zone: unknown field"),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_sent(
    broadside: Said, node: FakeNode, tmp_path: Path, words: list[str], said: str
) -> None:
    """21.1"""
    (tmp_path / "FILE").write_text('{"zones": ["UTC"]}')
    (tmp_path / "WRONG").write_text('{"zone": ["UTC"]}')
    words = [str(tmp_path / word) if word in ("FILE", "WRONG") else word for word in words]
    code, _, err = broadside("fire", "--title", "t", *words)
    assert code == 2
    assert said in err
    assert not node.fired


def test_the_default_salt_is_the_campaigns_and_a_given_one_stays() -> None:
    """21.1: so that another campaign can be for the rest."""
    assert where_of(AudienceRequest(share=0.1), "id").share == Share(0.1, "id")
    assert where_of(AudienceRequest(share=0.1, share_salt="id", rest=True), "other").share == Share(0.1, "id", True)
    assert where_of(AudienceRequest(), "id") == Where()


# -- a whole node ------------------------------------------------------------------------------------------------------


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[NodeProcess]:
    node = NodeProcess(tmp_path, 2000)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


@pytest.mark.tarantool
@pytest.mark.timeout(240)
def test_only_the_audiences_phones_are_in_the_twins_ledgers(
    demo: NodeProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    """21.1"""
    demo.start()
    demo.wait_for("serving;", 120)
    before = demo.ledger()
    where = ["--tag", "sport", "--country", "DE", "--data", str(demo.data)]
    capsys.readouterr()
    assert cli.run(["audience", "count", *where, "--exact", "--json"]) == 0
    counted = json.loads(capsys.readouterr().out)["subscribers"]
    assert cli.run(["fire", "--title", "goal", "--body", "2:1", *where, "--wait", "--json"]) == 0
    fired = json.loads(capsys.readouterr().out)
    meant = {
        phone.token for phone in samples.subscribers(2000, 0.02, CHANNELS)
        if "sport" in phone.tags and phone.country == "DE" and not phone.token.startswith(samples.DEAD)
    }  # fmt: skip
    reached = demo.ledger() - before
    assert (set(reached), set(reached.values())) == (meant, {1})
    assert counted >= len(meant) > 20, "dead phones may not be deleted yet"
    tallies = fired["channels"].values()
    assert sum(tally["delivered"] for tally in tallies) == len(meant)
    assert sum(tally["skipped"] for tally in tallies) > 1000
    assert all(tally["audience"] == tally["enqueued"] and not tally["remaining"] for tally in tallies)
    assert cli.run(["campaign", "verify", fired["id"], "--data", str(demo.data)]) == 0
    assert demo.end() == 0
