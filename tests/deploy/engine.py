"""`./dev containers`: builds the image with Docker and lives with the compose file's ring, as its head says.

It needs an engine that answers (``docker version``) and Compose (``docker compose version``). A ring of two nodes
starts by the commands in the file's head. A node reloads its configuration at SIGHUP, another one's process is killed
while a campaign is under way, and the twins' ledgers say who got the news; then one container after another is stopped.
A machine that reaches no registry makes the base image itself: ``--base``, by debootstrap, as root.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.deploy.chroot import TRUSTED, Chroot, run

ROOT = Path(__file__).parents[2]
COMPOSE = "deploy/containers/compose.yaml"
NODES, STORES = ("node-1", "node-2"), ("store-1", "store-2")
DATA = "/var/lib/broadside/node"
PHONES = 100_000
"""Of the campaign in which a node is killed: enough that it is under way for some seconds."""
PATIENCE = 900.0
"""Seconds that a command may take, the build included."""
PERSON = 1000
"""A user whom the containers do not know: the checkout's owner."""
BASE = "debian:bookworm-slim"
_CA = "/mnt/ca.crt"


def say(text: str) -> None:
    print(f"containers: {text}", flush=True)


def make_base(folder: Path, architecture: str) -> None:
    """Make Debian's image as Debian does, by debootstrap, and give it to the engine under the same name."""
    suite = re.fullmatch(r"debian:(\w+)-slim", BASE)
    assert suite is not None
    made = Chroot(folder / "root", suite[1], architecture=architecture)
    environment = ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
    if TRUSTED.exists():
        (made.root / _CA.lstrip("/")).write_bytes(TRUSTED.read_bytes())
        environment += [f"PIP_CERT={_CA}", f"SSL_CERT_FILE={_CA}"]
    image = folder / "image"
    image.mkdir()
    run("tar", "-C", str(made.root), "-cf", str(image / "layer.tar"), ".")
    digest = run("sha256sum", str(image / "layer.tar")).split()[0]
    config = {
        "architecture": architecture, "os": "linux", "config": {"Env": environment, "Cmd": ["bash"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }  # fmt: skip
    (image / "config.json").write_text(json.dumps(config))
    manifest = [{"Config": "config.json", "RepoTags": [BASE], "Layers": ["layer.tar"]}]
    (image / "manifest.json").write_text(json.dumps(manifest))
    # `docker import` knows only the engine's own architecture
    run("sh", "-c", 'tar -C "$0" -c . | docker load', str(image))


class Ring:
    """The compose file's containers."""

    def __init__(self, clone: Path) -> None:
        self.clone = clone
        self.folder = (clone / COMPOSE).parent

    def compose(self, *arguments: str, **more: object) -> str:
        return run("docker", "compose", *arguments, cwd=self.folder, **more)

    def broadside(self, *arguments: str, **more: object) -> str:
        """The command line in the first node's container."""
        return self.compose("exec", "-T", "node-1", "broadside", *arguments, "--data", DATA, **more)

    def follow(self) -> None:
        """Run the command of the page that builds the image, and those of the compose file's head, word by word."""
        page = (self.clone / "docs/containers.md").read_text()
        with_debians, with_ours = re.findall(r"^docker build .+$", page, re.M)
        self._carry_out(with_ours if "TARANTOOL_FROM" in os.environ else with_debians, self.clone)
        head = (self.clone / COMPOSE).read_text().partition("\nname:")[0]
        commands = re.findall(r"^#   (.+)$", head, re.M)
        assert len(commands) == 3, commands
        for command in commands:
            self._carry_out(command, self.folder)

    def _carry_out(self, command: str, folder: Path) -> None:
        began = time.monotonic()
        say(command)
        said = run("sh", "-c", command, cwd=folder, timeout=PATIENCE).strip().splitlines()
        say(f"… took {time.monotonic() - began:.0f} s{f': {said[-1]}' if said else ''}")

    def container(self, service: str) -> Any:
        """What the engine knows of it."""
        found = self.compose("ps", "--all", "-q", service).strip()
        return json.loads(run("docker", "inspect", found))[0]

    def report(self, campaign: str) -> Any:
        return json.loads(self.broadside("campaign", "show", campaign, "--json"))

    def pushes(self, campaign: str) -> Counter[str]:
        """Token → pushes of this campaign, in the ledgers of all nodes' twins."""
        got: Counter[str] = Counter()
        for service in NODES:
            ledgers = self.compose("exec", "-T", service, "sh", "-c", f"cat {DATA}/twins/*.ledger")
            entries = (json.loads(line) for line in ledgers.splitlines())
            got.update(entry["token"] for entry in entries if entry.get("collapse") == campaign)
        return got


@contextmanager
def ring(tarantool: Path | None) -> Iterator[Ring]:
    """A clone of the last commit, whose containers and volumes are gone in the end."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="broadside-containers-") as folder:
        clone = Path(folder) / "broadside"
        run("git", "clone", "-q", str(ROOT), str(clone))
        if tarantool is not None:
            shutil.copy2(tarantool, clone / "tarantool")
        if os.geteuid() == 0:  # as a person's own, whom the containers do not know
            run("chown", "-R", f"{PERSON}:{PERSON}", str(clone))
        made = Ring(clone)
        try:
            yield made
        except BaseException:
            for words in (("ps", "--all"), ("logs", "--tail", "20")):
                print(made.compose(*words), flush=True)
            raise
        finally:
            subprocess.run(
                ["docker", "compose", "down", "--volumes", "--timeout", "5"],
                cwd=made.folder, capture_output=True, check=False,
            )  # fmt: skip


def as_the_file_says(made: Ring, architecture: str) -> None:
    """Each container is healthy, has a read-only root, and has written nothing into it."""
    for service in (*STORES, *NODES):
        known = made.container(service)
        state, host = known["State"], known["HostConfig"]
        assert state["Health"]["Status"] == "healthy", (service, state)
        assert known["Config"]["User"] == "10001:10001", service
        assert json.loads(run("docker", "image", "inspect", known["Image"]))[0]["Architecture"] == architecture
        assert host["ReadonlyRootfs"], service
        assert host["CapDrop"] == ["ALL"], service
        changed = run("docker", "diff", known["Id"]).splitlines()
        # the engine makes the places where it mounts files
        written = [line for line in changed if not re.fullmatch(r"[AC] /(run|etc)(/(secrets|broadside)(/.*)?)?", line)]
        assert not written, (service, written)
    version = made.compose("exec", "-T", "store-1", "tarantool", "--version").partition("\n")[0]
    say(f"{version}, {architecture}")
    say("all four are healthy, user 10001, read-only, without capabilities; nothing was written into the image")


def kill_a_node(made: Ring) -> None:
    """Kill a node's process in the middle of a campaign: the engine restarts it, and everybody gets the news."""
    rows = "".join(
        json.dumps({"channel": "ios-news", "token": f"{n:064x}", "country": "DE", "tags": ["killed"]}) + "\n"
        for n in range(1, PHONES + 1)
    )
    made.compose("exec", "-T", "node-1", "sh", "-c", "cat > /tmp/phones.ndjson", input=rows)
    made.broadside("subscribers", "import", "/tmp/phones.ndjson", "--rejected", "/tmp/rejected")
    fired = made.broadside("fire", "--title", "Killed", "--body", "In the middle", "--tag", "killed", "--json")
    campaign = json.loads(fired)["id"]
    known = made.container("node-2")
    while (seen := made.report(campaign))["state"] == "accepted":
        time.sleep(0.05)
    os.kill(known["State"]["Pid"], signal.SIGKILL)
    delivered = sum(each["delivered"] for each in seen["channels"].values())
    say(f"node-2's process 1 is killed; just before, {delivered:,} of {PHONES:,} were delivered")
    deadline = time.monotonic() + 180
    while (seen := made.report(campaign))["state"] != "done":
        assert time.monotonic() < deadline, seen
        time.sleep(0.5)
    while (now := made.container("node-2"))["State"]["Health"]["Status"] != "healthy":
        assert time.monotonic() < deadline, now["State"]
        time.sleep(0.5)
    assert now["RestartCount"] == known["RestartCount"] + 1, now["RestartCount"]
    got = made.pushes(campaign)
    lost = PHONES - len(got)
    twice = sum(got.values()) - len(got)
    say(f"the engine restarted it; {len(got):,} of {PHONES:,} phones got the news, lost {lost}, twice {twice}")
    assert not lost, f"{lost} phones did not get the news"


def reload(made: Ring) -> None:
    """SIGHUP reaches process 1, which reloads its configuration."""
    made.compose("kill", "--signal", "HUP", "node-2")
    deadline = time.monotonic() + 60
    while "configuration reloaded" not in made.compose("logs", "node-2"):
        assert time.monotonic() < deadline, "no reload within 60 s"
        time.sleep(0.5)
    say("SIGHUP to process 1 reloads the configuration")


def stop(made: Ring) -> None:
    """Stop the containers in order: each ends by itself, in time, with exit code 0."""
    for service in (*NODES, *reversed(STORES)):
        began = time.monotonic()
        made.compose("stop", service)
        state = made.container(service)["State"]
        assert state["ExitCode"] == 0 and not state["OOMKilled"], (service, state)  # noqa: PT018 - one thought
        say(f"{service} stopped in {time.monotonic() - began:.1f} s, exit code 0")
    made.compose("up", "--wait", "--no-build")
    listed = made.broadside("campaign", "list")
    assert "Killed" in listed, listed
    say("started again: the campaigns are still there")


def main() -> None:
    parser = argparse.ArgumentParser(prog="./dev containers", description=__doc__.partition("\n")[0])
    parser.add_argument("--base", action="store_true", help=f"make {BASE} here, where no registry is reached")
    native = run("docker", "version", "--format", "{{.Server.Arch}}").strip()
    parser.add_argument(
        "--arch", default=native, help=f"amd64 or arm64; another than {native} is emulated (by qemu-user)"
    )
    parser.add_argument("--tarantool", type=Path, metavar="FILE", help="give the image this Tarantool")
    chosen = parser.parse_args()
    began = time.monotonic()
    if chosen.tarantool is not None:
        os.environ["TARANTOOL_FROM"] = "file"
    os.environ["DOCKER_DEFAULT_PLATFORM"] = f"linux/{chosen.arch}"
    say(f"engine {run('docker', 'version', '--format', '{{.Server.Version}}').strip()}, for linux/{chosen.arch}")
    say(run("docker", "compose", "version").strip())
    if chosen.base:
        with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="broadside-base-") as folder:
            make_base(Path(folder), chosen.arch)
        say(f"{BASE} is made by debootstrap")
    with ring(chosen.tarantool) as made:
        made.follow()
        as_the_file_says(made, chosen.arch)
        reload(made)
        kill_a_node(made)
        stop(made)
    say(f"all in {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
