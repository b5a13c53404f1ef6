"""Fetches the files of vendor.lock from npm, checks them, and puts them where the lock says.

``npm pack`` runs no script of a package. A package that is not the locked one, byte for byte, changes nothing here.
"""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> int:
    """Fetch everything; returns the exit code."""
    for package in tomllib.loads((ROOT / "vendor.lock").read_text())["package"]:
        wanted = f"{package['name']}@{package['version']}"
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                ["npm", "pack", wanted, "--ignore-scripts", "--silent"], cwd=folder, capture_output=True, text=True
            )
            archive = next(Path(folder).glob("*.tgz"), None)
            if done.returncode or archive is None:
                print(f"vendor: npm cannot fetch {wanted}: {done.stderr.strip()[:500]}", file=sys.stderr)
                return 1
            found = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
            if found != package["integrity"]:
                print(f"vendor: {wanted} is not the package that vendor.lock names: {found}", file=sys.stderr)
                return 1
            with tarfile.open(archive) as content:
                for name, place in package["files"].items():
                    file = content.extractfile(f"package/{name}")
                    assert file is not None
                    to = ROOT / package["folder"] / place
                    to.parent.mkdir(parents=True, exist_ok=True)
                    to.write_bytes(file.read())
        print(f"vendor: {wanted}: {', '.join(package['files'].values())}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
