"""What other systems export is taken as far as it can be read: a phone is worth more than an attribute."""

from __future__ import annotations

import gzip
import io
import json
import time
from pathlib import Path

import pytest

from broadside.api.attributes.changes import Changes
from broadside.api.attributes.locales import locale
from broadside.api.attributes.zones import zone
from broadside.api.base_records import ImportedLines
from broadside.api.subscriber import Subscriber
from broadside.api.token_rules import DeviceTokens
from broadside.errors import NodeUnreachable, RecordError, UsageError
from broadside.imports.export import export
from broadside.imports.importer import Summary, import_file
from broadside.imports.mapping import Mapping, preset, read_map
from broadside.imports.resume import Resume
from broadside.imports.rules import Rules
from tests.broadside.sent_lines import sent

APNS, FCM = (
    "8b0e7153bf7c3706d85c524e440066559a6656c90bd5482a90a29b9fa5ff5180",
    "-lb_cTaJHgc8kBjkDUycBa:APA91b" + "x9" * 60,
)
CHANNELS = {"ios-news": "apns", "android-news": "fcm"}


class Import:
    """An import into a node that takes everything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rejected = folder / "base.rejected"
        self.told: list[str] = []
        self.rows: list[Subscriber] = []

    def upsert(self, body: bytes) -> ImportedLines:
        rows = sent(body)
        self.rows += rows
        return ImportedLines(inserted=len(rows), updated=0)

    def __call__(self, content: str | bytes, mapping: Mapping | None = None, strict: bool = False) -> Summary:
        raw = content.encode() if isinstance(content, str) else content
        rules = Rules(DeviceTokens(CHANNELS), mapping=mapping, strict=strict)
        return import_file(io.BytesIO(raw), "base", self.rejected, self.upsert, rules, tell=self.told.append)

    @property
    def tokens(self) -> list[str]:
        return [row.token for row in self.rows]


@pytest.fixture
def run(tmp_path: Path) -> Import:
    return Import(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "".join('a,"\n' for _ in range(40_000)),
        "".join('ios-news,"x\n' for _ in range(20_000)),
        "".join('"\n' for _ in range(80_000)),
        '"' + "".join("ios-news,b\n" for _ in range(20_000)),
        "".join('"a\nb,""\n' for _ in range(20_000)),
        "".join(('"a\n', "b\n" * 300)[n % 2] for n in range(300)),
    ],
    ids=["end", "text", "alone", "one", "pairs", "far"],
)
def test_open_quotes_cost_a_time_that_grows_with_the_file_and_no_faster(run: Import, text: str) -> None:
    """S14: 320 KB of open quotes took 212 s."""
    begun = time.process_time()
    run("channel,token\n" + text + f"ios-news,{APNS}\n")
    assert time.process_time() - begun < 10


def test_unclosed_objects_cost_a_time_that_grows_with_the_file_and_no_faster(run: Import) -> None:
    """S14: the same kind, in JSON."""
    begun = time.process_time()
    run("[\n" + '{"a":[\n' * 40_000 + "]" + '{"channel' * 20_000)
    assert time.process_time() - begun < 10


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_nested_tags_cost_themselves_and_nothing_else(run: Import, form: str) -> None:
    """S14: they ended the import."""
    deep = "[" * 5_000 + "]" * 5_000
    if form == "csv":
        run(f'channel,token,tags\nios-news,{APNS},"{deep}"\nandroid-news,{FCM},a|b\n')
        assert run.tokens == [APNS, FCM]
    else:
        good = json.dumps({"channel": "ios-news", "token": APNS})
        assert run(f'{good}\n{{"channel":"ios-news","token":"x","tags":{deep}}}\n{good}\n').rejected == 1
        assert run.tokens == [APNS, APNS]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("zh_CN_#Hans", "zh-Hans-CN"),
        ("sr_RS_#Latn", "sr-Latn-RS"),
        ("th_TH_TH_#u-nu-thai", "th-TH"),
        ("en_US_POSIX", "en-US"),
        ("en_US@calendar=gregorian", "en-US"),
        ("en-US-u-hc-h12", "en-US"),
        ("en_GB.UTF-8", "en-GB"),
        ("es-419", "es-419"),
        ("iw", "he"),
        ("de_", "de"),
        ("C.UTF-8", None),
        ("english", None),
        ("_DE", None),
    ],
)
def test_a_locale_of_any_system_becomes_a_language_tag(written: str, stored: str | None) -> None:
    """A7: 15 of 24 locales cost the phone."""
    assert locale(written) == stored
    assert stored is None or locale(stored) == stored


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("GMT+3", "Etc/GMT-3"),
        ("GMT-03:00", "Etc/GMT+3"),
        ("GMT+0530", "Asia/Kolkata"),
        ("+03:00", "Etc/GMT-3"),
        ("-0300", "Etc/GMT+3"),
        ("-18000", "Etc/GMT+5"),
        ("-3600", "Etc/GMT+1"),
        ("19800", "Asia/Kolkata"),
        ("0", "UTC"),
        ("Z", "UTC"),
        ("europe/berlin", "Europe/Berlin"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("Etc/Unknown", None),
        ("GMT+25", None),
        ("123", None),
    ],
)
def test_an_offset_or_a_windows_name_becomes_a_zone(written: str, stored: str | None) -> None:
    """A7: 15 of 22 zones cost the phone."""
    assert zone(written) == stored


def test_an_attribute_that_cannot_be_read_is_dropped_with_a_count_and_the_phone_is_taken(run: Import) -> None:
    """A7: it cost the phone."""
    odd = '_DE,Mitteleuropäische Zeit,ZZ,noon,"سلام\u200cدنیا|\x1b[2J",never'
    normal = 'zh_CN_#Hans,GMT+3,DEU,08:30,"{""sport"":""1"",""team"":""Reds""}",2026-10-01 08:00:00 UTC'
    header = "channel,token,locale,tz,country,best_minute,tags,registered_at\n"
    summary = run(header + f"ios-news,{APNS},{odd}\nandroid-news,{FCM},{normal}\nandroid-news,{FCM},NULL,,\\N,,,\n")
    assert (summary.inserted, summary.rejected) == (3, 0)
    assert run.rows == [
        Subscriber(channel="ios-news", token=APNS, tags=["سلام\u200cدنیا"]),
        Subscriber(
            channel="android-news",
            token=FCM,
            locale="zh-Hans-CN",
            tz="Etc/GMT-3",
            country="DE",
            best_minute=510,
            tags=["sport", "team=Reds"],
            registered_at=1_790_841_600_000,
        ),
        Subscriber(channel="android-news", token=FCM),
    ]
    assert summary.changes["dropped"]["tz"] == {"count": 1, "examples": ['"Mitteleuropäische Zeit"']}
    assert summary.changes["converted"]["country"]["examples"] == ['"DEU" → "DE"', '"\\N" → ""']
    assert set(summary.changes["dropped"]) == {"locale", "tz", "country", "best_minute", "tags", "registered_at"}


def test_a_strict_import_refuses_the_row_instead(run: Import) -> None:
    """A7, D1: whoever wants everything or nothing can have it."""
    assert run(f"channel,token,tz\nios-news,{APNS},Nowhere\nios-news,{APNS},GMT+3\n", strict=True).rejected == 1
    with pytest.raises(UsageError, match=r'unknown column "colour"'):
        run(f"channel,token,colour\nios-news,{APNS},red\n", strict=True)


def test_the_api_normalises_by_the_same_rules_and_answers_what_it_dropped() -> None:
    """A7: an app's registration is a phone too."""
    changes = Changes()
    body = json.dumps({"channel": "ios", "token": APNS, "tz": -18000, "locale": "en_US_POSIX", "country": "--"})
    row = sent(body.encode(), changes)[0]
    assert (row.tz, row.locale, row.country) == ("Etc/GMT+5", "en-US", "")
    assert set(changes.converted) == {"tz", "locale", "country"}
    sent(b'{"channel":"ios","token":"a","tz":"Nowhere"}', changes)
    assert changes.dropped == {"tz": 1}


