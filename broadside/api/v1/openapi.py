"""The OpenAPI 3.1 document, made from the table: every route, field, error, and an example of each."""

from __future__ import annotations

import ast
import functools
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any, get_args

import msgspec

from broadside.api.event_records import EventName, written
from broadside.api.idempotency import HEADER, LONGEST_KEY
from broadside.api.problem_details import MEDIA_TYPE, ProblemDetails, problem
from broadside.api.v1.examples import ERRORS, EXAMPLES
from broadside.api.v1.route import PATH, USUAL, Route
from broadside.api.v1.table import TABLE

JSON, LINES = "application/json", "application/x-ndjson"
_REF = "#/components/schemas/{name}"
_ABOUT = (
    "The API of one Broadside node. Every error is `application/problem+json` (RFC 9457), also of an unknown path "
    "(404), of a method that a path does not take (405), and of bytes that are no HTTP (400, 501, 505). Bodies "
    "are JSON in UTF-8. An unknown field or parameter is an error. Times are milliseconds UTC. This version never "
    "changes, except that it gets new routes, new optional fields and parameters, and new fields of answers."
)
_REPEATS = {
    "same": "A repeat has no further effect, with the header or without it.",
    "store": "A repeat with the same key does nothing and gets the campaign of the first request, for 30 days, at "
    "any node. The same key with another request is a 422.",
    "node": "A repeat with the same key at the same node does nothing and gets the first answer, for a day or until "
    "the node ends. The same key with another request is a 422.",
}


@functools.cache
def document() -> dict[str, Any]:
    """Return the document."""
    types = list(dict.fromkeys([ProblemDetails, *(kind for route in TABLE for kind in _types(route))]))
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    named = dict(zip(map(repr, types), schemas, strict=True))
    for struct in _structs(types):
        _describe(components[struct.__name__], struct)
    for struct in _structs([route.body for route in TABLE if route.body is not None]):
        components[struct.__name__]["additionalProperties"] = False
    paths: dict[str, Any] = {}
    for route in TABLE:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, named)
    key = {"type": "http", "scheme": "bearer", "description": "A key of `broadside key add`, or the node's `api.key`."}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Broadside", "version": "1", "description": _ABOUT},
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components, "securitySchemes": {"key": key}},
    }


def statuses(route: Route[Any]) -> dict[int, str]:
    """Return the errors of a route: status → when."""
    if route.scope is None:
        usual = {status: USUAL[status] for status in (400, 413, 421, 431, 500, 503, 507)}
        bare = {status: USUAL[status] for status in (431, 500)}
        return dict(sorted({**usual, **route.errors}.items())) if route.body else bare
    reused = {422: f"The `{HEADER}` was used for another request."} if route.repeat == "node" else {}
    return dict(sorted({**USUAL, **route.errors, **reused}.items()))


def repeat_of(route: Route[Any]) -> str:
    """Return what a repeat of a POST does, in a sentence."""
    return _REPEATS[route.repeat]


def _types(route: Route[Any]) -> Iterator[Any]:
    yield route.answer
    yield from route.also.values()
    yield from route.events.values()
    if route.body is not None:
        yield route.body


