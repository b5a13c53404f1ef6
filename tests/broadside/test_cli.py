"""The command line against a small server that speaks the node's API."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from broadside import cli
from broadside.api.campaign_report import CampaignReport
from broadside.cli import waiting
from broadside.datafolder import DataFolder
from broadside.errors import DataFolderError, NodeUnreachable
from tests.broadside.fake_node import ID, FakeNode, Said, broadside, folder, node, report

__all__ = ["broadside", "folder", "node"]  # fixtures


def process(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "broadside.cli", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment, **options)


def test_help_teaches_commands_examples_and_exit_codes(broadside: Said) -> None:
    code, out, _ = broadside("--help")
    assert code == 0
    for word in (
        "node",
        "fire",
        "campaign",
        "subscribers",
        "twin",
        "doctor",
        "3  no node answers",
        "BROADSIDE_DEBUG=1",
    ):
        assert word in out


@pytest.mark.parametrize(
    "command",
    [
        "node",
        "fire",
        "campaign list",
        "campaign show",
        "subscribers import",
        "subscribers count",
        "subscribers export",
        "twin apns",
        "twin fcm",
        "dead list",
        "dead confirm",
        "dead keep",
        "dead restore",
        "doctor",
    ],
)
def test_every_command_has_help_and_a_sentence_per_option(broadside: Said, command: str) -> None:
    code, out, _ = broadside(*command.split(), "--help")
    assert code == 0
    assert "--config" in out
    assert "--data" in out
    options = [line.split("│")[1].strip(" *") for line in out.splitlines() if line.startswith("│")]
    named = [line for line in options if line.startswith("--")]
    assert all(len(line.split()) >= 2 for line in named), named


EIGHT = 1_795_935_600_000
"""2026-11-29 08:00 in Vienna, in ms UTC."""


def test_a_later_start_is_told_with_its_time_and_waited_for(broadside: Said, node: FakeNode) -> None:
    later = {"start": EIGHT, "zone": "Europe/Vienna", "fired_at": None, "channels": {}}
    node.zone, node.answered = "Europe/Vienna", report("scheduled", 0, **later)
    code, out, err = broadside("fire", "--title", "T", "--at", "08:00", "--expires", "12:00")
    assert code == 0
    assert out.startswith(f"scheduled campaign {ID}: starts 2026-11-29 08:00 Europe/Vienna (07:00 UTC)")
    assert f"campaign cancel {ID}" in err
    (fired,) = node.fired
    assert (fired["when"], fired["expires"]) == ("2026-11-29T08:00:00+01:00", "2026-11-29T12:00:00+01:00")

    node.streams = [[node.answered, report("missed", 0, **later, notes=["missed its start"], reached=True)]]
    code, out, err = broadside("fire", "--title", "T", "--at", "08:00", "--wait")
    assert code == 1
    assert f"scheduled campaign {ID}: starts 2026-11-29 08:00" in err
    assert f"campaign {ID} is missed" in out
    assert "missed its start" in out

    node.campaigns = [node.answered]
    assert "2026-11-29 08:00 Europe/Vienna (07:00 UTC)" in broadside("campaign", "list")[1]
    assert "start     2026-11-29 08:00 Europe/Vienna (07:00 UTC)" in broadside("campaign", "show", ID)[1]


def test_a_local_start_without_a_newsrooms_zone_is_refused_with_what_to_write(broadside: Said, node: FakeNode) -> None:
    code, _, err = broadside("fire", "--title", "T", "--at", "08:00")
    assert code == 2
    assert "[newsroom]" in err
    assert node.fired == []


def test_version(broadside: Said) -> None:
    assert broadside("--version")[1].startswith("broadside 0.")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fire"], "--title: is empty, and so is --body (write what the phone should show)"),
        (["fire", "--titel", "x"], "Did you mean --title"),
        (["fire", "Flood", "now"], '"Flood", "now": not expected here; put a text in quotes, and its option\'s name'),
        (["campaign", "lst"], "(see broadside campaign --help)"),
        (["campain"], "campaign"),
        (["fire", "--title", " ", "--body", "\n"], "--title: is empty"),
        (["fire", "--title", "x", "--body", "x", "--ttl", "soon"], '--ttl: "soon" is not a duration (write 90s, 15m'),
        (["campaign", "show", "abc"], "an id has 13"),
        (["subscribers", "import", "none.csv"], "none.csv: no such file or directory (name a CSV or NDJSON file"),
        (["subscribers", "import", "--no-such"], "option"),
        (["subscribers", "export", "--json"], "--json: needs --output FILE"),
        (["subscribers", "export", "--output", "/no/such/file"], "/no/such/file: cannot be written"),
        (["fire", "--title", "x", "--body", "x", "--dry-run", "--wait"], "--wait: a dry run fires nothing to wait for"),
        (["fire", "--title", "x", "--skip", "--adapt"], "--skip and --adapt: choose one"),
        (["twin", "apns", "--port", "x"], '--port: unable to convert "x"'),
        (["doctor", "--config", "none.toml", "--nope"], "--nope"),
        (["node", "--config", "none.toml"], "no such file (copy broadside.example.toml"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line(
    broadside: Said, node: FakeNode, arguments: list[str], expected: str
) -> None:
    code, out, err = broadside(*arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert len(err.splitlines()) == 1


def test_without_a_node_the_way_to_start_one_is_told(broadside: Said) -> None:
    for arguments in (["campaign", "list"], ["subscribers", "count"], ["fire", "--title", "a", "--body", "b"]):
        code, out, err = broadside(*arguments)
        assert (code, out) == (3, "")
        assert "start it: broadside node" in err


def test_a_node_that_died_is_not_asked(broadside: Said, folder: DataFolder) -> None:
    with folder.locked():
        FakeNode(folder).close()
        node_json = folder.node_json.read_bytes()
        assert broadside("campaign", "list")[0] == 3  # the port is closed
    folder.node_json.write_bytes(node_json)
    assert "no node is running" in broadside("campaign", "list")[2]  # the lock is free


def test_another_folders_key_is_refused_with_advice(broadside: Said, node: FakeNode) -> None:
    node.key = "other"
    code, _, err = broadside("campaign", "list")
    assert code == 2
    assert err == "the key is wrong (the key in the data folder is not this node's: is --data right?)\n"


def test_fire_hands_the_message_over_whole(broadside: Said, node: FakeNode) -> None:
    code, out, err = broadside(
        *("fire", "--title", "hot  news", "--body", "-20 °C", "--channel", "ios", "--channel", "a", "--ttl", "2h"),
        *("--url", "https://x", "--skip", "--kind", "breaking"),
    )
    assert (code, out) == (0, f"fired campaign {ID}: ios (100 subscribers)\n")
    assert f"broadside campaign watch {ID}" in err
    message = {"title": "hot  news", "body": "-20 °C", "url": "https://x"}
    rest = {"channels": ["ios", "a"], "kind": "breaking", "ttl_seconds": 7200, "on_objection": "skip"}
    assert node.fired == [{"message": message, **rest}]


def test_fire_hands_over_options_and_then_leaves_the_texts_to_the_platforms(
    broadside: Said, node: FakeNode, tmp_path: Path
) -> None:
    file = tmp_path / "options.json"
    options = {"apns": {"push_type": "background"}, "fcm": {"notification": None}}
    file.write_text(json.dumps(options))
    assert broadside("fire", "--options", str(file))[0] == 0
    assert node.fired[0]["message"] == {"options": options}
    file.write_text("\ufeff" + json.dumps(options))  # E4: an editor on Windows adds this mark
    assert broadside("fire", "--options", str(file))[0] == 0
    assert node.fired[1]["message"]["options"] == options


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not found (name a JSON file)"),
        ("{", "is not JSON: "),
        ("[]", 'is not an object of objects (write the options by platform, as in {"apns": {"NAME": "value"}})'),
        ('{"apns": 5}', "is not an object of objects"),
    ],
)
def test_a_bad_file_of_options_is_named(
    broadside: Said, node: FakeNode, tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "options.json"
    if content is not None:
        file.write_text(content)
    code, out, err = broadside("fire", "--title", "a", "--body", "b", "--options", str(file))
    assert (code, out, node.fired) == (2, "", [])
    assert f'--options: file "{file}"'[:50] in err
    assert words in err


def test_fire_to_an_unknown_channel_tells_what_is_known(broadside: Said, node: FakeNode) -> None:
    code, _, err = broadside("fire", "--title", "a", "--body", "b", "--channel", "nope")
    assert (code, err) == (2, 'channels: "nope" is no channel (known: ios)\n')


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["accepted", "checked"], 0),
        (["accepted", "refused"], 1),
        (["accepted", "unanswered"], 1),
        (["refused", "invalid"], 2),
    ],
)
def test_a_dry_run_is_a_line_a_channel_and_fires_nothing(
    broadside: Said, node: FakeNode, words: list[str], expected: int
) -> None:
    node.verdicts = {
        name: {"verdict": word, "text": f"{word} so", "asked": 5, "accepted": 0, "adapted": []}
        for name, word in zip(("android-news", "ios-news"), words, strict=True)
    }
    node.verdicts["ios-news"]["adapted"] = ["the body is cut"]
    fire = ("fire", "--title", "a", "--body", "b", "--dry-run")
    code, out, err = broadside(*fire)
    assert (code, err) == (expected, "")
    assert out == f"android-news: {words[0]} so\nios-news: {words[1]} so; adapted: the body is cut\n"
    code, out, _ = broadside(*fire, "--json")
    assert (code, json.loads(out)) == (expected, {"channels": node.verdicts, "notes": []})
    assert node.fired == []


def test_fire_asks_for_a_message_adapted_to_each_platform(broadside: Said, node: FakeNode) -> None:
    """D8"""
    assert broadside("fire", "--title", "a", "--adapt")[0] == 0
    assert node.fired[0]["on_objection"] == "adapt"


def test_fire_and_wait_returns_when_done(broadside: Said, node: FakeNode) -> None:
    code, out, err = broadside("fire", "--title", "a", "--body", "b", "--wait")
    assert (code, err) == (0, f"fired campaign {ID}\n")
    assert out == f"campaign {ID} is done: 2.0 s, 50 pushes/s\n  ios: 98 delivered, 2 dead\n"


def test_a_campaign_is_watched_to_its_end_with_a_line_for_each_state(broadside: Said, node: FakeNode) -> None:
    """Issue 22.5: without an id the newest one; elsewhere than on a terminal plain lines."""
    node.campaigns = []
    code, _, err = broadside("campaign", "watch")
    assert (code, "there is no campaign to watch" in err) == (2, True)
    listed = (
        "id",
        "state",
        "kind",
        "lane",
        "created_at",
        "fired_at",
        "finished_at",
        "start",
        "zone",
        "seconds",
        "rate",
    )
    node.campaigns = [{name: report("firing", 40)[name] for name in (*listed, "held", "channels", "message")}]
    node.streams = [[report("firing", 40), report("paused", 41, paused_channels={"ios": "its key"}), report("done")]]
    code, out, err = broadside("campaign", "watch")
    assert code == 0
    assert f"campaign {ID}: Hot [news]" in err
    lines = out.splitlines()
    assert [line.partition(":")[0] for line in lines[:4]] == ["firing", "paused", "  ios is paused", "done"]
    assert lines[0].startswith("firing: 42 are settled")
    assert lines[4].startswith(f"campaign {ID} is done")
    node.streams = [[report("firing", 40), report("cancelled", 40)]]
    code, out, _ = broadside("campaign", "watch", ID.upper(), "--json")
    assert code == 1
    assert [json.loads(line)["state"] for line in out.splitlines()] == ["firing", "cancelled"]
    code, _, err = broadside("campaign", "watch", "short")
    assert (code, "campaign list shows the ids" in err) == (2, True)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("broadside cam", {"campaign"}),
        ("broadside campaign wa", {"watch"}),
        ("broadside campaign watch --js", {"--json"}),
        ("broadside completion fi", {"fish"}),
    ],
)
def test_bash_completes_what_is_typed(script: Path, typed: str, offered: set[str]) -> None:
    """Issue 22.5."""
    words = typed.split()
    asked = (
        f"source {script}; COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}; "
        f"_broadside broadside {words[-1]} {words[-2]}; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(["bash", "--norc", "-c", asked], capture_output=True, text=True, check=True)
    assert {line.strip() for line in done.stdout.splitlines() if line} == offered
    assert not done.stderr


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script of `broadside completion bash`, as the command writes it into a file."""
    path = tmp_path_factory.mktemp("completion") / "broadside"
    with process("completion", "bash") as printing:
        text, _ = printing.communicate(timeout=60)
    path.write_text(text)
    return path


