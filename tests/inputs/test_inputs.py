"""The command that tries files: over files made here, of the kinds that broke something."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOKENS = [f"{n:064x}" for n in range(1, 6)]
DEEP = "[" * 5_000 + "]" * 5_000
CHANNEL = '[channels.ios-news]\nplatform = "apns"\napp = "com.example.news"\n'
FILES: dict[str, str | bytes] = {
    "15-excel-sep-line.csv": "sep=;\r\nchannel;token\r\n" + "".join(f"ios-news;{token}\r\n" for token in TOKENS),
    "23-body-only.json": json.dumps({"message": {"title": "", "body": "Bridge closed"}}),
    "25-latin1-body.json": '{"message":{"title":"Größere Störung","body":"Züge"}}'.encode("latin-1"),
    "26b-deep-subscribers.json": f'[{{"channel":"ios-news","token":"00","zz":{DEEP}}}]',
    "31-data-types.json": json.dumps({"message": {"title": "T", "data": {"id": 5, "live": True}}}),
    "34-options-booleans.json": json.dumps({"apns": {"aps": {"mutable-content": True}}}),
    "51-windows-path.toml": CHANNEL + 'credentials = { key = "C:\\Users\\key.p8", key_id = "A", team_id = "B" }\n',
    "README.md": "what these files are",
}


def tried(folder: Path) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "-m", "tests.inputs", folder], cwd=ROOT, capture_output=True, text=True)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def written(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.tarantool
@pytest.mark.timeout(240)
def test_every_file_that_broke_something_is_taken_or_refused_as_its_row_says(tmp_path: Path) -> None:
    """D2, D3, D4, E7, S14: by a real node and the real command line."""
    code, lines = tried(written(tmp_path, FILES))
    assert [line for line in lines if "DIFFERS" in line] == []
    assert (code, lines[-1]) == (0, f"{len(FILES) - 1} files, 0 differ")
    assert [line.split()[0] for line in lines[:-1]] == sorted(FILES.keys() - {"README.md"})


def test_a_file_that_meets_another_fate_is_named_and_the_command_fails(tmp_path: Path) -> None:
    maker = "import pathlib, sys\n(pathlib.Path(sys.argv[1]) / '99-new.csv').write_text('channel,token')\n"
    code, lines = tried(written(tmp_path, {"51-windows-path.toml": CHANNEL, "make-large": maker}))
    assert (code, lines[-1]) == (1, "2 files, 2 differ: 51-windows-path.toml, 99-new.csv")
    assert "does not say 'line 4'" in lines[0]
    assert "nobody has said what must become of it" in lines[1]


def test_a_folder_without_files_proves_nothing(tmp_path: Path) -> None:
    assert tried(tmp_path) == (1, [])