def test_a_row_is_bounded_in_bytes_and_the_bound_is_said() -> None:
    """S15: 191 KB rows where 250 B are planned."""
    with pytest.raises(RecordError, match="1 to 1024 printable characters"):
        sent(json.dumps({"channel": "ios", "token": "x" * 1_025}).encode())
    changes = Changes()
    fields = {f"f{n}": "ä" * 1024 for n in range(50)}
    tags = ["ü" * 60 + str(n) for n in range(100)]
    body = json.dumps({"channel": "ios", "token": "x", "fields": fields, "tags": tags}).encode()
    row = sent(body, changes)[0]
    assert sum(len((name + text).encode()) for name, text in row.fields.items()) <= 8 * 1024
    assert sum(len(tag.encode()) for tag in row.tags) <= 4 * 1024
    assert changes.dropped["fields"] == 50 - len(row.fields)
    assert changes.dropped["tags"] == 100 - len(row.tags)


CSV = f"channel,token\nios-news,{APNS}\nandroid-news,{FCM}\n"
ROW = json.dumps({"channel": "ios-news", "token": APNS})
OTHER = json.dumps({"channel": "android-news", "token": FCM, "fields": {"a": "}{"}}, indent=1)


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(CSV.encode(), mtime=0),
        CSV.encode("utf-16"),
        CSV.encode("utf-16-le"),
        "\ufeff".encode() + CSV.encode(),
        b"sep=;\r\n" + CSV.replace(",", ";").encode(),
        CSV.replace("\n", "\r").encode(),
        CSV.replace("channel,token", " Channel , TOKEN ").encode(),
        CSV.replace(",", " , ").encode(),
        CSV.replace("\n", ",,\n").encode(),
        f"id,channel,token,colour\n1,ios-news,{APNS},red\n2,android-news,{FCM},blue\n".encode(),
        f"{ROW},\n{json.dumps(json.loads(OTHER))},\n".encode(),
        f"[{ROW},{json.dumps(json.loads(OTHER))}]".encode(),
        f"[\n{ROW},\n{OTHER}\n]".encode(),
        f"{json.dumps(json.loads(ROW), indent=2)}\n{OTHER}".encode(),
        gzip.compress(f"[{OTHER},{ROW}]".encode(), mtime=0),
    ],
    ids=lambda content: repr(content[:24]),
)  # fmt: skip
def test_a_file_is_read_in_whatever_form_it_was_written(run: Import, content: bytes) -> None:
    """D1, D2: each of these stopped the import."""
    assert run(content).rejected == 0
    assert sorted(run.tokens) == [FCM, APNS]