def test_every_shell_has_its_script_and_no_other(broadside: Said) -> None:
    """Issue 22.5."""
    for shell, mark in (("zsh", "#compdef broadside"), ("fish", "complete -c broadside")):
        code, out, _ = broadside("completion", shell)
        assert (code, mark in out) == (0, True)
    code, _, err = broadside("completion", "tcsh")
    assert (code, "bash" in err) == (2, True)


def test_fire_and_wait_fails_when_cancelled(broadside: Said, node: FakeNode) -> None:
    node.streams = [[report("cancelled", 40)]]
    code, out, _ = broadside("fire", "--title", "a", "--body", "b", "--wait", "--json")
    assert code == 1
    assert json.loads(out)["state"] == "cancelled"


def test_waiting_goes_on_through_a_restart_and_says_why_a_channel_is_paused(broadside: Said, node: FakeNode) -> None:
    paused = report("firing", 40, paused_channels={"ios": "Apple refuses the key."})
    node.streams = [[paused, paused], [], [report()]]
    code, out, err = broadside("fire", "--title", "a", "--body", "b", "--wait")
    assert code == 0
    assert "is done" in out
    assert err.count("ios is paused: Apple refuses the key.") == 1


def test_waiting_follows_a_node_to_its_new_port_and_gives_up_in_the_end(
    node: FakeNode, folder: DataFolder, capfd: pytest.CaptureFixture[str]
) -> None:
    node.close()
    other = FakeNode(folder)
    other.streams = [[report("firing")], [report()]]
    fired = msgspec.json.decode(json.dumps(report("firing")), type=CampaignReport)
    assert waiting.wait_for(folder, fired).state == "done"
    other.close()
    with pytest.raises(NodeUnreachable, match="the campaign goes on: broadside campaign show"):
        waiting.wait_for(folder, fired, patience=0.05)
    assert capfd.readouterr().err.count("the node does not answer") == 1


