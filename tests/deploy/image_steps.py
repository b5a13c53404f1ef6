"""`./dev image-steps`: builds what deploy/containers/Dockerfile says, in a chroot that debootstrap makes, and runs it.

There is no container engine in this: the Dockerfile's instructions are carried out one by one, and the result runs as
the image would: as its user, with a read-only root, as process 1 of a PID namespace, without capabilities. It needs
root, Linux, and Debian's and Python's packages. What it cannot try: the other architecture, and an engine's own work.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.deploy.chroot import Chroot, run

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy/containers/Dockerfile"
CONFIG = """\
[node]
workers = 1
memory = "128 MB"
[http]
metrics_bind = "127.0.0.1:9765"
[demo]
[channels.ios-news]
platform = "apns"
app = "com.example.news"
twin = true
rate = 1000.0
"""


def say(text: str) -> None:
    print(f"image-steps: {text}", flush=True)


class Stage(Chroot):
    """One stage of the build: a root file system, and what the instructions have set."""

    def __init__(self, root: Path, image: str) -> None:
        suite = re.fullmatch(r"debian:(\w+)-slim", image)
        assert suite is not None, f"{image} is no image of Debian"
        say(f"FROM {image}")
        super().__init__(root, suite[1])
        self.folder = "/"
        self.settings: dict[str, str] = {}

    def carry_out(self, commands: str) -> None:
        """RUN."""
        say(f"RUN {commands[:90]} …" if len(commands) > 90 else f"RUN {commands}")
        self.shell(commands, self.folder)

    def copy(self, source: Path, target: str) -> None:
        """COPY."""
        into = self.root / (target if target.startswith("/") else f"{self.folder}/{target}").lstrip("/")
        into.mkdir(parents=True, exist_ok=True)
        run("cp", "-a", f"{source}/.", str(into))


def context(folder: Path) -> Path:
    """What .dockerignore leaves of this checkout."""
    listed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name in listed:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        run("cp", "-a", str(ROOT / name), str(folder / name))
    run("find", str(folder), "-name", "__pycache__", "-prune", "-exec", "rm", "-r", "{}", "+")
    return folder


def build(base: Path) -> Stage:
    """Carry out the Dockerfile; returns its last stage."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.M).replace("\\\n", " ")
    stages: dict[str, Stage] = {}
    stage: Stage | None = None
    files = context(base / "context")
    for line in filter(str.strip, text.splitlines()):
        word, _, rest = line.partition(" ")
        rest = re.sub(r"\s+", " ", rest.strip())
        if word == "FROM":
            image, _, name = rest.partition(" AS ")
            stage = stages[name] = Stage(base / f"stage-{len(stages)}", image)
            continue
        assert stage is not None
        match word:
            case "RUN":
                stage.carry_out(rest)
            case "COPY":
                found = re.fullmatch(r"(?:--from=(\w+) )?(\S+) (\S+)", rest)
                assert found is not None
                stage.copy(files if found[1] is None else stages[found[1]].root / found[2].lstrip("/"), found[3])
            case "WORKDIR":
                stage.folder = rest
                (stage.root / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "ENV":
                stage.environment |= dict(entry.split("=", 1) for entry in shlex.split(rest))
            case _:
                stage.settings[word] = rest
    assert stage is not None
    return stage


def start(stage: Stage, base: Path) -> subprocess.Popen[bytes]:
    """Start the image as an engine would: read-only, as its user, as process 1."""
    root, data, etc = stage.root, base / "data", base / "etc"
    user, _, group = stage.settings["USER"].partition(":")
    data.mkdir()
    os.chown(data, int(user), int(group))
    data.chmod(0o700)
    etc.mkdir()
    (etc / "broadside.toml").write_text(CONFIG)
    (root / "etc/broadside").mkdir(exist_ok=True)
    command = json.loads(stage.settings["ENTRYPOINT"]) + json.loads(stage.settings["CMD"])
    script = [
        f"mount --bind {root} {root}", f"mount -o remount,bind,ro {root}", f"mount -t proc proc {root}/proc",
        f"mount --rbind /dev {root}/dev", f"mount -t tmpfs tmpfs {root}/tmp",
        f"mount --bind {data} {root}/var/lib/broadside", f"mount --bind {etc} {root}/etc/broadside",
        f"mount -o remount,bind,ro {root}/etc/broadside", "ip link set lo up",
    ]  # fmt: skip
    # chroot itself needs a capability: so it comes before the user is changed
    script.append(
        f"exec chroot {root} setpriv --reuid={user} --regid={group} --clear-groups --bounding-set=-all --inh-caps=-all "
        f"--no-new-privs sh -c {shlex.quote(f'cd {stage.folder} && exec {shlex.join(command)}')}"
    )
    inside = ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "--propagation", "private"]
    inside += ["sh", "-e", "-c", "\n".join(script)]
    return subprocess.Popen(
        inside, env=stage.environment, stdout=(base / "output").open("wb"), stderr=subprocess.STDOUT
    )