def test_unknown_columns_are_named_once_and_ignored(run: Import) -> None:
    """D1: one try for each column."""
    run(f"channel,token,colour,shape\nios-news,{APNS},red,round\n")
    assert run.told == ["base: ignored columns: colour, shape (own data goes into columns named fields.NAME, or --map)"]
    run.told.clear()
    run(f'{{"channel":"ios-news","token":"{APNS}","colour":1}}\n' * 3)
    assert run.told == ["base: ignored columns: colour (own data goes into columns named fields.NAME, or --map)"]


EXPORTS = {
    "onesignal": "id,identifier,session_count,language,timezone,game_version,device_type,tags,created_at,"
    "invalid_identifier\n"
    f'u,{APNS},0,de,-18000,4.2,0,"{{""sport"":""1""}}",2024-01-01 10:11:12 UTC,f\n'
    f"u,{FCM},0,zh-Hans,0,4.2,1,{{}},2024-01-01 10:11:12 UTC,f\n"
    f"u,{FCM}1,0,de,0,4.2,1,,2024-01-01 10:11:12 UTC,t\nu,https://x,0,de,0,4.2,5,,,f\n",
    "pinpoint": "Id,ChannelType,Address,OptOut,Location.Country,Demographic.Locale,Attributes.topic,EffectiveDate\n"
    f'e,GCM,{FCM},NONE,DEU,de_DE,"[""sport""]",2026-10-01T10:00:00.000Z\n'
    f"e,APNS,{APNS},NONE,DEU,de_DE,,\ne,APNS,{APNS},ALL,DEU,de_DE,,\ne,EMAIL,a@b,NONE,,,,\n",
    "airship": "channel_id,device_type,push_address,opt_in,installed,locale_country,locale_language,timezone,tags\n"
    f'c,android,{FCM},true,true,DE,de,Europe/Berlin,"sport,news"\nc,ios,{APNS.upper()},true,true,DE,de,,\n'
    f"c,ios,{APNS},false,true,DE,de,,\n",
    "gorush": json.dumps(
        {"notifications": [{"tokens": [APNS], "platform": 1}, {"tokens": [FCM], "platform": 2}]}, indent=1
    ),
    "tokens": f"{APNS}\n{FCM}\n",
}


@pytest.mark.parametrize("name", EXPORTS)
def test_the_exports_of_other_services_are_read_by_a_preset(run: Import, name: str) -> None:
    """D1: they stopped at the first column."""
    summary = run(EXPORTS[name], preset(name))
    assert (summary.inserted, summary.rejected, run.told[1:]) == (2, 0, [])
    assert sorted((row.channel, row.token.lower()) for row in run.rows) == [
        ("android-news", FCM.lower()),
        ("ios-news", APNS),
    ]
    left_out = {"onesignal": 2, "pinpoint": 2, "airship": 1}.get(name, 0)
    assert sum(summary.skipped.values()) == left_out