def test_interrupting_the_wait_says_that_the_campaign_goes_on(node: FakeNode) -> None:
    node.streams = [[report("firing", 40)]]
    node.hang.clear()
    waiter = process("fire", "--title", "a", "--body", "b", "--wait")
    deadline = time.monotonic() + 20
    while node.streams and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)
    waiter.send_signal(signal.SIGINT)
    _, err = waiter.communicate(timeout=20)
    assert waiter.returncode == 130
    assert f"the campaign goes on: broadside campaign show {ID}" in err
    assert "Traceback" not in err


def test_campaigns_are_plain_when_piped_and_drawn_on_a_terminal(broadside: Said, node: FakeNode) -> None:
    code, out, _ = broadside("campaign", "list")
    assert code == 0
    head, line = (line.split("\t") for line in out.splitlines())
    found = dict(zip(head, line, strict=True))
    assert (found["id"], found["title"], found["delivered"]) == (ID, "Hot [news]", "98")
    # a real terminal: colours and columns
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "broadside.cli", "campaign", "list"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TERM": "xterm", "COLUMNS": "140"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen(command, stdout=child, stderr=subprocess.DEVNULL, env=environment) as drawn:
        os.close(child)
        assert drawn.wait(20) == 0
    text = os.read(parent, 65536).decode()
    os.close(parent)
    assert "\x1b[1m" in text
    assert "Hot [news]" in text


