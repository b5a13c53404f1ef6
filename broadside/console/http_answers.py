"""The API's answers: JSON, and the problem that each error becomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from broadside.api.idempotency import HEADER
from broadside.api.problem_details import MEDIA_TYPE, ProblemDetails, problem
from broadside.console.request_failure import FAILURE, failure, logged
from broadside.errors import Conflict, FireFailed, NeedsYes, RecordError
from broadside.newsroom.alarms import DISK_REMEDY, REMEDY
from broadside.newsroom.firing import KeyReused
from storage.errors import DiskFull, LinkDown, LinkLost, OutOfMemory, StorageError, VerbRefused

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


class ApiFailure(Exception):
    """The request is answered with a problem."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str = "",
        value: str = "",
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = problem(status, detail, field=field, value=value, remedy=remedy)
        self.headers = headers


def json_answer(content: Any, status: int = 200) -> Response:
    """Answer with ``content`` as JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def problem_answer(content: ProblemDetails, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a problem."""
    return Response(msgspec.json.encode(content), content.status, headers, MEDIA_TYPE)


def broken(request: Request, error: BaseException, detail: str, remedy: str = "", **more: Any) -> Response:
    """Answer 500 with an id, under which the log has the error and its traceback."""
    id = logged(request.url.path, error)
    setattr(request.state, FAILURE, id)
    return problem_answer(failure(id, detail, remedy, **more))


async def failed(request: Request, error: Exception) -> Response:
    """Answer to a request that failed outside of an endpoint."""
    return broken(request, error, _node_failed(error))


async def no_route(request: Request, error: Exception) -> Response:
    """Answer 404 to an unknown path, and 405 to a method that the path does not take."""
    assert isinstance(error, HTTPException)
    path = request.url.path[:200]
    if error.status_code != 405:
        remedy = "/v1/openapi.json and docs/api.md list the paths"
        return problem_answer(
            problem(error.status_code, f"there is no {path}", field="path", value=path, remedy=remedy)
        )
    routes = [each for each in request.app.routes if isinstance(each, Route)]
    fitting = [each for each in routes if each.matches(request.scope)[0] is not Match.NONE]
    # /v1/channels/probe is itself, and no channel of that name (OpenAPI: concrete paths before templated ones)
    named = [each for each in fitting if not each.param_convertors] or fitting
    allowed = ", ".join(sorted({method for each in named for method in each.methods or ()}))
    method = request.method[:40]
    told = problem(405, f"{path} does not take {method}", field="method", value=method, remedy=f"send {allowed}")
    return problem_answer(told, {"allow": allowed})


def _node_failed(error: Exception) -> str:
    return f"the node failed: {type(error).__name__}"


def answered(endpoint: Handler) -> Handler:
    """The endpoint, with a problem as the answer to every error."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ApiFailure as error:
            return problem_answer(error.problem, error.headers)
        except RecordError as error:
            return _refused(error)
        except FireFailed as error:
            return _not_fired(request, error)
        except DiskFull as error:
            return problem_answer(problem(507, f"Tarantool's disk is full: {error}", remedy=DISK_REMEDY))
        except (LinkLost, LinkDown) as error:
            remedy = "try again in a moment; `broadside doctor` says more"
            return problem_answer(problem(503, f"the node does not reach its Tarantool: {error}", remedy=remedy))
        except Conflict as conflict:
            status = 404 if conflict.missing else 409
            known = {"campaign": conflict.campaign} if conflict.campaign else {}
            field, value = conflict.field, conflict.value
            return problem_answer(
                problem(status, conflict.what, field=field, value=value, remedy=conflict.remedy, **known)
            )
        except OutOfMemory as error:
            return problem_answer(problem(507, f"Tarantool's memory is full: {error.text}", remedy=REMEDY))
        except VerbRefused as error:
            return broken(request, error, f"Tarantool refuses: {error.text}")
        except StorageError as error:
            return broken(request, error, str(error))
        except Exception as error:
            return broken(request, error, _node_failed(error))

    return answer


def _refused(error: RecordError) -> Response:
    """The answer to a request with a field that breaks a rule, or that needs a yes."""
    found, more = error.problem, {}
    if isinstance(error, NeedsYes):
        more = {"confirm": error.confirm} | ({"campaign": error.campaign} if error.campaign else {})
    status = 409 if more else 400
    return problem_answer(
        problem(status, str(error), field=found.where, value=found.value, remedy=found.remedy, **more)
    )


def _not_fired(request: Request, error: FireFailed) -> Response:
    key = error.key[:40] if isinstance(error, KeyReused) else ""
    more = {"campaign": error.campaign, "fired": "maybe" if error.maybe else "no"}
    if error.status == 500:
        return broken(request, error, error.message, error.remedy, **more)
    field = HEADER if key else ""
    return problem_answer(problem(error.status, error.message, field=field, value=key, remedy=error.remedy, **more))
