"""The log-in: the only page for strangers. Its script exchanges a key, or the code of a link, for a session."""

from __future__ import annotations

from starlette.requests import Request

PATH = "/login"


def inside(request: Request) -> str:
    """Return the page of ours that the log-in leads to: never another site's."""
    path = request.query_params.get("next", "/")
    # browsers take // and \\ for the beginning of another host
    ours = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if ours else "/"
