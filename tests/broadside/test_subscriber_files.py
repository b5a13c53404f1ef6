"""An import file's good rows reach the node, its bad ones are named and kept, and nothing stops the rest."""

from __future__ import annotations

import contextlib
import io
import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadside.api.base_records import ImportedLines, LineFault
from broadside.api.token_rules import DeviceTokens
from broadside.errors import ApiError, NodeUnreachable, Problem, UsageError
from broadside.imports.export import export
from broadside.imports.formats import lines as lines_module
from broadside.imports.importer import Summary, import_file
from broadside.imports.rules import Rules
from tests.broadside.sent_lines import plain, sent

HEADER = "channel,token,kind,locale,tz,country,app_version,screen,best_minute,tags,fields,registered_at\n"


class Node:
    """Takes what the API takes, by the same rules."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], dict[str, Any]] = {}
        self.requests: list[int] = []
        self.lock = threading.Lock()

    def upsert(self, body: bytes) -> ImportedLines:
        rows = sent(body)
        with self.lock:
            before = len(self.rows)
            self.requests.append(len(rows))
            for row, record in zip(rows, plain(body), strict=True):
                record.pop("id", None)
                self.rows[row.channel, row.token] = record
            inserted = len(self.rows) - before
        return ImportedLines(inserted=inserted, updated=len(rows) - inserted)


class Import:
    """One import, and what it told. ``channels``: name → platform, of those that the node has."""

    def __init__(self, folder: Path, channels: dict[str, str] | None = None) -> None:
        self.rules = Rules(DeviceTokens(channels or {}))
        self.rejected = folder / "base.rejected"
        self.told: list[str] = []
        self.node = Node()

    def __call__(self, content: str | bytes, upsert: Callable[[bytes], ImportedLines] | None = None) -> Summary:
        raw = content.encode() if isinstance(content, str) else content
        return import_file(
            io.BytesIO(raw), "base", self.rejected, upsert or self.node.upsert, self.rules, tell=self.told.append
        )


@pytest.fixture
def run(tmp_path: Path) -> Import:
    return Import(tmp_path)


def ndjson(n: int, **more: object) -> str:
    return "".join(json.dumps({"channel": "ios", "token": f"t{i}"} | more) + "\n" for i in range(n))


def test_csv_and_ndjson_give_the_same_records(tmp_path: Path) -> None:
    record = {
        "channel": "ios",
        "token": "abc",
        "kind": "fid",
        "locale": "pt-BR",
        "tz": "America/Sao_Paulo",
        "country": "BR",
        "app_version": "5.1",
        "screen": "large, wide",
        "best_minute": 480,
        "tags": ["sport", "news"],
        "fields": {"first_name": 'Ana "A"'},
        "registered_at": 1_700_000_000_000,
    }
    row = (
        'ios,abc,fid,pt-BR,America/Sao_Paulo,BR,5.1,"large, wide",480,sport|news,'
        '"{""first_name"": ""Ana \\""A\\""""}",1700000000000\n'
    )
    one, other = Import(tmp_path), Import(tmp_path)
    assert one(HEADER + row).format == "csv"
    assert other(json.dumps(record) + "\n").format == "ndjson"
    assert one.node.rows == other.node.rows == {("ios", "abc"): record}


def test_empty_cells_mean_not_given(run: Import) -> None:
    run(HEADER + "ios,abc,,,,,,,,,,\n")
    assert run.node.rows == {("ios", "abc"): {"channel": "ios", "token": "abc"}}


def test_columns_named_fields_become_fields(run: Import) -> None:
    run("token,channel,fields.first_name,fields.team\na,ios,Ada,\nb,ios,,Reds\n")
    assert run.node.rows["ios", "a"]["fields"] == {"first_name": "Ada"}
    assert run.node.rows["ios", "b"]["fields"] == {"team": "Reds"}


