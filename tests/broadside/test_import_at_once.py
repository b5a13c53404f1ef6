"""An import reads many rows at once, in several processes, and nobody can see that from its result."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broadside.api.base_records import ImportedLines
from broadside.api.subscriber import Subscriber, all_stored_form, latest_registration
from broadside.api.token_rules import DeviceTokens
from broadside.errors import UsageError
from broadside.imports import judging, sender
from broadside.imports import resume as resume_module
from broadside.imports import rules as rules_module
from broadside.imports.formats import csv_rows, json_rows, pieces, source
from broadside.imports.importer import Summary, import_file
from broadside.imports.mapping import Column as MapColumn
from broadside.imports.mapping import MapFile, Mapping
from broadside.imports.readers import parts
from broadside.imports.readers.piece_reader import Layout, PieceReader
from broadside.imports.readers.reader_processes import ReaderDied, ReaderProcesses
from broadside.imports.resume import Resume
from broadside.imports.rules import Rules
from tests.broadside.sent_lines import plain
from tests.broadside.test_node_end_to_end import gone
from tests.draws import drawn

CHANNELS = {"ios-news": "apns", "android-news": "fcm"}
MAP = MapFile(
    columns={
        "locale": "locale",
        "os": MapColumn("platform", values={"ios": "apns", "android": "fcm"}),
        "gone": MapColumn(skip=["t"]),
        "topics": MapColumn("tags", split=";"),
        "nick": "fields.nick",
    }
)


@dataclass
class Seen:
    """Everything that can be seen of an import."""

    summary: Summary | None
    error: str
    rows: list[Any]
    told: list[str]
    rejected: bytes


def taking_one(body: bytes) -> ImportedLines:
    return ImportedLines(inserted=1, updated=0)


def seen(
    content: bytes, folder: Path, *, strict: bool = False, map_file: MapFile | None = None, processes: int = 1
) -> Seen:
    told: list[str] = []
    rows: list[Any] = []
    rejected = folder / "base.rejected"
    rejected.unlink(missing_ok=True)

    def upsert(body: bytes) -> ImportedLines:
        found = plain(body)
        rows.extend(found)
        return ImportedLines(inserted=len(found), updated=0)

    summary, error = None, ""
    rules = Rules(DeviceTokens(CHANNELS), strict=strict, mapping=Mapping(map_file), latest=1_900_000_000_000)
    try:
        summary = import_file(
            io.BytesIO(content), "base", rejected, upsert, rules, tell=told.append, processes=processes
        )
    except UsageError as wrong:
        error = str(wrong)
    rows.sort(key=json.dumps)  # requests overlap
    kept = rejected.read_bytes() if rejected.exists() else b""
    return Seen(summary and replace(summary, seconds=0.0), error, rows, told, kept)


def one_by_one(patch: pytest.MonkeyPatch) -> None:
    """Have every record read alone, and every row judged alone."""
    patch.setattr(csv_rows, "_at_once", lambda lines, header: None)
    patch.setattr(json_rows, "_each_decoded", lambda lines: None)
    patch.setattr(json_rows, "_objects_at_once", lambda text: None)
    patch.setattr(judging, "_named", lambda columns, rules: None)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
SOMETIMES = st.one_of(st.just(""), st.none(), TEXT, st.integers(-3, 2000), st.booleans(), st.floats(0, 2), st.just([]))
TOKEN = st.one_of(
    st.integers(0, 9).map(lambda n: f"{n:064x}"),
    st.sampled_from([" " + "A" * 64, "a:" + "x9_-" * 40, "NULL", "a" * 66, "a" * 514]),
)
ATTRIBUTES: dict[str, st.SearchStrategy[Any]] = {
    "channel": st.sampled_from(["ios-news", "android-news", " ios-news", "web", "", "iOS"]),
    "token": TOKEN,
    "kind": st.sampled_from(["token", "", "fid", " token ", "email"]),
    "locale": st.sampled_from(["de", "pt_BR", "zh_CN_#Hans", "english", "NULL", ""]),
    "tz": st.sampled_from(["GMT+3", "Europe/Berlin", "-18000", "Nowhere", -18000, ""]),
    "country": st.sampled_from(["DEU", "DE", "", "ZZ"]),
    "screen": TEXT,
    "best_minute": st.sampled_from(["08:30", 510, True, 1, 1.0, "noon", 0, ""]),
    "tags": st.one_of(
        st.sampled_from(["a|b", '{"sport":"1","n":"A"}', '["a"]', "a|\x1b|b", ""]),
        st.lists(st.one_of(TEXT, st.integers(0, 1), st.booleans(), st.just([])), max_size=3),
        st.dictionaries(TEXT, st.one_of(TEXT, st.integers(0, 1), st.booleans()), max_size=2),
    ),
    "fields": st.one_of(st.just('{"a":1}'), st.dictionaries(TEXT, SOMETIMES, max_size=2), TEXT),
    "registered_at": st.one_of(
        st.sampled_from(["2026-10-01 08:00:00 UTC", "2026-10-01T10:00:00.123Z", "2026-10-01", "never", 1_700_000_000]),
        st.datetimes().map(lambda at: at.isoformat(" ", "seconds")),
    ),
    "fields.nick": TEXT,
    "colour": TEXT,
    "os": st.sampled_from(["iOS", "android", "bada", ""]),
    "gone": st.sampled_from(["f", "T", ""]),
    "topics": st.sampled_from(["a;b", "", "a"]),
    "nick": TEXT,
}
NAMES = st.lists(st.sampled_from(list(ATTRIBUTES)), unique=True, max_size=6).map(lambda more: ["token", *more])


@st.composite
def files(draw: st.DrawFn, form: str, most: int = 12) -> bytes:
    """A file of the form; some of its rows are broken."""
    names = draw(NAMES)
    if draw(st.integers(0, 3)):
        names = list(dict.fromkeys(["channel", *names]))
    records = [
        {name: draw(ATTRIBUTES[name] if draw(st.integers(0, 9)) else SOMETIMES) for name in names}
        for _ in range(draw(st.integers(1, most)))
    ]
    if form == "csv":
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator=draw(st.sampled_from(["\n", "\r\n", "\r"])))
        writer.writerow(names)
        lines = []
        for record in records:
            text = io.StringIO(newline="")
            cells = [json.dumps(cell) if isinstance(cell, dict | list) else cell for cell in record.values()]
            csv.writer(text, lineterminator="\n").writerow(cells)
            lines.append(text.getvalue().encode())
        head = ",".join(names).encode() + b"\n"
        return head + b"".join(_broken(draw, lines))
    absent = draw(st.booleans())
    objects = [json.dumps({k: v for k, v in record.items() if v != "" or not absent}).encode() for record in records]
    if form == "ndjson":
        return (
            b'{"channel":"ios-news","token":"'
            + b"a" * 64
            + b'"}\n'
            + b"".join(_broken(draw, [each + b"\n" for each in objects]))
        )
    between = draw(st.sampled_from([b",", b",\n", b"\n"]))
    return b"[" + between.join(_broken(draw, objects)) + b"]"


def _broken(draw: st.DrawFn, lines: list[bytes]) -> list[bytes]:
    """Break a line, or none."""
    if draw(st.booleans()):
        at = draw(st.integers(0, len(lines) - 1))
        lines[at] = draw(
            st.sampled_from([b'"' + lines[at], lines[at][:-3], b"\n" + lines[at], b"\xff\n", b"{\n", b"1,\n"])
        )
    return lines


FORMS = ["csv", "ndjson", "json"]


@pytest.fixture(scope="module", autouse=True)
def _one_lookup() -> Iterator[None]:
    """The platforms are looked up once, not for each drawn file."""
    tokens = DeviceTokens(CHANNELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rules_module, "DeviceTokens", lambda channels: tokens)
        yield


DRAWN = settings(
    max_examples=drawn(15), suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None
)


@pytest.mark.parametrize("form", FORMS)
@DRAWN
@given(data=st.data(), strict=st.booleans(), mapped=st.booleans())
def test_rows_read_at_once_become_what_they_become_one_by_one(
    tmp_path_factory: pytest.TempPathFactory, form: str, data: st.DataObject, strict: bool, mapped: bool
) -> None:
    """Issue 20, 1: reading many rows at once changes no row, no count, no example, no rejected line."""
    content = data.draw(files(form))
    folder = tmp_path_factory.getbasetemp()
    map_file = MAP if mapped else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_rows, "SLICE", 5)
        patch.setattr(json_rows, "SLICE", 5)
        at_once = seen(content, folder, strict=strict, map_file=map_file)
        one_by_one(patch)
        assert at_once == seen(content, folder, strict=strict, map_file=map_file)


def test_numbers_and_truths_that_are_equal_in_python_are_different_values(tmp_path: Path) -> None:
    """Issue 20, 1: 1, 1.0 and true are one key of a dict."""
    row = '{{"channel":"ios-news","token":"{:064x}","best_minute":{},"tags":[{}]}}\n'
    written = "".join(row.format(n, *pair) for n, pair in enumerate([("1", "true"), ("true", "1"), ("1.0", '"1"')]))
    found = seen(written.encode(), tmp_path)
    assert [(row.get("best_minute"), row.get("tags")) for row in found.rows] == [(1, None), (None, None), (1, ["1"])]


def lines(form: str, rows: int) -> list[bytes]:
    """Rows of a file, with conversions, other values in each, and a token that is none in every fortieth."""
    tokens = ["NULL" if n % 40 == 39 else f"{n:064x}" for n in range(rows)]
    zones = ["GMT+3", "Nowhere", "Europe/Berlin", "-18000", "", "Nowhere either"]
    if form == "csv":
        return [f'ios-news,{t},{zones[n % 6]},"{{""n"":""{n % 7}""}}"\n'.encode() for n, t in enumerate(tokens)]
    records = [
        {"channel": "ios-news", "token": t, "tz": zones[n % 6], "tags": {"n": str(n % 7)}} for n, t in enumerate(tokens)
    ]
    return [json.dumps(record).encode() for record in records]


def whole(form: str, rows: list[bytes]) -> bytes:
    if form == "csv":
        return b"channel,token,tz,tags\n" + b"".join(rows)
    return b"\n".join([*rows, b""]) if form == "ndjson" else b"[" + b",".join(rows) + b"]"


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of some kilobytes have many pieces, and go to processes at once."""
    monkeypatch.setattr(source, "_BLOCK", 2_048)
    monkeypatch.setattr(pieces, "PIECE", 1_024)
    monkeypatch.setattr(parts, "ALONE", 3)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("form", FORMS)
