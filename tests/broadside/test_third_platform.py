"""A new platform is files of its own and two entry points; the product changes nowhere.

This one is made up (``pager/``) and installed beside the product: configured, diagnosed, simulated, imported to and
fired at like those that are built in.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.broadside.test_node_end_to_end import NodeProcess

PAGER = Path(__file__).parent / "pager"
ENTRY_POINTS = """\
[broadside.transports.v1]
pager = pager_platform:PLATFORM

[broadside.twins]
pager = pager_twin:build_twin
"""
TWIN = """\
[node]
workers = 1
[supervision]
spare = false
[http]
bind = "127.0.0.1:0"
[channels.club]
platform = "pager"
app = "bowls"
twin = true
"""
RUNNER = """
import sys
from pathlib import Path
from broadside.config.config import load
from broadside.node.program import run_node
sys.exit(run_node(load(Path(sys.argv[1]) / "broadside.toml")))
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a node may live, for processes that find the platform installed."""
    site = tmp_path / "site"
    shutil.copytree(PAGER, site)
    (site / "pager-1.0.dist-info").mkdir()
    (site / "pager-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: pager\nVersion: 1.0\n")
    (site / "pager-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    house = tmp_path / "house"
    house.mkdir()
    return house


def broadside(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit code and all that was said."""
    command = [sys.executable, "-m", "broadside.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def node(installed: Path) -> Iterator[NodeProcess]:
    (installed / "broadside.toml").write_text(TWIN)
    node = NodeProcess(installed)
    node.runner = RUNNER
    yield node
    if node.process is not None and node.process.poll() is None:
        node.process.kill()
        node.process.wait(10)


@pytest.mark.timeout(400)  # seven processes start in it
def test_a_platform_is_its_own_files_and_two_entry_points(installed: Path, node: NodeProcess) -> None:
    node.start().wait_for("serving;", 100)
    assert "pushes go to twins of pager" in node.output.read_text()
    base = installed / "base.csv"
    rows = ["channel,token,kind", "club,123-4567,number", "club,1234568,number", "club,1234569,number"]
    base.write_text("\n".join([*rows, "club,12,number", "club,1234567,pigeon", ""]))
    code, said = broadside(installed, "subscribers", "import", str(base))
    assert code == 1
    assert "3 new, 0 updated, 2 rejected" in said
    assert 'token: "12", of channel club (pager), is no pager\'s number (a pager has a number of 7 digits)' in said
    assert 'kind: "pigeon" is not valid (token or fid or number)' in said

    code, said = broadside(installed, "fire", "--title", "Bowls at eight, all of you", "--body", "x", "--dry-run")
    assert code == 2
    assert said.startswith("club: refused here: message.title: a pager shows 20 letters; shorten it\n")
    code, said = broadside(installed, "campaign", "preview", "--title", "Bowls")
    assert code == 0
    assert "club (pager), default text, awake: 5 of 20 bytes\n  campaign: " in said
    assert "club (pager), asleep: message: a pager always beeps" in said
    code, said = broadside(installed, "fire", "--title", "Bowls", "--body", "at eight", "--wait", "--json")
    assert code == 0
    tally = json.loads(next(line for line in said.splitlines() if line.startswith("{")))["channels"]["club"]
    assert (tally["delivered"], tally["rejected"]) == (2, 1)
    assert node.ledger() == {"1234567": 1, "1234568": 1}

    code, said = broadside(installed, "doctor")
    assert "ok club: goes to a twin that the node runs" in said
    assert code == 0
    assert node.end() == 0


def test_its_credentials_are_its_own(installed: Path) -> None:
    config = '[channels.club]\nplatform = "pager"\napp = "bowls"\ncredentials = { pin = "%s" }\n'
    (installed / "broadside.toml").write_text(config % "12")
    code, said = broadside(installed, "doctor")
    assert code == 1
    assert 'channels.club.credentials.pin: "12" is not 4 digits (the PIN on the contract)' in said
    (installed / "broadside.toml").write_text((config % "4711").replace("pin", "pen"))
    assert 'credentials.pen: unknown key (did you mean "pin"?)' in broadside(installed, "doctor")[1]
    (installed / "broadside.toml").write_text(config % "4711")
    assert "ok club: the pager credentials load" in broadside(installed, "doctor")[1]


def test_its_twin_has_a_command(installed: Path) -> None:
    assert "Run the twin of the pager network." in broadside(installed, "twin", "--help")[1]
