"""Stands in for systemctl, apt-get, python3 -m venv and scp on a server that is only a pair of namespaces.

Its first argument is that name. systemctl starts a unit's ExecStart as systemd would: with its user, environment,
folders and credentials, and waits for READY=1. It applies none of the unit's restrictions.
"""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

UNITS = Path("/etc/systemd/system")
FOLDERS = {"StateDirectory": "/var/lib", "RuntimeDirectory": "/run", "LogsDirectory": "/var/log"}
WITHIN = 60.0


class Unit:
    """A unit's settings."""

    def __init__(self, name: str) -> None:
        self.name = name.removesuffix(".service") + ".service"
        self.settings: dict[str, list[str]] = defaultdict(list)
        for line in (UNITS / self.name).read_text().splitlines():
            key, equals, value = line.partition("=")
            if equals and not line.startswith("#"):
                self.settings[key].append(value)
        self.pid = Path("/run") / f"{self.name}.pid"
        self.said = Path("/run") / f"{self.name}.status"
        self.user = pwd.getpwnam(self.settings["User"][0])

    def folders(self) -> dict[str, str]:
        """Make its folders and its credentials; returns the variables that name them."""
        named = {}
        for key, base in FOLDERS.items():
            for name in self.settings[key]:
                folder = Path(base) / name
                folder.mkdir(parents=True, exist_ok=True)
                folder.chmod(int((self.settings[f"{key}Mode"] or ["0755"])[0], 8))
                os.chown(folder, self.user.pw_uid, self.user.pw_gid)
                named[{"State": "STATE", "Runtime": "RUNTIME", "Logs": "LOGS"}[key[:-9]] + "_DIRECTORY"] = str(folder)
        held = Path("/run/credentials") / self.name
        shutil.rmtree(held, ignore_errors=True)
        held.mkdir(parents=True)
        for setting in self.settings["LoadCredential"]:
            id, _, source = setting.partition(":")
            for file in sorted(Path(source).iterdir()):
                copy = held / f"{id}_{file.name}"
                copy.write_bytes(file.read_bytes())
                copy.chmod(0o400)
                os.chown(copy, self.user.pw_uid, self.user.pw_gid)
        held.chmod(0o500)
        os.chown(held, self.user.pw_uid, self.user.pw_gid)
        return {**named, "CREDENTIALS_DIRECTORY": str(held)}

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        address = f"/run/{self.name}.notify"
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
            "USER": self.user.pw_name, "HOME": self.user.pw_dir, "NOTIFY_SOCKET": address,
            "WATCHDOG_USEC": str(1_000_000 * int((self.settings["WatchdogSec"] or ["0"])[0])), **self.folders(),
        }  # fmt: skip
        for entry in self.settings["Environment"]:
            key, _, value = entry.partition("=")
            environment[key] = value
        if os.fork():
            deadline = time.monotonic() + WITHIN
            while not self.said.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            if not self.said.exists() or "READY=1" not in self.said.read_text().splitlines():
                sys.exit(f"systemctl: {self.name} did not start:\n{Path(f'/run/{self.name}.output').read_text()}")
            return
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nowhere, number)  # whoever called reads to the end of its output
        with (
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end,
            Path(f"/run/{self.name}.output").open("wb") as out,
        ):
            Path(address).unlink(missing_ok=True)
            end.bind(address)
            Path(address).chmod(0o666)
            command = ["setpriv", f"--reuid={self.user.pw_uid}", f"--regid={self.user.pw_gid}", "--init-groups"]
            command += ["--no-new-privs", *shlex.split(self.settings["ExecStart"][0])]
            process = subprocess.Popen(
                command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                umask=int((self.settings["UMask"] or ["0022"])[0], 8),
            )  # fmt: skip
            self.pid.write_text(str(process.pid))
            end.settimeout(0.5)
            heard: list[str] = []
            while process.poll() is None:
                try:
                    heard += end.recv(8192).decode().splitlines()
                except TimeoutError:
                    continue
                if "READY=1" in heard:
                    status = [line for line in heard if line.startswith("STATUS=")][-1:]
                    self.say("\n".join(["READY=1", *status]))
            self.say(f"ended with exit code {process.returncode}")
        os._exit(0)

    def say(self, text: str) -> None:
        """Write its status, as a whole."""
        part = self.said.with_suffix(".part")
        part.write_text(text)
        part.replace(self.said)

    def reload(self) -> None:
        """Run its ExecReload, and wait until its status has changed."""
        before = self.said.read_text()
        (command,) = self.settings["ExecReload"]
        subprocess.run(shlex.split(command.replace("$MAINPID", self.pid.read_text())), check=True)
        deadline = time.monotonic() + WITHIN
        while self.said.read_text() == before and time.monotonic() < deadline:
            time.sleep(0.05)

    def stop(self) -> None:
        """As KillMode=mixed: SIGTERM to the main process."""
        os.kill(int(self.pid.read_text()), signal.SIGTERM)


def systemctl(arguments: list[str]) -> None:
    verb, *names = [each for each in arguments if not each.startswith("--")]
    for unit in map(Unit, names):
        match verb:
            case "enable" | "start":
                unit.start()
            case "reload":
                unit.reload()
            case "stop":
                unit.stop()
            case "status":
                print(unit.name, unit.said.read_text().replace("\n", " "))
            case _:
                sys.exit(f"systemctl: {verb} is not known here")


def main() -> None:
    name, *arguments = sys.argv[1:]
    match name:
        case "systemctl":
            systemctl(arguments)
        case "apt-get":
            return
        case "scp":
            *files, where = [each for each in arguments if not each.startswith("-")]
            host, _, folder = where.rpartition("@")[2].partition(":")
            for file in files:
                shutil.copy2(file, Path(os.environ["SERVERS"]) / host / folder.removeprefix("/"))
        case "python3" if arguments[:2] == ["-m", "venv"]:
            programs = Path(arguments[2]) / "bin"
            programs.mkdir(parents=True)
            for program, text in (("broadside", f'exec {os.environ["BROADSIDE"]} "$@"'), ("pip", "true")):
                (programs / program).write_text(f"#!/bin/sh\n{text}\n")
                (programs / program).chmod(0o755)
        case _:
            sys.exit(f"{name}: not known here")


if __name__ == "__main__":
    main()