def test_several_processes_see_what_one_sees_wherever_the_pieces_are_cut(tmp_path: Path, form: str) -> None:
    """Issue 20, 1: the same rows, counts, examples, and the same rejected lines in the order of the file."""
    rows = lines(form, 600)
    if form == "csv":
        rows[100] = rows[100].replace(b'"{', b'"\n\n{')  # a record of three lines
        rows[200] = b'ios-news,"open\n'
        rows[300] = b'"' + b"x" * 5_000 + b'\n",y,z,\n'  # a record longer than a piece
    else:
        rows[200] = b'{"channel":"ios-news","token":"' + b"b" * 64 + b'","fields":{"a":"},{"}}'
        rows[300] = b'{"a":[{"b":"' + b"},{" * 1_500 + b'"},{}]}'  # an object longer than a piece
        rows[400] = b"{" if form == "ndjson" else b"1"
    content = whole(form, rows)
    one = seen(content, tmp_path)
    several = seen(content, tmp_path, processes=3)
    assert one == several
    assert one.summary is not None
    assert one.summary.rejected >= 15
    numbers = [int(line.split(":")[0].rsplit(" ", 1)[1]) for line in one.told if " line " in line]
    assert numbers == sorted(numbers)


@pytest.mark.usefixtures("small_pieces")
@settings(max_examples=2, suppress_health_check=list(HealthCheck), deadline=None)
@given(data=st.data(), form=st.sampled_from(FORMS))
def test_several_processes_see_what_one_sees_in_any_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, form: str
) -> None:
    """Issue 20, 1: drawn files."""
    content = data.draw(files(form))
    head, body = content.split(b"\n", 1) if form == "csv" else (b"", content)
    content = (head + b"\n" if form == "csv" else b"") + body * 40
    folder = tmp_path_factory.getbasetemp()
    assert seen(content, folder) == seen(content, folder, processes=2)