def _operation(route: Route[Any], named: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "tags": [_tag(route)], "summary": route.summary}
    operation["security"] = [] if route.scope is None else [{"key": [route.scope]}]
    if parameters := [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        content = {LINES if route.lines else JSON: _media(route.body, named)}
        operation["requestBody"] = {"required": True, "content": content}
    responses: dict[str, Any] = {}
    for status, kind in sorted({route.status: route.answer, **route.also}.items()):
        media = LINES if route.stream else route.media
        responses[str(status)] = {"description": inspect.getdoc(kind) or "", "content": {media: _media(kind, named)}}
    if route.events:
        responses[str(route.status)] = _event_stream(route, named)
    for status, when in statuses(route).items():
        told = problem(status, **ERRORS[status])
        content = {MEDIA_TYPE: {"schema": named[repr(ProblemDetails)], "example": msgspec.to_builtins(told)}}
        known = responses.setdefault(str(status), {"description": when, "content": {}})
        known["content"] |= content
    operation["responses"] = dict(sorted(responses.items()))
    return operation


def _tag(route: Route[Any]) -> str:
    first = route.path.removeprefix("/v1/").strip("/").partition("/")[0]
    return "node" if route.scope is None or first in ("status", "newsroom") else first


def _media(kind: Any, named: dict[str, Any]) -> dict[str, Any]:
    return {"schema": named[repr(kind)], "example": msgspec.to_builtins(EXAMPLES[kind])}


def _event_stream(route: Route[Any], named: dict[str, Any]) -> dict[str, Any]:
    """The answer of an event stream: its schema is each event's, as that of lines is each line's."""
    kinds = ", ".join(f"`{name}`: `data` is a {kind.__name__}" for name, kind in route.events.items())
    samples = enumerate(route.events.items(), 1)
    example = b"".join(written(EventName(name), f"1f2e3d4c-{n}", EXAMPLES[kind]) for n, (name, kind) in samples)
    schema = {"oneOf": [_event(name, named[repr(kind)]) for name, kind in route.events.items()]}
    content = {route.media: {"schema": schema, "example": example.decode()}}
    return {"description": f"Events. {kinds}. A comment every 15 s is a ping.", "content": content}


def _event(name: str, record: dict[str, Any]) -> dict[str, Any]:
    data = {"type": "string", "contentMediaType": JSON, "contentSchema": record}
    fields = {"event": {"const": name}, "id": {"type": "string"}, "data": data}
    return {"type": "object", "required": list(fields), "properties": fields}


def _path_parameters(route: Route[Any]) -> Iterator[dict[str, Any]]:
    for name in route.names:
        schema = msgspec.json.schema(PATH[name])
        yield {
            "name": name,
            "in": "path",
            "required": True,
            "description": schema.pop("description"),
            "example": schema.pop("examples")[0],
            "schema": schema,
        }


def _query_parameters(route: Route[Any]) -> Iterator[dict[str, Any]]:
    _, components = msgspec.json.schema_components([route.query], ref_template=_REF)
    found = components[route.query.__name__]
    _describe(found, route.query)
    for name, schema in found["properties"].items():
        described = {"description": schema.pop("description")} if "description" in schema else {}
        yield {"name": name, "in": "query", "required": name in found["required"], **described, "schema": schema}


def _header_parameters(route: Route[Any]) -> Iterator[dict[str, Any]]:
    if route.method == "POST":
        yield {
            "name": HEADER,
            "in": "header",
            "required": False,
            "description": repeat_of(route),
            "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
        }


def _structs(kinds: list[Any]) -> set[type[msgspec.Struct]]:
    """All Structs in ``kinds``, at any depth."""
    found: set[type[msgspec.Struct]] = set()
    left = list(kinds)
    while left:
        kind = left.pop()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind not in found:
            found.add(kind)
            left += [field.type for field in msgspec.structs.fields(kind)]
        left += get_args(kind)
    return found


def _describe(schema: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    """Add the descriptions of a Struct and its fields to its schema: the texts below them in the source."""
    schema["description"] = _plain(inspect.getdoc(struct) or "")
    texts: dict[str, str] = {}
    for cls in reversed(struct.__mro__):
        if issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct:
            texts |= field_texts(cls)
    for field in msgspec.structs.fields(struct):
        if field.name in texts and "description" not in schema["properties"][field.encode_name]:
            schema["properties"][field.encode_name]["description"] = texts[field.name]


@functools.cache
def field_texts(cls: type) -> dict[str, str]:
    """Return the texts below a class's own fields: field → text."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(tree, ast.ClassDef)
    texts = {}
    for line, below in zip(tree.body, tree.body[1:], strict=False):
        match line, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                texts[name] = _plain(inspect.cleandoc(text))
    return texts


def _plain(text: str) -> str:
    """A docstring as Markdown: ``code`` in single quotes, and a paragraph on one line."""
    text = re.sub(r":(?:func|data|class|mod):`\.?([^`]+)`|``([^`]+)``", r"`\1\2`", text)
    return re.sub(r"(?<!\n)\n(?!\n)", " ", text).replace("None:", "null:")
