"""What the compose page's form says, as a request to fire, and a request as the form's fields. Pure.

A form may be half written: what cannot be read is passed on as it is, and the API says what is wrong with it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from broadside.api.instants import read_instant
from broadside.newsroom.starts import LOCAL
from campaigns.duration import parse_duration

Form = Mapping[str, list[str]]

TEXT = ("title", "body", "url", "image")
NAMES = ("sound", "thread", "collapse", "category", "urgency")
LISTS = ("locales", "countries", "zones", "screen")
TAGS = ("any", "all", "none")
SKIP = " skip"
LONGEST_ID = 18  # digits
SEPARATORS = re.compile(r"[,;\s]+")


def request_of(form: Form, zone: str | None) -> dict[str, Any]:
    """Return the request that a form describes. ``zone``: of the times in it."""
    kept = _plain(_one(form, "kept"))
    message = kept.get("message", {}) | _texts(form, "")
    if texts := {name: _texts(form, f"{name}:") for name in form.get("locale", ()) if name}:
        message["texts"] = texts
    message |= {name: value for name in NAMES if (value := _one(form, name))}
    if (badge := _one(form, "badge")).isdigit():
        message["badge"] = int(badge[:LONGEST_ID])
    request = kept | {"message": message}
    for name in ("kind", "quiet", "on_objection", "expires"):
        if value := _one(form, name):
            request[name] = value
    with contextlib.suppress(ValueError):  # half written
        request |= {"canary": float(_one(form, "canary")) / 100} if _one(form, "canary") else {}
    if rate := _one(form, "rate"):
        request["rate"] = _number(rate)
    if ramp := _one(form, "ramp"):
        request["ramp_seconds"] = parse_duration(ramp) or ramp
    if audience := _audience(form):
        request["audience"] = audience
    if (when := _when(form, zone)) is not None:
        request["when"] = when
    return request


def confirmed(form: Form) -> dict[str, bool]:
    """Return the fields of a request that say yes to what nobody may do by mistake."""
    return {name: True for name in form.get("yes", ()) if re.fullmatch("[a-z_]{1,40}", name)}


def fields_of(request: Mapping[str, Any], zone: str | None) -> dict[str, Any]:
    """Return the fields of the form that describes a request."""
    message = dict(request.get("message", {}))
    audience = request.get("audience") or {}
    tags = audience.get("tags") or {}
    fields: dict[str, Any] = {name: message.pop(name, None) or "" for name in (*TEXT, *NAMES)}
    badge = message.pop("badge", None)
    fields |= {"texts": message.pop("texts", {}), "badge": "" if badge is None else str(badge)}
    fields |= {name: request.get(name) or "" for name in ("kind", "quiet", "on_objection", "expires")}
    fields |= {name: ", ".join(audience.get(name) or ()) for name in LISTS}
    fields |= {f"tags_{name}": ", ".join(tags.get(name) or ()) for name in TAGS}
    fields |= {
        "channels": audience.get("channels") or request.get("channels") or [],
        "app_version": audience.get("app_version") or "",
        "share": "" if audience.get("share") is None else f"{audience['share'] * 100:.6g}",
        "canary": "" if request.get("canary") is None else f"{request['canary'] * 100:.6g}",
        "share_salt": audience.get("share_salt") or "",
        "rest": bool(audience.get("rest")),
        "subscribers": "\n".join(map(str, audience.get("subscribers") or ())),
    }
    rate, ramp = request.get("rate"), request.get("ramp_seconds")
    fields["rate"] = f"{rate:.10g}" if isinstance(rate, int | float) else rate or ""
    fields["ramp"] = f"{ramp:g}s" if isinstance(ramp, int | float) else ramp or ""
    kept: dict[str, Any] = {"message": message} if message else {}
    if request.get("ttl_seconds") and not fields["expires"]:
        fields["expires"] = f"{request['ttl_seconds']}s"
    fields["kept"] = msgspec.json.encode(kept).decode() if kept else ""
    return fields | _moment(request.get("when"), zone)


def _texts(form: Form, prefix: str) -> dict[str, str]:
    return {name: value for name in TEXT if (value := _one(form, prefix + name))}


def _audience(form: Form) -> dict[str, Any]:
    found: dict[str, Any] = {name: values for name in LISTS if (values := _values(form, name))}
    if channels := [name for name in form.get("channels", ()) if name]:
        found["channels"] = channels
    if tags := {name: values for name in TAGS if (values := _values(form, f"tags_{name}"))}:
        found["tags"] = tags
    for name in ("app_version", "share_salt"):
        if value := _one(form, name):
            found[name] = value
    with contextlib.suppress(ValueError):  # half written
        found |= {"share": float(_one(form, "share")) / 100} if _one(form, "share") else {}
    if _one(form, "rest"):
        found["rest"] = True
    if listed := [each for each in SEPARATORS.split(_one(form, "subscribers")) if each]:
        found["subscribers"] = [int(each) if each.isdigit() and len(each) <= LONGEST_ID else each for each in listed]
    return found


def _when(form: Form, zone: str | None) -> str | None:
    mode, at = _one(form, "when"), _one(form, "at")
    if mode == "best":
        return mode
    if mode == "local":
        return LOCAL + at[:16] + (SKIP if _one(form, "skip") else "")
    if mode != "at":
        return None
    try:
        return datetime.fromisoformat(at).replace(tzinfo=ZoneInfo(zone) if zone else UTC).isoformat()
    except ValueError:
        return at


def _moment(when: str | None, zone: str | None) -> dict[str, Any]:
    if when is None:
        return {"when": "now", "at": "", "skip": False}
    if when.startswith(LOCAL):
        return {"when": "local", "at": when.removeprefix(LOCAL).removesuffix(SKIP), "skip": when.endswith(SKIP)}
    if when == "best":
        return {"when": when, "at": "", "skip": False}
    at = read_instant(when)
    if at is None:
        return {"when": "at", "at": when, "skip": False}
    local = datetime.fromtimestamp(at / 1000, ZoneInfo(zone) if zone else UTC)
    return {"when": "at", "at": f"{local:%Y-%m-%dT%H:%M}", "skip": False}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _one(form: Form, name: str) -> str:
    return form.get(name, [""])[0].replace("\r\n", "\n").strip()


def _values(form: Form, name: str) -> list[str]:
    return [each.strip() for each in _one(form, name).split(",") if each.strip()]


def _plain(text: str) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return {}
    message = found.get("message", {}) if isinstance(found, dict) else None
    return {"message": message} if isinstance(message, dict) else {}