@pytest.mark.parametrize("form", ["\ufeff{}", "\n\n{}", "{}\n\n\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_boms_blank_lines_and_any_line_end_are_taken(run: Import, form: str, end: str, delimiter: str) -> None:
    text = f"channel,token{end}ios,a{end}{end}ios,b"
    assert run(form.format(text.replace(",", delimiter)).encode()).inserted == 2
    assert run.told == []


BAD_ROWS = [
    ({"channel": "iOS!"}, 'channel: "iOS!" is not valid (a channel\'s name, as in ios-news)'),
    ({"token": "a b"}, 'token: "a b" is not valid (1 to 1024 printable characters without blanks)'),
    ({"token": ""}, 'token: "" is not valid'),
    ({"token": "x" * 1_025}, "token: "),
    ({"token": "ä"}, 'token: "ä" is not valid'),
    ({"kind": "email"}, 'kind: "email" is not valid (token or fid)'),
    # attributes: refused with --strict, otherwise dropped
    ({"locale": "english"}, 'locale: "english" is not valid (a language tag, as in pt-BR)'),
    ({"tz": "Berlin"}, 'tz: "Berlin" is not valid (an IANA time zone, as in Europe/Berlin)'),
    ({"country": "Germany"}, 'country: "Germany" is not valid (two capital letters, as in DE)'),
    ({"app_version": "v" * 65}, "app_version: "),
    ({"screen": "a\tb"}, "screen: "),
    ({"best_minute": 1440}, "best_minute: "),
    ({"best_minute": "noon"}, 'best_minute: "noon" is not valid (minutes since midnight, 0 to 1439)'),
    (
        {"registered_at": "yesterday"},
        'registered_at: "yesterday" is not valid (milliseconds since 1970, UTC',
    ),
    ({"registered_at": 99_000_000_000_000}, "registered_at: "),
]


@pytest.mark.parametrize(("change", "expected"), BAD_ROWS, ids=lambda value: str(value)[:30])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_bad_row_is_named_and_kept_and_the_rest_goes_on(run: Import, change: Any, expected: str, form: str) -> None:
    run.rules.strict = True
    bad = {"channel": "ios", "token": "bad", **change}
    if form == "csv":
        names = list(bad)
        end = "," * (len(names) - 2)
        rows = [",".join(names), f"ios,t1{end}", ",".join(str(v) for v in bad.values()), f"ios,t2{end}"]
    else:
        rows = [
            "",
            *(json.dumps(row) for row in ({"channel": "ios", "token": "t1"}, bad, {"channel": "ios", "token": "t2"})),
        ]
    summary = run("\n".join(rows) + "\n")
    assert list(run.node.rows) == [("ios", "t1"), ("ios", "t2")]
    assert (summary.inserted, summary.rejected) == (2, 1)
    assert len(run.told) == 1
    assert run.told[0].startswith("base line 3: ")
    assert expected in run.told[0]
    kept = run.rejected.read_text().splitlines()
    assert kept == ([rows[0]] if form == "csv" else []) + [rows[2]]
    assert run.rejected.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("{", "line: "),
        ("nonsense", "line: "),
        ("[1]", "line: an array where an object belongs"),
        ('{"token":"a"}', "channel: is missing"),
        ('{"channel":"ios","token":7}', "token: 7 is not valid"),
        ('{"channel":"ios","token":"a"},{"channel":"ios","token":"b"}', "line: "),
        ('{"channel":"ios","token":"\udcff"}', "line: byte 0xff at column 27 is not UTF-8"),
        ("\x00\x01", "line: "),
    ],
)
def test_a_line_that_is_no_record_is_told(run: Import, line: str, expected: str) -> None:
    raw = b'{"channel":"ios","token":"t"}\n' + line.encode("utf-8", "surrogateescape") + b"\n"
    assert run(raw).inserted == 1
    assert run.told[0].startswith(f"base line 2: {expected}")
    assert run.rejected.read_bytes() == line.encode("utf-8", "surrogateescape") + b"\n"


def test_what_was_rejected_can_be_mended_and_imported_again(run: Import) -> None:
    run("channel,token,tz\nios,a b,Europe/Berlin\nios,b,Europe/Berlin\n")
    mended = run.rejected.read_text().replace("a b", "a")
    assert run(mended).inserted == 1
    assert set(run.node.rows) == {("ios", "a"), ("ios", "b")}


def test_csv_records_may_span_lines_and_slices(run: Import) -> None:
    rows = "".join(f'ios,t{i},"{{""a"":\n""{i}""}}"\n' for i in range(1000))
    assert run("channel,token,fields\n" + rows).inserted == 1000
    assert run.node.rows["ios", "t999"]["fields"] == {"a": "999"}
    run("channel,token,fields\n" + rows + "ios,,\n")
    assert run.told[0].startswith("base line 2002: token")


def test_a_quote_that_never_closes_costs_one_line(run: Import) -> None:
    rows = [f"ios,t{i},x" for i in range(900)]
    rows[10] = 'ios,t10,"x'
    summary = run("channel,token,screen\n" + "\n".join(rows) + "\n")
    assert (summary.inserted, summary.rejected) == (899, 1)
    assert run.told == ['base line 12: line: a quote is opened but never closed (write a quote within quotes as "")']
    assert run.rejected.read_text() == 'channel,token,screen\nios,t10,"x\n'