def test_campaign_show_tells_channels_and_reasons(broadside: Said, node: FakeNode) -> None:
    code, out, _ = broadside("campaign", "show", ID.upper())
    assert code == 0
    assert f"campaign  {ID}, done" in out
    assert "rate      50 pushes/s" in out
    assert "ios\t100\t98\t2\t0\t0\t0\t0\t0\t0" in out
    assert "ios: 2 × Unregistered" in out
    assert json.loads(broadside("campaign", "show", ID, "--json")[1]) | {} == report()


def test_campaign_show_counts_at_the_cut_line_if_asked(broadside: Said, node: FakeNode) -> None:
    """25.4"""
    cut = {"accepted": 90, "refused": 2, "may_have_it": 0, "on_tubes": 3, "not_walked": 5}
    node.campaigns = [report("paused", cut=cut)]
    code, out, err = broadside("campaign", "show", ID, "--exact")
    assert (code, err) == (0, "")
    assert "cut line: 90 accepted, 0 may have it, 3 on tubes, 5 not yet walked" in out
    assert node.asked[-1] == f"/v1/campaigns/{ID}?exact=true"
    broadside("campaign", "show", ID)
    assert node.asked[-1] == f"/v1/campaigns/{ID}", "as a node of an earlier version understands it"
    node.campaigns = [report()]
    code, _, err = broadside("campaign", "show", ID, "--exact")
    assert (code, "only a campaign that is stopped has a cut line" in err) == (0, True)
    code, _, err = broadside("campaign", "show", ID, "--exact", "--coverage")
    assert (code, "give one of them" in err) == (2, True)