def test_a_foreign_header_is_recognised_and_its_preset_is_named(run: Import) -> None:
    """D1: what the next step is."""
    with pytest.raises(UsageError, match="onesignal's columns: --preset onesignal"):
        run(EXPORTS["onesignal"])


def test_a_map_file_names_columns_splits_tags_and_leaves_rows_out(run: Import) -> None:
    """D1: any other system's export."""
    path = run.folder / "map.toml"
    path.write_text(
        '[columns]\npush = "token"\nlang = "locale"\nname = "fields.first_name"\ngone = { skip = ["yes"] }\n'
        'topics = { field = "tags", split = ";" }\nos = { field = "channel", values = { iOS = "ios-news" } }\n'
    )
    text = f"push,lang,name,gone,topics,os\n{APNS},de_DE,Ada,no,a;b,ios\n{APNS},de,,YES,,iOS\n{FCM},de,,no,,Bada\n"
    summary = run(text, read_map(path))
    assert run.rows == [
        Subscriber(channel="ios-news", token=APNS, locale="de-DE", tags=["a", "b"], fields={"first_name": "Ada"})
    ]
    assert summary.skipped == {'gone is "YES"': 1, 'os is "Bada"': 1}
    path.write_text('[columns]\npush = "tokn"\n')
    with pytest.raises(UsageError, match='did you mean "token"'):
        read_map(path)


def test_rejected_lines_never_go_through_a_symbolic_link(run: Import) -> None:
    """S12: the file it pointed to was overwritten."""
    precious = run.folder / "precious"
    precious.write_text("mine")
    run.rejected.symlink_to(precious)
    run("channel,token\nios-news,NULL\n")
    assert precious.read_text() == "mine"
    assert run.rejected.read_text() == "channel,token\nios-news,NULL\n"
    assert not run.rejected.is_symlink()
    assert run.rejected.stat().st_mode & 0o777 == 0o600


def test_an_exported_cell_is_no_formula_and_comes_back_as_it_was(run: Import) -> None:
    """S23: a spreadsheet would run it."""
    stored = {"id": 1, "channel": "android-news", "token": FCM, "tags": ["=1+1"], "screen": "'@x", "app_version": "+5"}
    page = json.dumps({"items": [stored], "next": None}).encode()
    out = io.BytesIO()
    export(lambda limit, cursor: page, out, "csv")
    cells = out.getvalue().decode().splitlines()[1].split(",")
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    run(out.getvalue())
    row = run.rows[0]
    assert (row.token, row.tags, row.screen, row.app_version) == (FCM, ["=1+1"], "'@x", "+5")


def test_an_interrupted_import_goes_on_where_it_ended(run: Import) -> None:
    """Issue 20: a base of millions is not sent twice."""
    file = run.folder / "base.csv"
    file.write_text("channel,token\n" + "".join(f"ios-news,{n:064x}\n" for n in range(12_000)))

    def importing(*, go_on: bool, fails: bool) -> Summary:
        def upsert(body: bytes) -> ImportedLines:
            if fails and b"%064x" % 9_000 in body:
                raise NodeUnreachable("gone")
            return run.upsert(body)

        with file.open("rb") as source:
            resume = Resume(file, go_on=go_on)
            rules = Rules(DeviceTokens(CHANNELS))
            return import_file(source, "base", run.rejected, upsert, rules, tell=run.told.append, resume=resume)

    with pytest.raises(NodeUnreachable):
        importing(go_on=False, fails=True)
    run.rows.clear()
    summary = importing(go_on=True, fails=False)
    assert summary.sent_before >= 5_000
    assert summary.inserted + summary.sent_before == 12_000
    assert f"{11_999:064x}" in run.tokens
    with pytest.raises(UsageError, match="no import was interrupted"):
        Resume(file, go_on=True)


def test_a_dry_run_sends_and_writes_nothing_and_counts_the_faults_by_kind(run: Import) -> None:
    """Issue 20: the first ten of each kind, each with its line."""
    text = "channel,token\n" + "ios-news,NULL\n" * 12 + f"ios-news,{FCM}\n" * 2 + f"ios-news,{APNS}\n"
    rules = Rules(DeviceTokens(CHANNELS))
    summary = import_file(io.BytesIO(text.encode()), "base", None, None, rules, tell=run.told.append)
    assert (summary.inserted, summary.rejected, run.rows, run.told) == (1, 14, [], [])
    assert [(fault.count, len(fault.examples)) for fault in summary.faults.values()] == [(12, 10), (2, 2)]
    assert not run.rejected.exists()
