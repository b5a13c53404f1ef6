"""What arrived: providers' figures and receipts, from the push to the campaign's report."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from broadside import cli
from broadside.api.api_client import Client
from broadside.api.campaign_report import CampaignReport
from broadside.api.report_text import arrived
from broadside.api.v1 import table
from broadside.cli.receipts import _lines
from broadside.datafolder import DataFolder
from broadside.errors import ConfigError, RecordError, UsageError
from broadside.newsroom import receipt_desk
from broadside.newsroom.receipt_desk import ReceiptDesk
from broadside.newsroom.reports import report
from broadside.outward import delivery_desk
from broadside.outward.delivery_desk import DeliveryChannel, DeliveryDesk
from campaigns.identity import campaign_text
from campaigns.receipt import KEY, Receipts, address
from storage.link import Link
from tests.broadside.test_config import read
from tests.broadside.test_node_end_to_end import RUNNER, NodeProcess
from tests.storage.test_dead_ledger import Judged
from tests.storage.test_walk_verbs import CAMPAIGN, NOW
from transports.contract import DeliveryFigures, DeliverySource
from transports.errors import ConnectionLost, DeliveryRefused

DAY = 86_400_000
SECRET = "0123456789abcdef" * 2
PHONES, ONE_IN = 3_000, 5
DATE = datetime.fromtimestamp(NOW / 1000, UTC).date()


# -- the configuration -------------------------------------------------------------------------------------------------

_CHANNEL = '[channels.ios]\nplatform = "apns"\napp = "com.example.news"\ntwin = true\n'


def test_receipts_are_read_with_their_key(tmp_path: Path) -> None:
    """27.6"""
    (tmp_path / "key").write_text(SECRET + "\n")
    (tmp_path / "key").chmod(0o600)
    table_ = '[receipts]\nurl = "https://news.example.com/r/"\nkey_file = "key"\n'
    found = read(tmp_path, _CHANNEL + table_).receipts
    assert found == Receipts(url="https://news.example.com/r/", one_in=1000, key=SECRET.encode())
    assert SECRET not in repr(found)


@pytest.mark.parametrize(
    ("lines", "key", "why"),
    [
        ('url = "http://news.example.com/r/"', SECRET, r"receipts\.url.*is no https address"),
        ('url = "https://news.example.com/r /"', SECRET, r"receipts\.url.*is no https address"),
        ('url = "https://news.example.com/r/"\none_in = 0', SECRET, r"receipts\.one_in.*out of range"),
        ('url = "https://news.example.com/r/"', "short", r"receipts\.key_file.*the key has 5 characters.*openssl rand"),
        ('url = "https://news.example.com/r/"', None, r"receipts\.key_file.*not found"),
        ("", SECRET, r"receipts\.url.*is missing"),
    ],
)
def test_wrong_receipts_are_refused_with_field_value_and_remedy(
    tmp_path: Path, lines: str, key: str | None, why: str
) -> None:
    """27.6"""
    if key is not None:
        (tmp_path / "key").write_text(key)
        (tmp_path / "key").chmod(0o600)
    with pytest.raises(ConfigError, match=why):
        read(tmp_path, f'{_CHANNEL}[receipts]\nkey_file = "key"\n{lines}\n')


@pytest.mark.parametrize(
    ("platform", "lines", "why"),
    [
        ("fcm", 'android_app = "com.example.news"', r"delivery\.android_app.*is not an app id like"),
        ("fcm", 'android = "x"', r"delivery\.android.*unknown key"),
        ("fcm", 'origin = "https://localhost:1"', r"delivery\.android_app.*is missing"),
        ("apns", 'token = "nowhere"', r"delivery\.token.*not found"),
        ("apns", 'token = "key"\nexpires = "soon"', r"delivery\.expires.*is not a day like"),
        ("apns", 'token = "key"\nexpires = "2027-02-31"', r"delivery\.expires.*is no day"),
        ("webpush", 'token = "key"', r"delivery.*has no use on webpush"),
    ],
)
def test_a_wrong_delivery_table_is_refused_with_field_value_and_remedy(
    tmp_path: Path, platform: str, lines: str, why: str
) -> None:
    """27.6"""
    (tmp_path / "key").write_text(SECRET)
    (tmp_path / "key").chmod(0o600)
    channel = f'[channels.c]\nplatform = "{platform}"\napp = "example-news"\ntwin = true\n[channels.c.delivery]\n'
    with pytest.raises(ConfigError, match=why):
        read(tmp_path, channel + lines + "\n")


# -- the nightly fetch -------------------------------------------------------------------------------------------------


class Source:
    """A provider's figures: those given, or the errors before them."""

    def __init__(self, *said: list[DeliveryFigures] | Exception) -> None:
        self.said = list(said)
        self.asked: list[tuple[date, date]] = []

    async def figures(self, first: date, last: date) -> list[DeliveryFigures]:
        self.asked.append((first, last))
        await trio.lowlevel.checkpoint()
        said = self.said.pop(0)
        if isinstance(said, Exception):
            raise said
        return said


