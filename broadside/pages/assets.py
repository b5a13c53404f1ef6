"""The pages' own files: scripts, styles and a picture, small, compressed once, and cached by browsers for ever.

All addresses hold one hash of all files: a new version has new addresses, and modules may import each other by names.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType

from starlette.requests import Request
from starlette.responses import Response

MEDIA = MappingProxyType(
    {".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
)
FOREVER = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class _Asset:
    plain: bytes
    small: bytes
    media: str


class Assets:
    """All files under ``static``, read at the start."""

    def __init__(self) -> None:
        self._files = dict(_read(files("broadside.pages") / "static", ""))
        parts = [name.encode() + b"\0" + asset.plain for name, asset in sorted(self._files.items())]
        self.version = hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]

    def address(self, name: str) -> str:
        """Return a file's address (``KeyError`` if there is none of this name)."""
        assert self._files[name]
        return f"/static/{self.version}/{name}"

    def answer(self, request: Request) -> Response | None:
        """Answer with a file; None: there is none. One of another version is answered with today's, uncached."""
        asset = self._files.get(request.path_params["name"])
        if asset is None:
            return None
        current = request.path_params["version"] == self.version
        headers = {"cache-control": FOREVER if current else "no-store", "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            return Response(asset.small, headers={**headers, "content-encoding": "gzip"}, media_type=asset.media)
        return Response(asset.plain, headers=headers, media_type=asset.media)


def _read(folder: Traversable, prefix: str) -> list[tuple[str, _Asset]]:
    found: list[tuple[str, _Asset]] = []
    for each in folder.iterdir():
        if each.is_dir():
            found += _read(each, f"{prefix}{each.name}/")
        elif media := MEDIA.get(each.name[each.name.rfind(".") :]):
            plain = each.read_bytes()
            found.append((prefix + each.name, _Asset(plain, gzip.compress(plain, 9, mtime=0), media)))
    return found
