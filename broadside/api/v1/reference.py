"""The page docs/api.md, made from the table."""

from __future__ import annotations

import json
from typing import Any

from broadside.api.v1.openapi import JSON, document, repeat_of, statuses
from broadside.api.v1.route import USUAL, Route
from broadside.api.v1.table import TABLE

_HEAD = """\
# The API

Made from `broadside/api/v1/table.py` by `./dev api-page`; `GET /v1/openapi.json` has the same for machines, with an
example of everything. [operating.md](operating.md#the-http-api) says how to reach it, and its bounds.

- Send `Authorization: Bearer KEY`. Each route says which scope the key needs; the node's own key has all.
- Bodies are JSON in UTF-8. Times are milliseconds UTC. An unknown field or parameter is an error.
- Every error is `application/problem+json`: `type`, `title`, `status`, `detail`, `field`, `value` and `remedy`; of a
  failure in the node also `id`, of a failed Fire also `campaign` and `fired` (`no` or `maybe`).
- A list has up to `limit` `items`; `next` is the `cursor` of the rest, and null at the end.
- A POST takes an `Idempotency-Key`, 1 to 255 printable ASCII characters.
- This version never changes, except that it gets new routes, new optional fields and parameters, and new fields of
  answers.
"""


def page() -> str:
    """Return the page."""
    schemas = document()["components"]["schemas"]
    lines = [_HEAD, "## Routes", "", "| route | scope | |", "| --- | --- | --- |"]
    lines += [
        f"| [`{each.method} {each.path}`](#{_anchor(each)}) | {_scope(each)} | {each.summary} |" for each in TABLE
    ]
    for route in TABLE:
        lines += ["", f"### {route.method} {route.path}", "", route.summary, "", f"Scope: {_scope(route)}."]
        lines += _details(route)
    lines += ["", "## Errors of every route with a scope", "", "| status | when |", "| --- | --- |"]
    lines += [f"| {status} | {when} |" for status, when in USUAL.items()]
    lines += ["", "## Records"]
    for name, schema in sorted(schemas.items()):
        lines += ["", f"### {name}", ""]
        lines += [text for text in (schema.get("description"), "") if text is not None]
        if "enum" in schema:
            lines.append(", ".join(f"`{word}`" for word in schema["enum"]))
        elif schema.get("properties"):
            lines += ["| field | type | |", "| --- | --- | --- |"]
            needed = schema.get("required", [])
            lines += [
                f"| `{field}`{'' if field in needed else '?'} | {_type(of)} | {_cell(of.get('description', ''))} |"
                for field, of in schema["properties"].items()
            ]
    return "\n".join(lines) + "\n"


def _details(route: Route[Any]) -> list[str]:
    operation = document()["paths"][route.path][route.method.lower()]
    lines: list[str] = []
    if given := [each for each in operation.get("parameters", ()) if each["in"] == "query"]:
        lines += ["", "| parameter | type | |", "| --- | --- | --- |"]
        for each in given:
            name = f"`{each['name']}`{'' if each['required'] else '?'}"
            lines.append(f"| {name} | {_type(each['schema'])} | {_cell(each.get('description', ''))} |")
    if route.body is not None:
        what = f"[{route.body.__name__}](#{route.body.__name__.lower()})"
        lines += ["", f"Body: {f'lines, a {what} each, of any number' if route.lines else what}."]
    for status, kind in ((route.status, route.answer), *route.also.items()):
        name = kind.__name__ if kind.__module__ != "builtins" else ""
        what = f"[{name}](#{name.lower()})" if name else "an object" if route.media == JSON else f"`{route.media}`"
        lines += ["", f"Answer {status}: {f'lines, a {what} each' if route.stream else what}."]
    if route.events:
        lines += ["", "| event | its data |", "| --- | --- |"]
        lines += [f"| `{name}` | [{kind.__name__}](#{kind.__name__.lower()}) |" for name, kind in route.events.items()]
    if route.method == "POST":
        lines += ["", f"`Idempotency-Key`: {repeat_of(route)}"]
    if own := {status: when for status, when in statuses(route).items() if status not in USUAL}:
        lines += ["", *[f"Error {status}: {when}" for status, when in own.items()]]
    return lines


def _anchor(route: Route[Any]) -> str:
    kept = (c for c in f"{route.method} {route.path}".lower() if c.isalnum() or c in " _-")
    return "".join(kept).replace(" ", "-")


def _scope(route: Route[Any]) -> str:
    return "none" if route.scope is None else f"`{route.scope}`"


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(word)}`" for word in schema["enum"])
    kind = str(schema.get("type", "anything"))
    if kind == "array":
        return f"array of {_type(schema['items'])}"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"map of {_type(more)}" if isinstance(more, dict) and more else "object"
    low, high = (schema.get(name) for name in ("minimum", "maximum"))
    return kind + (f", {low}–{high}" if low is not None and high is not None else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
