"""The pages of an armed campaign: fired, approved, or taken back."""

from __future__ import annotations

from starlette.responses import Response

from broadside.api.v1 import table
from broadside.pages.api_in_process import PageProblem
from broadside.pages.compose_form import confirmed
from broadside.pages.compose_pages import YES
from broadside.pages.page import PageCall, PageRoute


async def fire(call: PageCall) -> Response:
    """Fire it, with what was said yes to, and show it live."""
    id, said = call.named("id"), confirmed(await call.form())
    try:
        await call.api(table.FIRE_ARMED, body=said, id=id)
    except PageProblem as error:
        if error.problem.status == 401:
            raise
        words = YES.get(error.problem.confirm or "", "") if error.problem.confirm else ""
        return call.show(
            "compose_refused.html", problem=error.problem, words=words, said=said if words else {}, id="",
            status=error.problem.status,
        )  # fmt: skip
    return call.go_to(f"/campaigns/{id}")


PAGES = (PageRoute("/campaigns/{id}/fire", fire, "POST"),)