def test_broken_utf8_costs_one_line_even_within_an_open_quote(run: Import) -> None:
    raw = b'channel,token,screen\nios,a,"x\n\xff\nios,b,x\nios,c,\xe4\nios,d,x\n'
    assert run(raw).inserted == 2
    assert sorted(line.split(":")[0] for line in run.told) == ["base line 2", "base line 3", "base line 5"]


def test_a_row_of_another_width_is_told(run: Import) -> None:
    run("channel,token,screen\nios,a\nios,b,c,d\nios,e,f\n")
    assert "has 2 columns where the header has 3" in run.told[0]
    assert "has 4 columns where the header has 3" in run.told[1]
    assert len(run.node.rows) == 1


def test_an_endless_line_is_passed_on_in_pieces(run: Import) -> None:
    endless = b'{"channel":"ios","token":"' + b"x" * (3 * lines_module.MAX_LINE) + b'"}\n'
    good = ndjson(2).encode()
    summary = run(good + endless + ndjson(3).encode())
    assert (summary.inserted + summary.updated, summary.rejected) == (5, 1)
    assert run.told[0] == "base line 3: line: is longer than 256 KiB (one subscriber a line)"
    assert run.rejected.read_bytes() == endless
    run(good + endless.rstrip(b"\n"))
    assert run.rejected.read_bytes() == endless


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"channel,token\n", "has no subscribers, only a header"),
        (b"[]", "has no subscribers"),
        (b"channel,token,token\n", 'columns "token" and "token" both mean token'),
        (b"channel,tokens\n", 'the header has no column token (is it "tokens"?'),
        (b"token\n", "the header has no column channel"),
        (b"ios,abc\n", "the header has no column channel"),
        (b"channel,tok\xff\n", "the header is not UTF-8"),
        (b'"channel,token\n', "the header is not CSV"),
        (b"\x1f\x8b123", "the gzip data is damaged or cut off"),
        (b"PK\x03\x04abc", "is a spreadsheet"),
    ],
)
def test_a_file_that_is_unusable_as_a_whole_is_refused(run: Import, content: bytes, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        run(content)
    assert str(caught.value).startswith("base")
    assert expected in str(caught.value)
    assert run.node.rows == {}


def test_only_the_first_bad_lines_are_told(run: Import) -> None:
    summary = run(ndjson(30, token="a b") + ndjson(1))
    assert summary.rejected == 30
    assert len(run.told) == 21
    assert run.told[-1] == "base: 10 more bad lines, not shown"
    assert len(run.rejected.read_text().splitlines()) == 30


def test_requests_are_bounded_and_overlap(run: Import) -> None:
    under_way, most = 0, 0
    lock, overlapped = threading.Lock(), threading.Event()

    def slow(body: bytes) -> ImportedLines:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
            if under_way > 1:
                overlapped.set()
        overlapped.wait(20)
        with lock:
            under_way -= 1
        return run.node.upsert(body)

    assert run(ndjson(12_000), slow).inserted == 12_000
    assert max(run.node.requests) <= 2_500
    assert 2 <= most <= 4


def test_a_row_that_only_the_node_refuses_is_rejected_too(run: Import) -> None:
    def picky(body: bytes) -> ImportedLines:
        lines = body.splitlines()
        bad = [n for n, row in enumerate(plain(body), 1) if row["token"] in ("t3", "t700")]
        answer = run.node.upsert(b"\n".join(line for n, line in enumerate(lines, 1) if n not in bad))
        faults = [
            LineFault(line=n, field="channel", value="ios", detail="no such channel", remedy="add it") for n in bad
        ]
        return msgspec.structs.replace(answer, refused=len(bad), faults=faults)

    summary = run(ndjson(1000), picky)
    assert (summary.inserted, summary.rejected) == (998, 2)
    assert run.told == [
        "base line 4: channel: no such channel (add it)",
        "base line 701: channel: no such channel (add it)",
    ]
    assert [json.loads(line)["token"] for line in run.rejected.read_text().splitlines()] == ["t3", "t700"]


def test_a_node_that_goes_away_ends_the_import_with_advice(run: Import) -> None:
    def gone(body: bytes) -> ImportedLines:
        if b'"t0"' not in body:
            raise NodeUnreachable("no node at http://x")
        return run.node.upsert(body)

    with pytest.raises(NodeUnreachable, match=r"2,500 rows of base were stored .*updated, not doubled"):
        run(ndjson(10_000), gone)


def test_a_node_that_refuses_everything_ends_the_import(run: Import) -> None:
    def full(body: bytes) -> ImportedLines:
        raise ApiError(507, "Tarantool's memory is full")

    with pytest.raises(ApiError, match="memory is full"):
        run(ndjson(10_000), full)


@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_an_export_can_be_imported(tmp_path: Path, form: Any) -> None:
    one, other = Import(tmp_path), Import(tmp_path)
    one(ndjson(700, fields={"a": 'x "y", z\n'}, tags=["a", "b"], tz="Asia/Tokyo", best_minute=0) + ndjson(1))
    stored = [{"id": n, **row} for n, row in enumerate(one.node.rows.values(), 1)]

    def page(limit: int, cursor: str) -> bytes:
        rows = [row for row in stored if row["id"] > int(cursor or 0)][: min(limit, 300)]
        return json.dumps({"items": rows, "next": str(rows[-1]["id"]) if rows else None}).encode()

    out = io.BytesIO()
    assert export(page, out, form) == 700
    assert other(out.getvalue()).inserted == 700
    assert other.node.rows == one.node.rows
    assert other.told == []


@given(st.binary(max_size=400), st.sampled_from([b"", b"channel,token,fields\n", b'{"channel":"ios","token":"t"}\n']))
def test_no_file_breaks_the_import(tmp_path_factory: pytest.TempPathFactory, content: bytes, start: bytes) -> None:
    run = Import(Path(tmp_path_factory.getbasetemp()))
    with contextlib.suppress(UsageError):
        run(start + content)
    assert all("\n" not in line for line in run.told)


def test_a_problem_reads_as_one_line() -> None:
    assert str(Problem("tz", '"x" is not valid', "a zone")) == 'tz: "x" is not valid (a zone)'


CHANNELS = {"ios-news": "apns", "android-news": "fcm"}
DEVICE = "8b0e7153bf7c3706d85c524e440066559a6656c90bd5482a90a29b9fa5ff5180"
REGISTRATION = "beBBfvvrcgio4cV8MyYqvK:APA91b" + "cld16f-0q87hl93c5b5r6vuwj8r4vxs1mbpf8eiydc9bqsbnkf_6l" * 2
NO_TOKENS = {
    ("ios-news", "NULL"): '"NULL", of channel ios-news (apns), is a word for nothing',
    ("ios-news", r"\N"): "is a word for nothing",
    ("android-news", "(null)"): "is a word for nothing",
    ("ios-news", "6F9619FF-8B86-D011-B42D-00C04FC964FF"): "is a UUID",
    (
        "ios-news",
        REGISTRATION,
    ): "is not hexadecimal, as Apple's tokens are (this looks like a token of fcm: is the channel",
    ("android-news", DEVICE): "this looks like a token of apns: is the channel right?",
    ("android-news", "ExponentPushToken[5576075d502b4be114e3dd]"): "is a token of Expo's own service",
    ("ios-news", DEVICE[:40]): '"8b0e7153…" (40 characters), of channel ios-news (apns), has 40 digits',
}


@pytest.mark.parametrize("csv", [True, False])
def test_what_is_no_token_of_its_channels_platform_is_told_by_its_line(tmp_path: Path, csv: bool) -> None:
    """A5: it would be taken for a phone, and rejected in every campaign for ever."""
    run = Import(tmp_path, CHANNELS)
    rows = [("ios-news", DEVICE), ("android-news", REGISTRATION), *NO_TOKENS]
    lines = [
        f"{channel},{token}" if csv else json.dumps({"channel": channel, "token": token}) for channel, token in rows
    ]
    summary = run("\n".join(["channel,token", *lines] if csv else lines) + "\n")
    assert (summary.inserted, summary.rejected) == (2, len(NO_TOKENS))
    assert run.rejected.read_text().splitlines()[csv:] == lines[2:]
    for number, (told, said) in enumerate(zip(run.told, NO_TOKENS.values(), strict=True), 3 + csv):
        assert told.startswith(f"base line {number}: token: ")
        assert said in told
        assert DEVICE not in told
        assert REGISTRATION not in told


def test_a_phone_is_worth_more_than_the_form_of_its_token(tmp_path: Path) -> None:
    """A4: the node writes these in one form, so the import lets them pass."""
    run = Import(tmp_path, CHANNELS)
    written = [DEVICE.upper(), f"<{DEVICE[:8]} {DEVICE[8:]}>", f" {DEVICE} "]
    rows = [{"channel": "ios-news", "token": token} for token in written]
    rows += [{"channel": "android-news", "token": REGISTRATION.replace(":", "%3A")}]
    assert run("".join(json.dumps(row) + "\n" for row in rows)).rejected == 0
    assert run.told == []
