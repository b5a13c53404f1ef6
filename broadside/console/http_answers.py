"""The API's answers: JSON, and what each error becomes."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response

from broadside.errors import Conflict, RecordError
from broadside.newsroom.alarms import DISK_REMEDY, REMEDY
from storage.errors import DiskFull, LinkDown, LinkLost, OutOfMemory, StorageError, VerbRefused

log = structlog.get_logger(__name__)

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
    """The answer to a request with a field that breaks a rule."""
    problem = error.problem
    return ApiFailure(
        400, str(error), field=problem.where, value=problem.value, remedy=problem.remedy, index=error.index
    )


def broken(request: Request, error: BaseException, message: str, more: dict[str, Any] | None = None) -> Response:
    """Answer 500 with an id, under which the log has the error and its traceback."""
    id = secrets.token_hex(4)
    log.error("a request failed", id=id, path=request.url.path[:200], why=repr(error)[:500], exc_info=error)
    known = more or {}
    remedy = "; ".join(filter(None, (known.get("remedy"), f"the node's log has the reason under the id {id}")))
    return json_answer({"error": {**known, "message": message, "id": id, "remedy": remedy}}, 500)


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
            return broken(request, error, f"the node failed: {type(error).__name__}")

    return answer