EVIL = "a\x1b]0;owned\x07\x9b2J\x00\rb\u202ec\x7f"
TOLD = r"a\u001b]0;owned\u0007\u009b2J\u0000\u000db\u202ec\u007f"


def test_no_text_from_outside_can_steer_the_terminal(broadside: Said, node: FakeNode) -> None:
    """D5, S13: ESC, NUL and RLO in titles, reasons and sentences were printed as they came."""
    message = {"title": EVIL, "body": f"one\ncampaign  {ID}, done {EVIL}", "url": EVIL}
    node.campaigns = [report(message=message, reasons={"ios": {EVIL: 2}}, notes=[EVIL], questions={"ios": EVIL})]
    for command in (("campaign", "show", ID), ("campaign", "list")):
        code, out, err = broadside(*command)
        assert code == 0
        assert TOLD[:20] in out
        assert all(character.isprintable() or character in "\n\t" for character in out + err)
        assert not any(line.startswith("campaign  ") for line in out.splitlines()[1:]), (
            "a body is no line of the report"
        )
        code, out, _ = broadside(*command, "--json")
        assert all(character.isprintable() or character == "\n" for character in out)
        found = json.loads(out)
        told = found["campaigns"][0]["title"] if command[1] == "list" else found["message"]
        assert told == (EVIL if command[1] == "list" else message), "JSON keeps its meaning"


@pytest.mark.parametrize("form", ["ndjson", "csv"])
def test_an_export_is_harmless_on_a_terminal_and_exact_elsewhere(broadside: Said, node: FakeNode, form: str) -> None:
    """S13: C1 controls and RLO in attributes reached the terminal as they came."""
    evil = "a\x9b2J\u202eb\x85"
    node.rows = {("ios", "a"): {"channel": "ios", "token": "a", "fields": {"name": evil}, "tags": [evil, "ö"]}}
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "broadside.cli", "subscribers", "export", "--format", form]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONUTF8": "1"}
    with subprocess.Popen(command, stdout=child, stderr=subprocess.DEVNULL, env=environment) as exporter:
        os.close(child)
        assert exporter.wait(20) == 0
    shown = os.read(parent, 65536).decode().replace("\r\n", "\n")
    os.close(parent)
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert r"a\u009b2J\u202eb\u0085" in shown
    assert "ö" in shown
    exact = subprocess.run(command, capture_output=True, env=environment, check=True).stdout
    assert evil.encode() in exact
    if form == "ndjson":
        assert json.loads(shown) == json.loads(exact)


def test_no_campaign_yet(broadside: Said, node: FakeNode) -> None:
    node.campaigns = []
    assert broadside("campaign", "list") == (0, "", "no campaign yet (fire one: broadside fire --title T --body B)\n")
    assert json.loads(broadside("campaign", "list", "--json")[1]) == {"campaigns": []}
    code, _, err = broadside("campaign", "show", "bbbbbbbbbbbbb")
    assert (code, err) == (2, "no campaign bbbbbbbbbbbbb (campaign list shows the ids)\n")


