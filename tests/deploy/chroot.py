"""A Debian of its own, as debootstrap makes it, to run commands in. It needs root."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")
_TRUSTED_INSIDE = "/mnt/ca.crt"


def run(*command: str, **more: object) -> str:
    """Run a command and return what it printed; SystemExit with its last words if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    if done.returncode:
        said = done.stdout[-3000:] + done.stderr[-3000:]
        raise SystemExit(f"{shlex.join(command)[:300]} ended with {done.returncode}:\n{said}")
    return str(done.stdout)


class Chroot:
    """A root file system, and the environment of what runs in it."""

    def __init__(self, root: Path, suite: str, *, include: Sequence[str] = (), architecture: str = "") -> None:
        """``suite``: Debian's, as in ``bookworm``. ``include``: packages beyond the smallest set.

        ``architecture``: Debian's name of one that this machine has or emulates; this machine's own if empty.
        """
        if os.geteuid() != 0 or shutil.which("debootstrap") is None:
            raise SystemExit("this needs root and debootstrap (apt-get install debootstrap)")
        self.root = root
        self.environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        base = root.parent / f"debian-{suite}{architecture}"
        if not base.exists():
            more = [f"--include={','.join(include)}"] if include else []
            more += [f"--arch={architecture}"] if architecture else []
            run("debootstrap", "--variant=minbase", *more, suite, str(base))
        run("cp", "-a", str(base), str(root))
        self._reach_networks()

    def _reach_networks(self) -> None:
        """As this machine reaches them: by its name servers and proxies, and with its authorities."""
        for file in (Path("/etc/resolv.conf"), Path("/etc/pip.conf"), *Path("/etc/apt/apt.conf.d").iterdir()):
            inside = self.root / file.relative_to("/")
            if file.exists() and (file.parent == Path("/etc") or not inside.exists()):
                shutil.copy2(file, inside)
        kept = {key: value for key, value in os.environ.items() if "proxy" in key.lower() or key == "PIP_INDEX_URL"}
        self.environment |= kept
        if TRUSTED.exists():
            names = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")
            self.environment |= dict.fromkeys(names, _TRUSTED_INSIDE)

    def command(self, commands: str, folder: str = "/") -> list[str]:
        """The command that runs these in the root, as root, in a mount namespace of its own."""
        mounts = [f"mount -t proc proc {self.root}/proc", f"mount --rbind /dev {self.root}/dev"]
        if TRUSTED.exists():
            mounts.append(f"touch {self.root}{_TRUSTED_INSIDE} && mount --bind {TRUSTED} {self.root}{_TRUSTED_INSIDE}")
        inside = f"cd {shlex.quote(folder)} && {commands}"
        script = " && ".join([*mounts, f"exec chroot {self.root} /bin/sh -c {shlex.quote(inside)}"])
        return ["unshare", "-m", "--propagation", "private", "sh", "-c", script]

    def shell(self, commands: str, folder: str = "/", environment: Mapping[str, str] | None = None) -> str:
        """Run these commands and return what they printed."""
        return run(*self.command(commands, folder), env={**self.environment, **(environment or {})})
