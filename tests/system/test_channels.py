"""A run may have any platforms: its channels, its tokens and its laws are those of the ledgers of their twins."""

from __future__ import annotations

import pytest

from broadside.demo import samples
from simulators.twins import names
from tests.system import channels
from tests.system.__main__ import main
from tests.system.faults import FAULTS
from tests.system.judge import gone, of_service
from tests.system.plan import draw
from tests.system.run import Run

EVERY = tuple(channels.NAMES)


def test_every_twin_has_a_channel_and_an_app() -> None:
    assert set(channels.NAMES) == set(channels.APPS) == set(names())
    assert len(set(channels.NAMES.values())) == len(EVERY)


def test_who_is_gone_is_known_by_the_token_as_the_ledger_has_it() -> None:
    for name, platform in channels.of(EVERY).items():
        rows = list(samples.subscribers(400, 0.5, {name: platform}))
        dead = [row for row in rows if gone(channels.target(row.token))]
        assert 100 < len(dead) < 300, platform
        assert not gone(channels.target(next(samples.subscribers(1, 0.0, {name: platform})).token)), platform


def test_a_browser_is_of_the_push_service_that_its_endpoint_names() -> None:
    endpoint = "https://wns2-by3p.notify.windows.com/w/?token=1"
    assert of_service(endpoint, "notify.windows.com")
    assert of_service(endpoint, "wns2-by3p.notify.windows.com")
    assert not of_service(endpoint, "windows.co")
    assert not of_service("https://evilnotify.windows.com/1", "notify.windows.com")


@pytest.mark.parametrize("name", [name for name, kind in FAULTS.items() if set(kind.platforms) != {"apns", "fcm"}])
def test_the_sick_platform_of_a_fault_is_one_of_its_own_and_another_is_well(name: str) -> None:
    for seed in range(50):
        plan = draw(seed, name)
        if (sick := plan.values.get("platform")) is not None:
            assert sick in plan.platforms
            assert len(plan.platforms) > 1, "the rate of the others would prove nothing"


def test_each_of_the_other_platforms_has_a_fault_of_its_own() -> None:
    sick = {draw(1, name).values.get("platform", FAULTS[name].platforms[0]) for name in FAULTS}
    assert sick >= {"webpush", "rustore", "huawei"}


def test_a_plan_takes_the_platforms_that_are_given(tmp_path: object) -> None:
    plan = draw(3, "kill-worker", platforms=EVERY)
    assert plan.platforms == EVERY
    assert draw(3, "kill-worker").platforms == ("apns", "fcm")
    assert draw(3, "kill-worker").values == plan.values, "the seed draws the same besides"
    run = Run(plan, tmp_path)  # type: ignore[arg-type]
    run.leased(0)
    assert set(run.repeats) == set(EVERY)
    assert {row.channel for row in run.sample()} == set(channels.NAMES.values())


def test_platforms_that_a_fault_cannot_have_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for arguments, words in (
        (["--platforms", "apns,palm"], "'palm' is not one of apns, fcm, huawei, rustore, webpush"),
        (["--fault", "webpush-throttled", "--seed", "1", "--platforms", "apns,fcm"], "makes webpush sick"),
        (["--fault", "wrong-environment-pair", "--seed", "1", "--platforms", "webpush"], "has two nodes"),
    ):
        monkeypatch.setattr("sys.argv", ["./dev system", *arguments])
        with pytest.raises(SystemExit):
            main()
        assert words in capsys.readouterr().err
