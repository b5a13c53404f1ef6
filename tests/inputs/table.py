"""File → the fault that it caused (its row), and what must become of it now."""

from __future__ import annotations

from typing import Protocol

from tests.inputs import scripts
from tests.inputs.bases import Imported
from tests.inputs.lab import Input, Labs
from tests.inputs.messages import Fired, OptionsRefused, Refused
from tests.inputs.scripts import Scripted
from tests.inputs.settings import AtIpv6, Configured, Service, Unreachable


class Case(Protocol):
    """What must become of a file."""

    @property
    def row(self) -> str:
        """The row of the fault."""

    async def run(self, file: Input, labs: Labs) -> str:
        """Try the file; returns the figures, or raises ``Differs``."""


NO_CREDENTIALS = ("channels.ios-news.credentials", "are missing", "twin = true")

CASES: dict[str, Case] = {
    # bases
    "01-apns-token-case.csv": Imported(row="A4", taken=100, phones=50),
    "03-junk-quarter.csv": Imported(row="A3", taken=15_000, rejected=5_000, says=("not-hex", "token")),
    "04-fcm-token-shapes.ndjson": Imported(
        row="A5",
        taken=5,
        rejected=4,
        says=("a token of apns", "Expo's own service", "a browser's subscription", "has 10 characters"),
    ),
    "05-mixed.csv": Imported(row="A3 A5", taken=1_000, rejected=1_000, says=("a token of apns",)),
    "06-unknown-channel.csv": Imported(row="A6", taken=0, rejected=1_000, says=("did you mean ios-news?",)),
    "07-locales.csv": Imported(row="A7", taken=24, dropped={"locale": 4}),
    "09-timezones.csv": Imported(row="A7", taken=22, dropped={"tz": 2}),
    "10-onesignal-export.csv": Imported(row="D1", taken=15, left_out=5, preset="onesignal"),
    "10-onesignal-export.csv.gz": Imported(row="D1", taken=15, left_out=5, preset="onesignal"),
    "11-countries.csv": Imported(row="A7", taken=12, dropped={"country": 3}),
    "13-excel-unicode-text.txt": Imported(row="D2", taken=5),
    "13b-utf16le-without-bom.csv": Imported(row="D2", taken=5),
    "14-excel-semicolon.csv": Imported(row="D2", taken=20),
    "15-excel-sep-line.csv": Imported(row="D2", taken=5),
    "16-trailing-blanks.csv": Imported(row="D2", taken=5),
    "17-header-case.csv": Imported(row="D2", taken=5),
    "18-pinpoint-endpoints.csv": Imported(row="D1", taken=6, left_out=4, preset="pinpoint"),
    "18b-airship-channels.csv": Imported(row="D1", taken=10, preset="airship"),
    "20-duplicates.ndjson": Imported(row="A4", taken=6_000, phones=1),
    "21-trailing-comma.ndjson": Imported(row="D2", taken=3),
    "21b-json-array.json": Imported(row="D2", taken=3),
    "21c-pretty.ndjson": Imported(row="D2", taken=1),
    "22-cr-only.csv": Imported(row="D2", taken=5),
    "22b-nul-bytes.csv": Imported(row="D2", taken=2),
    "26b-deep-subscribers.json": Imported(
        row="S14", taken=0, rejected=1, says=("nested too deeply", "at most 16 levels")
    ),
    "41-two-channels-one-phone.csv": Imported(row="A4", taken=2),
    "56-small-base.csv": Imported(row="A1", taken=400),
    "58-old-base.csv": Imported(row="A2", taken=20_000),
    # messages
    "23-body-only.json": Fired(row="D3"),
    "23b-title-only.json": Fired(row="D3"),
    "24-unknown-message-keys.json": Refused(
        row="B9", field="message.priority", says=("unknown field", "title, body, url")
    ),
    "25-latin1-body.json": Refused(row="D4", field="body", says=("not UTF-8",)),
    "25c-utf16-body.json": Refused(row="D4", field="body", says=("UTF-16", "send UTF-8")),
    "26-deep.json": Refused(row="D4 S15", field="body", says=("nested too deeply", "16 levels")),
    "28-exactly-4096-apns.json": Fired(row="D6"),
    "28b-4097-apns.json": Refused(
        row="D6 D8", field="message", says=("4097 bytes", "4096", "shorten"), adapted=("ios-news", "ios-sport")
    ),
    "28c-emoji-1100.json": Refused(
        row="D6 D8",
        field="message",
        says=("bytes", "4096", "shorten"),
        adapted=("android-news", "ios-news", "ios-sport"),
    ),
    "29-string-alert-both-platforms.json": Fired(row="D3"),
    "29b-fcm-body-only.json": Fired(row="D3"),
    "30-data-keys.json": Fired(row="D8"),
    "31-data-types.json": Refused(row="D2", field="message.data.id", says=("5", "a text", 'write "5"')),
    "32-other-platform-3MB.json": Refused(row="D6", field="body", says=("2,097,152 bytes", "shorten"), status=413),
    "32b-other-platform-6MB.json": Refused(row="D6", field="body", says=("2,097,152 bytes", "shorten"), status=413),
    "33a-url.json": Fired(row="D7"),
    "33b-url.json": Refused(row="D7", field="message.url", says=("https://example.com/a b", "%20")),
    "33c-url.json": Refused(row="D7", field="message.url", says=("is empty", "leave it out")),
    "33d-url.json": Refused(row="D7", field="message.url", says=("javascript:alert(1)", "is code")),
    "33e-url.json": Refused(row="D5 D7", field="message.url", says=("U+0000", "leave it out")),
    "33f-url.json": Fired(row="D7"),
    "33g-url.json": Fired(row="D7"),
    "34-options-booleans.json": OptionsRefused(
        row="D2", says=("message.options.apns.aps.mutable-content", "true", "write 1")
    ),
    # configurations, and a service
    "38-bind.toml": Configured(
        row="E2", problems=(("http.bind", "0.0.0.0:8765", "give a certificate"), NO_CREDENTIALS)
    ),
    "44-bom.toml": Configured(row="E4 C9", problems=(NO_CREDENTIALS,)),
    "48-ipv6-origin.toml": AtIpv6(row="E7 S22", channel="ios-lab"),
    "51-windows-path.toml": Configured(row="E7", problems=(("line 4", "column 28", "'single quotes'"),)),
    "59-unreachable.toml": Unreachable(row="C3", channel="ios-news"),
    "62-systemd.service": Service(row="B4 C7"),
    # scripts of twins
    "05-fcm.script.toml": Scripted(row="A3", play=scripts.foreign_tokens, platform="fcm", base="05-mixed.csv"),
    "55-apns.script.toml": Scripted(row="B10", play=scripts.dead_connections, size=1_000),
    "56-apns.script.toml": Scripted(row="A1", play=scripts.wrong_key, base="56-small-base.csv"),
    "58-apns.script.toml": Scripted(row="A2", play=scripts.old_base, base="58-old-base.csv"),
}
