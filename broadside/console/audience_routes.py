"""The API's route that counts an audience."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from broadside.api import strict_json
from broadside.api.audience_request import CountRequest
from broadside.api.bounds import LARGEST_CAMPAIGN, channels_problem
from broadside.console.http_answers import Guard, json_answer, refused
from broadside.console.request_parts import read_body
from broadside.errors import RecordError
from broadside.newsroom.audience_desk import AudienceDesk


def audience_routes(desk: AudienceDesk, guard: Guard) -> list[Route]:
    """Build the route."""

    async def count(request: Request) -> Response:
        try:
            body = await read_body(request, LARGEST_CAMPAIGN, "list fewer subscribers")
            wanted = strict_json.decode(body, CountRequest, "an audience to count")
            if problem := channels_problem(wanted.audience.channels or [], "audience.channels"):
                raise RecordError(problem)
            return json_answer(await desk.count(wanted.audience, wanted.exact))
        except RecordError as error:
            raise refused(error) from None

    return [Route("/api/audience/count", guard(count, body=True), methods=["POST"])]
