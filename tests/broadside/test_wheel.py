"""The wheel that `uv tool install` or `pipx install` takes is a whole `broadside`, with Lua, pages and runbooks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
PACKAGES = ("supervision", "campaigns", "transports", "storage", "actors", "simulators", "broadside")
CONFIGURATION = """
[http]
bind = "127.0.0.1:0"
[demo]
subscribers = 200
[newsroom]
quiet = "off"
[channels.ios-news]
platform = "apns"
app = "com.example.news"
twin = true
[channels.android-news]
platform = "fcm"
app = "example-news"
twin = true
"""

pytestmark = [
    pytest.mark.tarantool,
    pytest.mark.skipif(not UV.exists(), reason="uv is not here: ./dev setup installs it"),
]


def uv(*words: str, environment: dict[str, str]) -> None:
    done = subprocess.run([str(UV), *words], capture_output=True, text=True, cwd=ROOT, env=environment, timeout=90)
    assert done.returncode == 0, done.stderr


def outside(tmp_path: Path) -> dict[str, str]:
    """An environment that knows nothing of this checkout."""
    ours = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "COVERAGE_PROCESS_START")
    here = {name: value for name, value in os.environ.items() if name not in ours}
    return here | {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}


@pytest.mark.timeout(180)
def test_the_wheel_installs_as_a_tool_whose_demo_serves_pages_and_pushes(tmp_path: Path) -> None:
    environment = outside(tmp_path)
    uv("build", "-q", "--wheel", "-o", str(tmp_path), environment=environment)
    (wheel,) = tmp_path.glob("broadside-*.whl")
    tracked = subprocess.run(["git", "ls-files", *PACKAGES], capture_output=True, text=True, cwd=ROOT, check=True)
    missing = set(tracked.stdout.split()) - set(zipfile.ZipFile(wheel).namelist())
    assert not missing, "all that the packages have in this repository"

    # the versions of uv.lock: the newest ones are not this test's business, and those are in uv's cache
    locked = tmp_path / "locked.txt"
    words = ["--no-dev", "--no-emit-project", "--no-hashes", "-o", str(locked)]
    uv("export", "-q", "--frozen", *words, environment=environment)
    python = ["--python", sys.executable, "--constraints", str(locked)]
    uv("tool", "install", "-q", *python, str(wheel), environment=environment)
    program = tmp_path / "bin" / "broadside"
    here = tmp_path / "here"
    here.mkdir()
    (here / "broadside.toml").write_text(CONFIGURATION)

    def said(*words: str) -> str:
        done = subprocess.run(
            [program, *words], capture_output=True, text=True, cwd=here, env=environment, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "First steps:" in said("--help")
    assert "_broadside" in said("completion", "bash")
    assert said("example") == (ROOT / "broadside.example.toml").read_text()
    assert Path(said("schema", "server").strip()).is_relative_to(tmp_path / "tools")
    output = here / "output"
    with output.open("wb") as out:
        node = subprocess.Popen([program, "node"], stdout=out, stderr=subprocess.STDOUT, cwd=here, env=environment)
    try:
        deadline = time.monotonic() + 60
        while "serving;" not in output.read_text():
            assert node.poll() is None, output.read_text()
            assert time.monotonic() < deadline, output.read_text()
            time.sleep(0.05)
        assert "is done" in output.read_text(), "its sample campaign has reached the twins"
        link = said("key", "link").split()[-1]
        url = link.partition("/login")[0]
        with httpx.Client(base_url=url, headers={"origin": url}, timeout=20) as browser:
            page = browser.get("/login").text
            files = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
            assert files
            assert browser.post("/v1/session", json={"code": link.partition("#")[2]}).is_success
            for path in (*files, "/", "/campaigns", "/operator", "/operator/runbooks/disk-full"):
                assert browser.get(path).status_code == 200, path
        assert "!!" not in said("doctor")
    finally:
        node.send_signal(signal.SIGTERM)
        assert node.wait(60) == 0
