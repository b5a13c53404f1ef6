"""The content guard: the same text goes to the same phones once in half an hour, unless somebody says yes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import httpx
import pytest
import trio

from broadside.config.config import load
from broadside.errors import ConfigError
from campaigns.guards import NO_GUARDS, Guards
from campaigns.message import Message, PlatformText, Text
from campaigns.same_text import fingerprints, normalised
from storage.link import Link
from storage.store import Store
from tests.broadside.guard_parts import MINUTE, NOW, client_of, guarded, phones
from tests.conftest import Server, linked

GUARDS = Guards(repeat=30 * 60)
NEWS = {"title": "Storm tonight", "body": "Stay inside."}


async def fire(api: httpx.AsyncClient, message: Any = NEWS, key: str | None = None, **more: Any) -> httpx.Response:
    headers = {} if key is None else {"idempotency-key": key}
    return await api.post("/v1/campaigns", json={"message": message, **more}, headers=headers)


async def states(link: Link) -> Counter[str]:
    return Counter(each.state for each in await Store(link).campaign_list())


async def test_the_same_text_again_is_refused_with_the_first_campaign_and_nothing_is_left_of_it(
    own_link: Link,
) -> None:
    await phones(Store(own_link))
    async with client_of(own_link, guarded(own_link, GUARDS)) as api:
        first = (await fire(api)).json()["id"]
        again = await fire(api, {"title": "STORM  tonight!", "body": "stay inside"}, "a-key")
        error = again.json()
        assert (again.status_code, error["confirm"], error["campaign"]) == (409, "again", first)
        assert (error["field"], error["value"]) == ("message", '"STORM  tonight!"')
        assert f"as campaign {first}" in error["detail"]
        assert "again" in error["remedy"]
        assert await states(own_link) == {"firing": 1}
        yes = await fire(api, {"title": "STORM  tonight!", "body": "stay inside"}, "a-key", again=True)
        assert yes.status_code == 201, "the key is free again"
        assert await states(own_link) == {"firing": 2}
        entries = (await api.get("/v1/audit")).json()["entries"]
        assert [entry["detail"].get("again") for entry in entries] == [True, None], "the yes is in the audit"


@pytest.mark.parametrize("repeat", range(3))
async def test_of_two_nodes_that_fire_the_same_text_at_once_one_does(
    own_tarantool: Server, own_link: Link, repeat: int
) -> None:
    await phones(Store(own_link))
    answers: list[httpx.Response] = []

    async def ask(api: httpx.AsyncClient, **more: Any) -> None:
        answers.append(await fire(api, **more))

    async with (
        linked(own_tarantool) as other,
        client_of(own_link, guarded(own_link, GUARDS), "a") as one,
        client_of(other, guarded(other, GUARDS), "b") as two,
        trio.open_nursery() as nursery,
    ):
        for number in range(10):
            nursery.start_soon(lambda n=number: ask((one, two)[n % 2], key=f"key-{n}"))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 9}
    (winner,) = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert {answer.json()["campaign"] for answer in answers if answer.status_code == 409} == {winner}
    assert await states(own_link) == {"firing": 1}


async def test_a_repeat_under_the_same_key_is_the_same_campaign_and_no_repeat(own_link: Link) -> None:
    async with client_of(own_link, guarded(own_link, GUARDS)) as api:
        first, again = await fire(api, key="k1"), await fire(api, key="k1")
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json()["id"] == again.json()["id"]


async def test_half_an_hour_later_and_on_other_channels_it_may_go_again(own_link: Link) -> None:
    now = NOW
    await phones(Store(own_link))
    await phones(Store(own_link), channel="android")
    async with client_of(own_link, guarded(own_link, GUARDS, lambda: now)) as api:
        assert (await fire(api, channels=["ios"])).status_code == 201
        assert (await fire(api, channels=["android"])).status_code == 201
        assert (await fire(api, channels=["ios", "android"])).status_code == 409
        assert (await fire(api)).status_code == 409, "all channels are these, too"
        assert (await fire(api, {"title": "Storm is over", "body": "Stay inside."})).status_code == 201
        now += 30 * MINUTE - 1
        assert (await fire(api, channels=["ios"])).status_code == 409
        now += 1
        assert (await fire(api, channels=["ios"])).status_code == 201


async def test_a_scheduled_campaign_counts_at_its_start_and_not_once_it_is_cancelled(own_link: Link) -> None:
    at = "2027-01-15T09:00:00Z"  # an hour after NOW
    now = NOW
    async with client_of(own_link, guarded(own_link, GUARDS, lambda: now)) as api:
        first = (await fire(api, when=at)).json()["id"]
        assert (await fire(api)).status_code == 201, "an hour lies between them"
        error = (await fire(api, {**NEWS, "body": "Stay inside"}, when="2027-01-15T09:20:00Z")).json()
        assert (error["status"], error["campaign"]) == (409, first)
        assert "goes out at 2027-01-15 09:00 UTC" in error["detail"]
        now += 40 * MINUTE
        assert (await fire(api)).json()["campaign"] == first
        await api.post(f"/v1/campaigns/{first}/cancel")
        assert (await fire(api)).status_code == 201, "nobody gets the one that was cancelled"


async def test_the_rest_of_a_share_is_no_repeat_of_the_share(own_link: Link) -> None:
    async with client_of(own_link, guarded(own_link, GUARDS)) as api:
        first = (await fire(api, audience={"share": 0.1})).json()["id"]
        rest = {"share": 0.1, "share_salt": first, "rest": True}
        assert (await fire(api, audience={"share": 0.2, "share_salt": first, "rest": True})).status_code == 409
        assert (await fire(api, audience=rest)).status_code == 201
        assert (await fire(api, audience=rest)).status_code == 409, "but it is one of itself"
        assert (await fire(api, audience={"share": 0.1, "share_salt": first})).json()["campaign"] == first


async def test_a_text_of_one_language_that_went_out_is_a_repeat_too(own_link: Link) -> None:
    async with client_of(own_link, guarded(own_link, GUARDS)) as api:
        assert (await fire(api, {**NEWS, "texts": {"pt": {"title": "Tempestade"}}})).status_code == 201
        assert (await fire(api, {"title": "Tempestade!", "body": ""})).status_code == 409


async def test_without_the_guard_nothing_is_noted_or_refused(own_link: Link) -> None:
    async with client_of(own_link, guarded(own_link, NO_GUARDS)) as api:
        assert [(await fire(api)).status_code for _ in range(2)] == [201, 201]
    async with client_of(own_link, guarded(own_link, GUARDS)) as api:
        assert (await fire(api)).status_code == 201


async def test_what_was_noted_leaves_the_store_after_a_week(own_link: Link) -> None:
    now = NOW
    async with client_of(own_link, guarded(own_link, GUARDS, lambda: now)) as api:
        for number in range(3):
            await fire(api, {"title": f"News {number}"})
        now += 8 * 86_400_000
        await fire(api, {"title": "Other news"})
        now = NOW + 1  # as if they were just sent: nobody knows of them any more
        assert {(await fire(api, {"title": f"News {number}"})).status_code for number in range(3)} == {201}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Storm tonight", " STORM\ttonight … "),
        ("It's over", "it\u2019s over"),
        ("Straße", "STRASSE"),
        ("ﬁnal", "final"),
        ("Sturm\u00adwarnung", "Sturmwarnung"),
        ("caf\u00e9", "cafe\u0301"),
        ("Breaking: fire", "BREAKING - fire!"),
    ],
)
def test_case_width_punctuation_and_white_space_make_no_other_text(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"), [("Goal 1:0", "Goal 2:0"), ("Dax +2 %", "Dax -2 %"), ("⚽", "🏀"), ("?", "!"), ("a b", "ab")]
)
def test_digits_signs_and_pictures_make_another_text(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


def test_a_message_has_a_fingerprint_for_each_of_its_texts_and_none_without_words() -> None:
    message = Message(
        title="Storm", texts={"pt": Text(title="Tempestade")}, platforms={"fcm": PlatformText(title="STORM!")}
    )
    assert len(fingerprints(message)) == 2
    assert fingerprints(Message(options={"apns": {}})) == []


def test_the_guard_is_on_for_half_an_hour_unless_the_configuration_says_otherwise(tmp_path: Any) -> None:
    file = tmp_path / "broadside.toml"
    channel = '[channels.ios]\nplatform = "apns"\napp = "com.example"\ntwin = true\n'

    def repeat(text: str) -> int:
        file.write_text(channel + text)
        return load(file).guards.repeat

    assert repeat("") == 1800
    assert [repeat(f"[guards]\nrepeat = {text}\n") for text in ("0", '"off"', '"2h"', '"7d"', "90")] == [
        0,
        0,
        7200,
        7 * 86400,
        90,
    ]
    for text in ('"8d"', '"soon"', "-1", "true"):
        with pytest.raises(ConfigError, match=r"guards\.repeat"):
            repeat(f"[guards]\nrepeat = {text}\n")