def first_process(holder: subprocess.Popen[bytes], output: Path) -> int:
    """The id, out here, of the process that is number 1 in there."""
    while not (found := Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()):
        assert holder.poll() is None, output.read_text()
        time.sleep(0.05)
    return int(found[0])


def inside(pid: int, stage: Stage, *command: str) -> subprocess.CompletedProcess[str]:
    """As `docker exec`."""
    enter = ["nsenter", "-t", str(pid), "-m", "-n", "-p", f"--root=/proc/{pid}/root", "--wd=/", "setpriv"]
    user, _, group = stage.settings["USER"].partition(":")
    enter += [f"--reuid={user}", f"--regid={group}", "--clear-groups", *command]
    return subprocess.run(enter, env=stage.environment, capture_output=True, text=True, check=False, timeout=60)


def main() -> None:
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="broadside-image-") as folder:
        base = Path(folder)
        base.chmod(0o755)
        stage = build(base)
        size = run("du", "-sm", str(stage.root)).split()[0]
        say(f"built in {time.monotonic() - began:.0f} s, {size} MB; runs as {stage.settings['USER']}, root read-only")
        holder = start(stage, base)
        try:
            check = json.loads(stage.settings["HEALTHCHECK"].rpartition("CMD ")[2])
            pid = first_process(holder, base / "output")
            deadline = time.monotonic() + 120
            while inside(pid, stage, *check).returncode:
                assert holder.poll() is None, (base / "output").read_text()
                assert time.monotonic() < deadline, (base / "output").read_text()
                time.sleep(0.5)
            say("the health check answers")
            until(lambda: "serving;" in (base / "output").read_text(), "service", 120.0)  # it is alive before it serves
            broadside, where = "/opt/broadside/bin/broadside", ["--data", "/var/lib/broadside/node"]
            put = inside(pid, stage, broadside, "subscribers", "put", "ios-news", "00fc13ad" * 8, *where)
            assert put.returncode == 0, put.stderr
            fired = inside(pid, stage, broadside, "fire", "--title", "In", "--body", "a chroot", "--wait", *where)
            assert "is done" in fired.stdout, fired.stdout + fired.stderr
            say("the first fire is done")
            os.kill(pid, signal.SIGHUP)
            until(lambda: "configuration reloaded" in (base / "output").read_text(), "reload")
            written = run("find", str(stage.root), "-newermt", f"@{time.time() - 5}", "-type", "f").strip()
            assert not written, f"something was written into the image: {written}"
            os.kill(pid, signal.SIGTERM)
            code = holder.wait(60)
            said = (base / "output").read_text()
            assert code == 0, f"exit code {code}:\n{said}"
            assert "\nstopped\n" in said, said  # the log's last lines may come after it
            say(f"SIGTERM to process 1 drains it, exit code {code}; all in {time.monotonic() - began:.0f} s")
            say(f"not run: an engine, and the other architecture than {os.uname().machine}")
        finally:
            if holder.poll() is None:
                holder.kill()
                holder.wait()


def until(look: object, what: str, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not look():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"image-steps: no {what} within {seconds:g} s")
        time.sleep(0.1)


if __name__ == "__main__":
    sys.exit(main())
