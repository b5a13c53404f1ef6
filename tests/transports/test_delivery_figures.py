"""The providers' own figures, from the twins of Apple's exports and of Google's delivery data."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio

from campaigns.identity import campaign_text
from simulators.faults.script import DeliveryRule, Script
from simulators.serving.service import TwinReady, serve_twin
from transports import registry
from transports.apns import delivery_metrics
from transports.contract import TransportSettings
from transports.errors import ConnectionLost, CredentialsError, DeliveryRefused

APPS = {"apns": "org.example.news", "fcm": "twin-project"}
ANDROID = "1:1234567890:android:0a1b2c3d"
PUSHES = 100


@contextlib.asynccontextmanager
async def twin(platform: str, folder: Path, **rule: Any) -> AsyncIterator[TwinReady]:
    """A running twin, whose figures are of yesterday unless told otherwise."""
    ready: list[TwinReady] = []
    up = trio.Event()

    def announce(said: TwinReady) -> None:
        ready.append(said)
        up.set()

    async def serve() -> None:
        script = Script(delivery=DeliveryRule(**{"days_ago": 1, **rule}))
        await serve_twin(platform, directory=folder, script=script, announce=announce, app=(APPS[platform],))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await up.wait()
        yield ready[0]
        nursery.cancel_scope.cancel()


def settings(ready: TwinReady, **more: Any) -> TransportSettings:
    return TransportSettings(
        channel="c",
        platform=ready.platform,
        app=APPS[ready.platform],
        credentials=ready.credentials,
        origin=ready.origin,
        ca=Path(ready.ca),
        **more,
    )


def table(ready: TwinReady) -> dict[str, str]:
    """A channel's ``delivery`` table."""
    if ready.platform == "fcm":
        return {"android_app": ANDROID, "origin": ready.origin}
    return {"token": str(Path(ready.directory) / "data-export-token"), "origin": ready.origin}


def source(ready: TwinReady, given: dict[str, str] | None = None) -> Any:
    reports = registry.load(ready.platform).delivery
    assert reports is not None
    return reports.build(settings(ready), table(ready) if given is None else given)


async def pushed(ready: TwinReady, running: Any, make_batch: Callable[..., Any], **more: Any) -> int:
    """Send some pushes; returns their campaign."""
    transport = registry.load(ready.platform).build(settings(ready, **more))
    samples = [registry.load(ready.platform).sample(f"{n:064x}") for n in range(PUSHES)]
    async with running(transport):
        batch = make_batch(tokens=samples)
        outcomes = await transport.send(batch)
    assert outcomes.delivered == PUSHES, outcomes.exceptions[:2]
    return int(batch.campaign)


def days() -> tuple[date, date]:
    today = datetime.now(UTC).date()
    return today - timedelta(8), today


async def test_google_tells_of_each_campaign_by_its_label(
    tmp_path: Path, running: Any, make_batch: Callable[..., Any]
) -> None:
    """27.6: a channel that asks for figures labels its pushes."""
    async with twin("fcm", tmp_path, delivered=0.8, waiting=0.1, discarded=0.08) as ready:
        campaign = await pushed(ready, running, make_batch, labelled=True)
        await pushed(ready, running, make_batch)
        with_label, without = sorted(await source(ready).figures(*days()), key=lambda each: not each.campaign)
    assert with_label == (with_label.day, campaign_text(campaign), PUSHES, 80, 10, 8)
    assert (without.campaign, without.accepted) == ("", PUSHES)


async def test_apple_tells_of_whole_days(
    tmp_path: Path, running: Any, make_batch: Callable[..., Any], monkeypatch: Any
) -> None:
    """27.6: the export is asked for, waited for and read; it knows no campaign."""
    monkeypatch.setattr(delivery_metrics, "FIRST_LOOK", 0.01)
    async with twin("apns", tmp_path, delivered=0.7, waiting=0.2, discarded=0.1, processing=2) as ready:
        await pushed(ready, running, make_batch)
        (found,) = await source(ready).figures(*days())
    yesterday = datetime.now(UTC).date() - timedelta(1)
    assert found == (yesterday, "", PUSHES, 70, 20, 10)


async def test_the_days_that_apple_does_not_give_are_not_asked_for(tmp_path: Path) -> None:
    """27.6: at most thirty days back, and never today."""
    today = datetime.now(UTC).date()
    async with twin("apns", tmp_path) as ready:
        assert await source(ready).figures(today - timedelta(400), today + timedelta(5)) == []
        assert await source(ready).figures(today, today) == []


@pytest.mark.parametrize("platform", ["apns", "fcm"])
async def test_a_provider_that_is_away_is_asked_again_later(platform: str, tmp_path: Path) -> None:
    """27.6"""
    async with twin(platform, tmp_path, status=503) as ready:
        with pytest.raises(ConnectionLost, match="503"):
            await source(ready).figures(*days())


async def test_a_token_that_holds_no_more_is_told_with_its_remedy(tmp_path: Path) -> None:
    """27.6: Apple's token ends after six months at most."""
    async with twin("apns", tmp_path) as ready:
        (Path(ready.directory) / "data-export-token").write_text("another-token\n")
        with pytest.raises(
            DeliveryRefused, match=r"Apple refuses the data export token \(401\): make a new data export"
        ):
            await source(ready).figures(*days())


async def test_an_api_that_is_not_enabled_is_told_with_its_remedy(tmp_path: Path) -> None:
    """27.6"""
    async with twin("fcm", tmp_path, status=403) as ready:
        with pytest.raises(DeliveryRefused, match=r"\(403\): enable the Firebase Cloud Messaging Data API"):
            await source(ready).figures(*days())


async def test_apples_token_goes_to_apple_alone(tmp_path: Path) -> None:
    """27.6: the address of an export's status comes from the answer."""
    async with twin("apns", tmp_path) as ready:
        found = source(ready)
        with pytest.raises(ConnectionLost, match="gets no token"):
            found._own("https://elsewhere.example.com/status")
        with pytest.raises(ConnectionLost, match="gets no token"):
            found._own(ready.origin.replace("https", "http") + "/status")
        assert found._own("https://gateway.icloud.apple.com/x").endswith("/x")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"Push Type,Status\nalert,delivered\n",
                                  b"Push Type,Status,Date (UTC),Count\nalert,delivered,never,7\n",
                                  b"Push Type,Status,Date (UTC),Count\nalert\n"])  # fmt: skip
def test_an_export_that_is_no_table_is_refused(body: bytes) -> None:
    """27.6"""
    with pytest.raises(ConnectionLost, match="no table of delivery metrics"):
        delivery_metrics.figures_of(body)


def test_what_was_delivered_from_storage_waits_no_more() -> None:
    """27.6: Apple's words, as its console shows them."""
    rows = {"Received": 100, "Delivered": 60, "Delivered from Storage": 10, "Stored": 30, "Discarded": 9}
    text = "Push Type,Status,Date (UTC),Count\n" + "".join(f"Alert,{word},2026-11-29,{n}\n" for word, n in rows.items())
    (found,) = delivery_metrics.figures_of((text + "background,Received,2026-11-29,5000\n").encode())
    assert found == (date(2026, 11, 29), "", 100, 70, 20, 9)


def test_a_team_that_nobody_names_is_asked_for(tmp_path: Path) -> None:
    """27.6: a channel with a certificate has none."""
    given = TransportSettings(channel="c", platform="apns", app="org.example.news", credentials={})
    with pytest.raises(CredentialsError, match=r"delivery\.team_id: missing"):
        delivery_metrics.build(given, {"token": str(tmp_path / "t")})
