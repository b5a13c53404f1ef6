"""The API's answers: JSON, and what each error becomes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route

from broadside.console.request_failure import FAILURE, failure, logged
from broadside.errors import Conflict, NeedsYes, RecordError
from broadside.newsroom.alarms import DISK_REMEDY, REMEDY
from storage.errors import DiskFull, LinkDown, LinkLost, OutOfMemory, StorageError, VerbRefused

Handler: TypeAlias = Callable[[Request], Awaitable[Response]]
Guard: TypeAlias = Callable[..., Handler]
"""Admits only requests with the key to a handler (`Api`)."""


class ApiFailure(Exception):
    """The request is answered with a status other than 2xx."""

    def __init__(
        self, status: int, message: str, *, field: str = "", value: str = "", remedy: str = "", index: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error: dict[str, Any] = {"message": message, "field": field, "value": value, "remedy": remedy}
        if index is not None:
            self.error["index"] = index


def json_answer(content: Any, status: int = 200) -> Response:
    """Answer with ``content`` as JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


def refused(error: RecordError) -> ApiFailure:
    """The answer to a request with a field that breaks a rule, or that needs a yes."""
    problem, confirm = error.problem, error.confirm if isinstance(error, NeedsYes) else ""
    failure = ApiFailure(
        409 if confirm else 400,
        str(error),
        field=problem.where,
        value=problem.value,
        remedy=problem.remedy,
        index=error.index,
    )
    if confirm:
        failure.error["confirm"] = confirm
    return failure


def broken(request: Request, error: BaseException, message: str, more: dict[str, Any] | None = None) -> Response:
    """Answer 500 with an id, under which the log has the error and its traceback."""
    id = logged(request.url.path, error)
    setattr(request.state, FAILURE, id)
    return json_answer(failure(id, message, more), 500)


async def failed(request: Request, error: Exception) -> Response:
    """Answer to a request that failed outside of an endpoint."""
    return broken(request, error, _node_failed(error))


async def no_route(request: Request, error: Exception) -> Response:
    """Answer 404 to an unknown path, and 405 to a method that the path does not take."""
    assert isinstance(error, HTTPException)
    path = request.url.path
    told = {"field": "path", "value": path[:200], "remedy": "docs/operating.md lists the paths"}
    if error.status_code != 405:
        return json_answer({"error": {"message": f"there is no {path[:200]}", **told}}, error.status_code)
    routes = [each for each in request.app.routes if isinstance(each, Route)]
    fitting = [each.methods or () for each in routes if each.matches(request.scope)[0] is not Match.NONE]
    takes = {method for methods in fitting for method in methods}
    allowed = ", ".join(sorted(takes))
    told = {"field": "method", "value": request.method, "remedy": f"send {allowed}"}
    answer = json_answer({"error": {"message": f"{path[:200]} does not take {request.method}", **told}}, 405)
    answer.headers["allow"] = allowed
    return answer


def _node_failed(error: Exception) -> str:
    return f"the node failed: {type(error).__name__}"


def answered(endpoint: Handler) -> Handler:
    """The endpoint, with an answer in JSON for every error."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ApiFailure as failure:
            if failure.status == 500:
                return broken(request, failure.__context__ or failure, str(failure), failure.error)
            return json_answer({"error": failure.error}, failure.status)
        except DiskFull as error:
            text = f"Tarantool's disk is full: {error}"
            return json_answer({"error": {"message": text, "remedy": DISK_REMEDY}}, 507)
        except (LinkLost, LinkDown) as error:
            text = f"the node does not reach its Tarantool: {error}"
            remedy = "try again in a moment; `broadside doctor` says more"
            return json_answer({"error": {"message": text, "remedy": remedy}}, 503)
        except Conflict as conflict:
            error_ = {"message": conflict.what, "remedy": conflict.remedy}
            return json_answer({"error": error_}, 404 if conflict.missing else 409)
        except OutOfMemory as error:
            text = f"Tarantool's memory is full: {error.text}"
            return json_answer({"error": {"message": text, "remedy": REMEDY}}, 507)
        except VerbRefused as error:
            return broken(request, error, f"Tarantool refuses: {error.text}")
        except StorageError as error:
            return broken(request, error, str(error))
        except Exception as error:
            return broken(request, error, _node_failed(error))

    return answer