def unheard(text: str) -> None:
    """Whoever cares reads it elsewhere."""


class Kill(BaseException):
    """The import ends at once."""


@pytest.mark.usefixtures("small_pieces")
@settings(max_examples=8, suppress_health_check=list(HealthCheck), deadline=None)
@given(form=st.sampled_from(FORMS), request=st.integers(1, 12), rows=st.integers(1, 900))
def test_an_import_that_was_killed_anywhere_goes_on_and_stores_every_row_once_or_again(
    tmp_path_factory: pytest.TempPathFactory, form: str, request: int, rows: int
) -> None:
    """Issue 20, 1: the rows that are not sent again are those that were stored; an array on one line counts too."""
    folder = tmp_path_factory.getbasetemp()
    file = folder / "base"
    file.write_bytes(whole(form, lines(form, rows)))
    state = folder / "base.resume"
    state.unlink(missing_ok=True)
    stored: set[str] = set()

    def importing(*, go_on: bool, killed_at: int = 0) -> Summary:
        requests = 0

        def upsert(body: bytes) -> ImportedLines:
            nonlocal requests
            requests += 1
            if requests == killed_at:
                raise Kill
            found = plain(body)
            stored.update(row["token"] for row in found)
            return ImportedLines(inserted=len(found), updated=0)

        with file.open("rb") as opened:
            resume = Resume(file, go_on=go_on)
            return import_file(opened, "base", None, upsert, Rules(DeviceTokens(CHANNELS)), tell=unheard, resume=resume)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sender, "_REQUEST_ROWS", 60)
        patch.setattr(sender, "SLICE", 20)
        patch.setattr(csv_rows, "SLICE", 20)
        patch.setattr(json_rows, "SLICE", 20)
        patch.setattr(resume_module, "_EVERY", 0.0)
        try:
            importing(go_on=False, killed_at=request)
        except Kill:
            before = len(stored)
            summary = importing(go_on=state.exists())
            assert summary.sent_before <= before
            assert summary.sent_before + summary.inserted >= rows - rows // 40
            if form == "json" and request > 8:
                assert summary.sent_before > 0
    assert len(stored) == sum(n % 40 != 39 for n in range(rows))
    assert not state.exists()