def test_import_count_export(broadside: Said, node: FakeNode, tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("channel,token,tz\nios,a,Asia/Tokyo\nios,b b,\nios,c,Tokyo time\n")
    code, out, err = broadside("subscribers", "import", "b.csv")
    assert code == 1
    assert out.startswith("b.csv: 2 new, 0 updated, 1 rejected; ")
    assert err.splitlines() == [
        'b.csv line 3: token: "b b" is not valid (1 to 1024 printable characters without blanks)',
        'tz: 1 dropped ("Tokyo time")',
        "the rejected lines are in b.csv.rejected: fix them and import that file",
    ]
    assert (tmp_path / "b.csv.rejected").read_text() == "channel,token,tz\nios,b b,\n"
    assert broadside("subscribers", "count")[1] == "channel\tsubscribers\nios\t2\ntotal\t2\n"
    assert json.loads(broadside("subscribers", "count", "--json")[1]) == {"total": 2, "channels": {"ios": 2}}

    code, out, err = broadside("subscribers", "export", "--output", "out.csv")
    assert (code, out, err) == (0, "", "out.csv: 2 subscribers\n")
    assert (tmp_path / "out.csv").stat().st_mode & 0o777 == 0o600
    assert "a,token,,Asia/Tokyo" in (tmp_path / "out.csv").read_text()
    code, out, _ = broadside("subscribers", "export")
    assert [json.loads(line)["token"] for line in out.splitlines()] == ["a", "c"]

    code, out, _ = broadside("subscribers", "import", "out.csv", "--json")
    assert code == 0
    summary = json.loads(out)
    assert (summary["inserted"], summary["updated"], summary["rejected_file"]) == (0, 2, None)


def test_import_from_stdin(node: FakeNode, tmp_path: Path) -> None:
    importer = process("subscribers", "import", "-", stdin=subprocess.PIPE)
    out, err = importer.communicate('{"channel":"ios","token":"a"}\n{"channel":"ios"}\n', timeout=20)
    assert importer.returncode == 1
    assert out.startswith("stdin: 1 new, 0 updated, 1 rejected")
    assert err.startswith("stdin line 2: token: is missing")
    assert (tmp_path / "stdin.rejected").read_text() == '{"channel":"ios"}\n'


def test_a_reader_that_leaves_early_is_no_error(node: FakeNode) -> None:
    node.rows = {("ios", str(n)): {"channel": "ios", "token": "t" * 100 + str(n)} for n in range(5000)}
    exporter = process("subscribers", "export")
    assert exporter.stdout is not None
    exporter.stdout.readline()
    exporter.stdout.close()
    assert exporter.wait(20) == 0
    assert exporter.stderr is not None
    assert exporter.stderr.read() == ""
    exporter.stderr.close()


def test_an_unexpected_error_is_short_and_has_a_traceback_on_request(
    broadside: Said, node: FakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    node.campaigns = [{"id": 3}]
    code, _, err = broadside("campaign", "list")
    assert code == 1
    assert len(err.splitlines()) == 1
    assert "BROADSIDE_DEBUG=1 shows where" in err
    monkeypatch.setenv("BROADSIDE_DEBUG", "1")
    with pytest.raises(Exception, match="Expected `str`"):
        cli.run(["campaign", "list"])


def test_a_second_node_on_the_same_folder_is_told_who_has_it(folder: DataFolder) -> None:
    with folder.locked():
        expected = rf"another node is running on it \(pid {os.getpid()}\) \(stop that node"
        with pytest.raises(DataFolderError, match=expected), DataFolder(folder.root).locked():
            pass
    assert not folder.in_use()
    with folder.locked():
        assert folder.in_use()


def test_the_data_folder_is_closed_to_others(folder: DataFolder, tmp_path: Path) -> None:
    with folder.locked():
        key = folder.key()
        assert DataFolder(folder.root).key() == key
        assert folder.root.stat().st_mode & 0o777 == 0o700
        for path in (folder.lock, folder.api_key):
            assert path.stat().st_mode & 0o777 == 0o600
    folder.root.chmod(0o755)
    with pytest.raises(DataFolderError, match="chmod 700"), folder.locked():
        pass
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(DataFolderError, match=r"is not a folder|cannot be made"), DataFolder(file).locked():
        pass