class Desk(Judged):
    """A store with a campaign that is over, and a desk that fetches figures."""

    now = NOW

    async def done(self) -> None:
        await self.join()
        await self.beat()
        await self.subscribers(100)
        await self.fire(page_size=100)
        await self.walk()
        await self.deliver("ios")
        await self.deliver("android")
        await self.report()

    def desk(self, node: str = "n1", **sources: DeliverySource) -> DeliveryDesk:
        def given(source: DeliverySource) -> DeliveryChannel:
            return DeliveryChannel(lambda: source)

        channels = {name: given(source) for name, source in sources.items()}
        return DeliveryDesk(self.store, node, channels, None, lambda: self.now)

    async def told(self) -> CampaignReport:
        campaign = await self.store.campaign_get(CAMPAIGN)
        assert campaign is not None
        return report(campaign, NOW, ())


@pytest.fixture
async def desk(own_link: Link) -> Desk:
    desk = Desk(own_link)
    await desk.done()
    return desk


def of(day: date, campaign: str = "", accepted: int = 50) -> DeliveryFigures:
    return DeliveryFigures(day, campaign, accepted, accepted * 9 // 10, 3, 2)


@pytest.mark.tarantool
async def test_figures_by_campaign_are_added_up_over_its_days(desk: Desk) -> None:
    """27.6: a push that waits for a phone is counted on the day on which it is delivered."""
    mine, later = campaign_text(CAMPAIGN), DATE + timedelta(1)
    figures = [of(DATE, mine), of(later, mine, 10), of(DATE, "autumn-campaign"), of(DATE, campaign_text(CAMPAIGN + 9))]
    await desk.desk(android=Source(figures)).fetch()
    found = (await desk.told()).delivery
    assert found.keys() == {"android"}
    seen = found["android"].figures
    assert seen is not None
    assert (seen.accepted, seen.delivered, seen.waiting, seen.discarded) == (60, 54, 6, 4)
    assert (seen.days, seen.whole_app) == ([DATE.isoformat(), later.isoformat()], False)


@pytest.mark.tarantool
async def test_figures_by_day_are_told_as_those_of_the_whole_app(desk: Desk) -> None:
    """27.6: Apple knows no campaigns; the report says so."""
    await desk.desk(ios=Source([of(DATE - timedelta(1)), of(DATE, accepted=900)])).fetch()
    told = await desk.told()
    seen = told.delivery["ios"].figures
    assert seen is not None
    assert (seen.accepted, seen.days, seen.whole_app) == (900, [DATE.isoformat()], True)
    (line,) = arrived(told)
    whole = f"(its provider's own figures, all pushes of the app on {DATE})"
    assert line == f"ios: 900 accepted → 810 delivered → 2 discarded, 3 waiting {whole}"


@pytest.mark.tarantool
async def test_a_provider_that_is_away_is_asked_again_and_beside_the_others(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """27.6: bounded, and an alarm only as long as it lasts."""
    monkeypatch.setattr(delivery_desk, "AGAIN_AFTER", 0.01)
    away = Source(*[ConnectionLost("api.icloud.apple.com answered 503")] * 3, [of(DATE)])
    gone = Source(*[ConnectionLost("nobody answers")] * 99)
    made = desk.desk(ios=away, android=gone)
    await made.fetch()
    assert (len(away.asked), len(gone.asked)) == (4, delivery_desk.TRIES)
    (alarm,) = made.alarms()
    assert (alarm.name.value, alarm.about) == ("delivery-figures", "android")
    assert "nobody answers" in alarm.text
    assert (await desk.told()).delivery.keys() == {"ios"}


@pytest.mark.tarantool
async def test_what_a_person_must_mend_is_told_once_a_night(desk: Desk) -> None:
    """27.6"""
    source = Source(DeliveryRefused("Apple refuses the data export token (401): make a new one"), [of(DATE)])
    made = desk.desk(ios=source)
    await made.fetch()
    assert len(source.asked) == 1
    (alarm,) = made.alarms()
    assert "no figures of deliveries on ios: Apple refuses the data export token (401)" in alarm.text
    await made.fetch()
    assert made.alarms() == []


@pytest.mark.tarantool
async def test_a_token_s_end_is_told_two_weeks_before(desk: Desk) -> None:
    """27.6"""
    for left, words in ((15, ""), (14, "ends on"), (-1, "ended on")):
        channel = DeliveryChannel(lambda: Source(), DATE + timedelta(left))
        found = DeliveryDesk(desk.store, "n1", {"ios": channel}, None, lambda: NOW).alarms()
        assert [words in alarm.text for alarm in found] == ([True] if words else [])


@pytest.mark.tarantool
async def test_one_node_of_a_ring_fetches_once_a_night(desk: Desk) -> None:
    """27.6: as drills and webhooks, whoever has the duty."""
    sources = [Source(*[[of(DATE)]] * 9) for _ in range(2)]
    first, second = desk.desk("n1", ios=sources[0]), desk.desk("n2", ios=sources[1])
    night = first.next_night()
    assert night == second.next_night()
    assert 0 < night - NOW <= DAY
    for now in (NOW, night - 1, night, night + 1, night + 3_600_000, night + DAY, night + DAY + 5):
        desk.now = now
        await first.look()
        await second.look()
    assert (len(sources[0].asked), len(sources[1].asked)) == (2, 0)
    first_day, last_day = sources[0].asked[0]
    assert last_day - first_day == timedelta(8)


# -- receipts ----------------------------------------------------------------------------------------------------------


def receipts(channel: str, count: int, key: str = SECRET, one_in: int = 10, campaign: int = CAMPAIGN) -> list[str]:
    made = Receipts(url="", one_in=one_in, key=key.encode())
    return [address(made, campaign, channel, n) for n in range(count)]


@pytest.mark.tarantool
async def test_a_phone_counts_once_however_often_its_receipt_comes(desk: Desk, tmp_path: Path) -> None:
    """27.6: over requests, and over starts of the node."""
    ours = Receipts(url="https://n.example.com/", one_in=10, key=SECRET.encode())
    first = ReceiptDesk(desk.store, tmp_path / "receipts", ours, lambda: NOW)
    assert (await first.note(receipts("ios", 3) * 2)).counted == 3
    second = ReceiptDesk(desk.store, tmp_path / "receipts", ours, lambda: NOW + 5)
    found = await second.note([*receipts("ios", 5), *receipts("android", 1)])
    assert (found.counted, found.again) == (3, 3)
    seen = (await desk.told()).delivery
    ios = seen["ios"].receipts
    assert ios is not None
    assert (ios.received, ios.one_in, ios.at) == (5, 10, NOW + 5)
    assert 0.99 <= ios.share <= 1.0
    assert 0.3 < ios.low < 0.6
    assert ios.high == 1.0
    (file, *_) = sorted((tmp_path / "receipts").iterdir())
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.stat().st_size == 8


@pytest.mark.tarantool
async def test_forged_and_foreign_receipts_do_not_count(desk: Desk, tmp_path: Path) -> None:
    """27.6"""
    ours = Receipts(url="", one_in=10, key=SECRET.encode())
    made = ReceiptDesk(desk.store, tmp_path / "receipts", ours, lambda: NOW)
    wrong = [*receipts("ios", 3, key="f" * 32), "nonsense", *receipts("ios", 2, campaign=CAMPAIGN + 9)]
    found = await made.note(wrong)
    assert (found.counted, found.forged, found.unknown) == (0, 4, 2)
    assert (await desk.told()).delivery == {}
    without = ReceiptDesk(desk.store, tmp_path, None, lambda: NOW)
    with pytest.raises(RecordError, match=r"this node has no key for them.*write \[receipts\] into broadside\.toml"):
        await without.note([])


@pytest.mark.tarantool
async def test_pseudonyms_leave_the_data_folder_after_a_while_and_the_figure_stays(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """27.6"""
    ours = Receipts(url="", one_in=10, key=SECRET.encode())
    made = ReceiptDesk(desk.store, tmp_path / "receipts", ours, lambda: NOW)
    monkeypatch.setattr(receipt_desk, "KEPT_FOR", -1)
    await made.note(receipts("ios", 4))
    assert list((tmp_path / "receipts").iterdir()) == []
    await made.note(receipts("ios", 2))
    ios = (await desk.told()).delivery["ios"].receipts
    assert ios is not None
    assert ios.received == 4


# -- from the push to the report ---------------------------------------------------------------------------------------

_PATCHED = f"""
from broadside.outward.delivery_desk import DeliveryDesk
from campaigns.receipt import Receipts
DeliveryDesk.next_night = lambda self: self._clock() + 1_000
RECEIPTS = Receipts(url="https://news.example.com/r/", one_in={ONE_IN}, key=b"{SECRET}")
"""


class Truthful(NodeProcess):
    """The demo with receipts and figures, whose nights are seconds apart."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, PHONES)
        android = 'delivery={"android_app": "1:42:android:0a1b"}'
        runner = RUNNER.replace("config = demo_config", f"{_PATCHED}config = demo_config", 1)
        runner = runner.replace("    http=Http", "    receipts=RECEIPTS,\n    http=Http", 1)
        swap = (
            'android = msgspec.structs.replace(config.channels["android-news"], ' + android + ")\n"
            'config = msgspec.structs.replace(config, channels={**config.channels, "android-news": android})\n'
        )
        self.runner = runner.replace("sys.exit(run_node", swap + "sys.exit(run_node", 1)

    def begin(self) -> Truthful:
        twins = self.data / "twins"
        twins.mkdir(mode=0o700, parents=True)
        self.data.chmod(0o700)
        for platform in ("apns", "fcm"):
            rules = '[[rules]]\nprefix = "dead"\nanswer = "dead"\n'
            text = f"bodies = true\n{rules}[delivery]\ndelivered = 0.8\n"
            (twins / f"{platform}.script.toml").write_text(text)
        self.start()
        self.wait_for("serving;", 120)
        return self

    def bodies(self, platform: str) -> list[dict[str, Any]]:
        lines = (self.data / "twins" / f"{platform}.ledger").read_text().splitlines()
        return [json.loads(json.loads(line)["body"]) for line in lines]


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Truthful]:
    node = Truthful(tmp_path)
    yield node
    if node.process is not None and node.process.poll() is None:
        node.end()


@pytest.mark.tarantool
@pytest.mark.timeout(300)
def test_a_campaign_s_arrival_is_told_from_the_push_to_the_report(
    node: Truthful, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """27.6: one phone in N has an address, its log is read in, and Google's figures come by the label."""
    node.begin()
    with Client.of(DataFolder(node.data)) as client:
        node.until(lambda: client.campaigns()[0].state == "done", "end of the demo's campaign", 90)
        id = client.campaigns()[0].id
        told = client.call(table.CAMPAIGN, id=id)
        google, apple = node.bodies("fcm"), node.bodies("apns")
        assert {body["message"]["fcm_options"]["analytics_label"] for body in google} == {id}
        sampled = {
            "android-news": [body["message"]["data"][KEY] for body in google if "data" in body["message"]],
            "ios-news": [body[KEY] for body in apple if KEY in body],
        }
        assert {body["aps"].get("mutable-content") for body in apple if KEY in body} == {1}
        assert {body["aps"].get("mutable-content") for body in apple if KEY not in body} == {None}
        for channel, addresses in sampled.items():
            accepted = told.channels[channel].delivered
            assert len(set(addresses)) == len(addresses)
            assert 0.7 < len(addresses) * ONE_IN / accepted < 1.3, (channel, len(addresses), accepted)
        reached = {channel: addresses[: len(addresses) * 3 // 4] for channel, addresses in sampled.items()}
        log = tmp_path / "access.log"
        log.write_text(
            "".join(
                f'203.0.113.9 - - [30/Nov/2026:14:00:00 +0100] "GET {re.sub("https://[^/]*", "", to)} HTTP/2.0" 404 0\n'
                for to in reached["ios-news"]
            )
            + 'nonsense\n203.0.113.1 - - [30/Nov/2026:14:00:00 +0100] "GET / HTTP/1.1" 200 5\n'
        )
        packed = tmp_path / "access.json.gz"
        with gzip.open(packed, "wt") as file:
            file.writelines(json.dumps({"uri": to, "status": 204}) + "\n" for to in reached["android-news"] * 2)
        assert cli.run(["receipts", "import", str(log), str(packed), "--json", "--data", str(node.data)]) == 0
        said = msgspec.json.decode(capsys.readouterr().out)
        count = sum(map(len, reached.values()))
        assert (said["counted"], said["forged"], said["unknown"]) == (count, 0, 0)
        assert cli.run(["receipts", "import", str(log), "--data", str(node.data)]) == 0
        assert "0 phones counted" in capsys.readouterr().out

        def figures() -> bool:
            known = client.call(table.CAMPAIGN, id=id).delivery.get("android-news")
            return known is not None and known.figures is not None

        node.until(figures, "figures of Google's", 60)
        found = client.call(table.CAMPAIGN, id=id)
    for channel, addresses in reached.items():
        seen = found.delivery[channel].receipts
        assert seen is not None
        assert seen.received == len(addresses)
        assert seen.low < 0.75 * len(sampled[channel]) * ONE_IN / found.channels[channel].delivered < seen.high
    android = found.delivery["android-news"].figures
    assert android is not None
    accepted = found.channels["android-news"].delivered
    assert (android.accepted, android.delivered, android.whole_app) == (accepted, round(0.8 * accepted), False)
    assert cli.run(["campaign", "show", id, "--data", str(node.data)]) == 0
    shown = capsys.readouterr().out
    assert f"android-news: {accepted:,} accepted → {round(0.8 * accepted):,} delivered" in shown
    assert f"by {len(reached['ios-news']):,} receipts of 1 phone in {ONE_IN}" in shown


def test_a_log_that_cannot_be_read_names_the_file_and_the_remedy(tmp_path: Path) -> None:
    """27.6"""
    bad = tmp_path / "log.gz"
    bad.write_bytes(b"not packed")
    for file in (tmp_path / "none.log", bad):
        with pytest.raises(UsageError, match=rf"{file.name}.*cannot be read: .*\(name an access log, or - for stdin\)"):
            list(_lines(str(file)))