@pytest.mark.usefixtures("small_pieces")
def test_a_reader_that_dies_ends_the_import_with_advice_and_the_import_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Issue 20, 1: a process can be killed when memory is short; the import must not wait for it for ever."""
    file = tmp_path / "base.csv"
    file.write_bytes(whole("csv", lines("csv", 12_000)))
    started: list[ReaderProcesses] = []
    begin = ReaderProcesses.__init__

    def noted(self: ReaderProcesses, *arguments: Any) -> None:
        begin(self, *arguments)
        started.append(self)

    monkeypatch.setattr(ReaderProcesses, "__init__", noted)
    stored: set[str] = set()

    def upsert(body: bytes) -> ImportedLines:
        found = plain(body)
        stored.update(row["token"] for row in found)
        return ImportedLines(inserted=len(found), updated=0)

    def importing(progress: Callable[[int, int], None], *, go_on: bool) -> Summary:
        with file.open("rb") as opened:
            return import_file(
                opened,
                "base.csv",
                None,
                upsert,
                Rules(DeviceTokens(CHANNELS)),
                tell=unheard,
                progress=progress,
                resume=Resume(file, go_on=go_on),
                processes=2,
            )

    def kill(done: int, rows: int) -> None:
        if rows > 2_000 and started:
            reader = started.pop().ids[0]
            os.kill(reader, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # it was waited for already
                os.waitid(os.P_PID, reader, os.WEXITED | os.WNOWAIT)

    with pytest.raises(ReaderDied, match=r"killed by signal 9; at least [\d,]+ rows of .* go on with --resume"):
        importing(kill, go_on=False)
    assert importing(lambda done, rows: None, go_on=True).sent_before > 0
    assert len(stored) == 11_700


@pytest.mark.usefixtures("small_pieces")
def test_a_file_is_read_while_the_other_processes_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Issue 20, 1: the start takes as long as some ten thousand rows, and a smaller file is over before."""
    slow = tmp_path / "slow"
    slow.write_text("#!/bin/sh\nexec sleep 20\n")
    slow.chmod(0o700)
    content = whole("csv", lines("csv", 600))
    alone = seen(content, tmp_path)
    monkeypatch.setattr(sys, "executable", str(slow))
    started: list[ReaderProcesses] = []
    begin = ReaderProcesses.__init__

    def noted(self: ReaderProcesses, *arguments: Any) -> None:
        begin(self, *arguments)
        started.append(self)

    monkeypatch.setattr(ReaderProcesses, "__init__", noted)
    assert seen(content, tmp_path, processes=3) == alone
    assert len(started[0].ids) == 2
    assert gone(started[0].ids, 10)


def test_a_readers_process_loads_only_what_reading_needs() -> None:
    """Issue 20, 1: a second of start is a second in which nothing is read."""
    code = "import sys, broadside.imports.readers.serving; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "broadside.imports.judging" in loaded
    of_others = {"asyncio", "trio", "httpx", "cyclopts", "rich", "subprocess", "logging", "babel"}
    assert not {*of_others, "campaigns.campaign", "broadside.api.campaign_report"} & set(loaded)


@pytest.mark.parametrize("between", [b",", b", ", b",\n  ", b"\n,\n"])
@pytest.mark.parametrize("fault", [b"", b"1"])
def test_a_piece_of_an_array_leaves_nothing_to_the_next_one(between: bytes, fault: bytes) -> None:
    """Issue 20, 1: each piece left its last comma, and so all but the first were read twice."""
    objects = [*lines("json", 5_000), fault]
    text = b"[" + between.join(filter(None, objects)) + b"]"
    blocks = iter([text[at : at + 100_000] for at in range(0, len(text), 100_000)])
    cut = list(pieces.cut_at_objects(blocks))
    assert len(cut) == 2
    reader = PieceReader(Layout("json"), Rules(DeviceTokens(CHANNELS)).settings)
    read = [reader.read(piece) for piece in cut]
    assert read[0].taken == len(cut[0].text)
    assert sum(part.lines for part in read) == text.count(b"\n")
    assert sum(fragment.rows for part in read for fragment in part.fragments) == 4_875


ENDLESS = """
import io, itertools, sys
from broadside.api.subscriber import Subscriber, all_stored_form, latest_registration
from broadside.api.token_rules import DeviceTokens
from broadside.imports.readers import parts, reader_processes
from broadside.imports.importer import import_file
from broadside.imports.rules import Rules

class Rows(io.RawIOBase):
    def __init__(self):
        self.rows = itertools.chain([b"channel,token\\n"], (b"ios,%0400d\\n" % n for n in itertools.count()))
    def readable(self):
        return True
    def read(self, size=-1):
        return b"".join(itertools.islice(self.rows, 1_000))[:size]

def progress(done, rows):
    if started:
        print(*started.pop().ids, flush=True)

started = []
parts.ALONE = 1
begin = reader_processes.ReaderProcesses.__init__
def noted(self, *arguments):
    begin(self, *arguments)
    started.append(self)
reader_processes.ReaderProcesses.__init__ = noted
import_file(Rows(), "rows", None, None, Rules(DeviceTokens({})), tell=print, progress=progress, processes=3)
"""


def test_an_import_killed_by_the_system_leaves_no_reader_behind() -> None:
    """Issue 20, 1: readers end when their import does, however that happens."""
    importing = subprocess.Popen([sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, text=True)
    assert importing.stdout is not None
    readers = [int(pid) for pid in importing.stdout.readline().split()]
    importing.kill()
    importing.wait()
    importing.stdout.close()
    assert len(readers) == 2
    assert gone(readers, 30)


def test_rows_with_tags_that_are_stored_as_they_are_need_no_reading_one_by_one() -> None:
    """Issue 20, 1: the node read each row of a request again as soon as one had tags, as an import's rows do."""
    row = Subscriber(channel="ios", token="a", locale="pt-BR", tags=["sport", "team=Reds"], fields={"a": "b"})
    latest = latest_registration()
    assert all_stored_form([row], latest)
    for tags in (["a", "a"], [" a"], ["a|b"], ["\x1b"]):
        assert not all_stored_form([Subscriber(channel="ios", token="a", tags=tags)], latest)


def test_a_row_read_with_others_costs_less_than_half_of_what_it_costs_by_itself(tmp_path: Path) -> None:
    """Issue 20, 1: 70,000 rows a second with all conversions. Measured: a fifth (docs/benchmarks.md)."""
    content = whole("csv", [line for line in lines("csv", 10_000) if b"NULL" not in line])
    rules = Rules(DeviceTokens(CHANNELS))

    def cost() -> float:
        begun = time.process_time()
        import_file(
            io.BytesIO(content),
            "base",
            tmp_path / "bad",
            taking_one,
            rules,
            tell=unheard,
        )
        return time.process_time() - begun

    at_once = min(cost(), cost(), cost())
    with pytest.MonkeyPatch.context() as patch:
        one_by_one(patch)
        assert at_once < cost() / 2
