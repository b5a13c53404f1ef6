"""Faults of the browsers' push services, of RuStore and of Huawei, each in its own words."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import trio

from simulators.faults.director import draw
from tests.system.faults import FAULTS, Fault, fault, none, scripted
from tests.system.judge import of_service
from tests.system.nights import OPTIONS, outage_into_the_night
from tests.system.people import confirmed

if TYPE_CHECKING:
    from tests.system.plan import Plan
    from tests.system.run import Run

_WEB, _RUSTORE, _HUAWEI = ("fcm", "webpush"), ("fcm", "rustore"), ("fcm", "huawei")
_WINDOWS = "notify.windows.com"
_SERVICES = ("fcm.googleapis.com", "updates.push.services.mozilla.com", "web.push.apple.com", _WINDOWS)
_CAUSES = ("noRight", "countryNotSupport", "tokenPlatformNotSupport", "tokenFormatError")
"""The last one alone is the token's own fault."""
_SHARE = 0.01
"""Of Huawei's phones, for each cause."""
_SOON = 10.0
"""Seconds beside twice the time for which a push service asked us to wait, until everybody on it has the news."""
_PACE = 200
"""Milliseconds before each answer: decrypting each push, twin and worker would need all of two cores otherwise, and
the rate would tell how busy the rest of the machine is."""
_UNASKED = 5.0
"""Seconds after a campaign's end within which somebody would have been asked."""


# -- browsers ----------------------------------------------------------------------------------------------------------

# one push service takes pushes and answers none, while the others go on
scripted(
    "webpush-service-hangs",
    lambda chance: {
        "platform": "webpush",
        "service": chance.choice(_SERVICES),
        "seconds": chance.choice((8, 25)),
        "delivered": chance.choice(("true", "false")),
    },
    '[[rules]]\nanswer = "mute"\nservice = "{service}"\nuntil_seconds = {seconds}\ndelivered = {delivered}\n',
    platforms=_WEB,
    slow=True,
)


async def _asked_again_soon(run: Run, values: dict[str, Any]) -> None:
    """A push service that asks for some seconds is asked again after them, and not after half a minute."""
    pushes = [entry for entry in run.ledger()["webpush"] if entry.collapse == run.campaigns[-1].id]
    first = min(entry.time for entry in pushes)
    last = max(entry.time for entry in pushes if of_service(entry.token, values["service"]))
    took, most = (last - first) / 1000, 2 * values["seconds"] + _SOON
    run.note("throttled_s", round(took, 1))
    run.law("who asked for a few seconds is asked again soon", took <= most, f"the last push came after {took:.1f} s")


# Windows says 406 where others say 429
scripted(
    "webpush-throttled",
    lambda chance: {
        "platform": "webpush",
        "service": chance.choice((_WINDOWS, _WINDOWS, "fcm.googleapis.com")),
        "seconds": chance.choice((4, 10)),
        "retry_after": chance.randrange(1, 5),
    },
    '[[rules]]\nanswer = "429"\nservice = "{service}"\nuntil_seconds = {seconds}\nretry_after = {retry_after}\n',
    platforms=_WEB,
    slow=True,
    finish=_asked_again_soon,
)


async def _nobody_asked(run: Run, values: dict[str, Any]) -> None:
    """A subscription that has ended is certain: no person has to judge it."""
    await trio.sleep(_UNASKED)
    asked = [
        each["text"] for each in (await run.node.get("/v1/dead"))["items"] if each["state"] in ("stopped", "asked")
    ]
    run.law("nobody is asked about subscriptions that have ended", not asked, "; ".join(asked)[:200])


@fault(
    "webpush-ended",
    none,
    platforms=("webpush",),
    dead=0.3,
    limit=90.0,
    at=0.0,
    finish=_nobody_asked,
    latency=_PACE,
    later=True,
    compared="subscriptions that have ended cost no rate",
)
async def webpush_ended(run: Run, values: dict[str, Any]) -> None:
    """A third of the subscriptions are answered 410: they leave the base with the report."""


# -- RuStore -----------------------------------------------------------------------------------------------------------


@fault(
    "rustore-http1-outage",
    lambda chance: {"platform": "rustore", "seconds": chance.choice((2.0, 8.0))},
    script=lambda values: 'http = "1.1"\n',
    platforms=_RUSTORE,
    connections=16,
    slow=True,
)
async def rustore_http1_outage(run: Run, values: dict[str, Any]) -> None:
    """Its server speaks HTTP/1.1 alone, goes away, and comes back."""
    run.bound += (run.kind.connections + 1) * run.plan.workers  # one push a connection; one is the upper lane's
    run.may_repeat(1, "rustore")
    await run.twins["rustore"].kill()
    await trio.sleep(values["seconds"])
    await run.twins["rustore"].start()
    run.over()


@fault(
    "rustore-gone",
    none,
    platforms=("rustore",),
    dead=0.3,
    limit=90.0,
    at=0.0,
    finish=confirmed,
    later=True,
    compared="an old base goes through at its rate",
)
async def rustore_gone(run: Run, values: dict[str, Any]) -> None:
    """A third of the phones are answered 404, which is likely and no proof: a person is asked."""


# -- Huawei ------------------------------------------------------------------------------------------------------------


def _cause(plan: Plan, token: str) -> str | None:
    """Why the twin refuses a phone, by the same draw as its own."""
    for number, cause in enumerate(_CAUSES):
        if draw(f"{plan.seed % 2**31}:{number}".encode(), token) < _SHARE:
            return cause
    return None


def _refused(plan: Plan, platform: str) -> str:
    rules = (f'[[rules]]\nanswer = "refuse"\nreason = "{cause}"\nshare = {_SHARE}\n' for cause in _CAUSES)
    return "\n".join(rules) if platform == "huawei" else ""


async def _only_wrong_forms_leave(run: Run, values: dict[str, Any]) -> None:
    campaign, after = run.campaigns[-1], await run.without_the_dead()
    causes = {token: _cause(run.plan, token) for token, channel in campaign.base.items() if channel == "huawei"}
    named = {token for token, cause in causes.items() if cause is not None}
    got = {entry.token for entry in run.ledger()["huawei"] if entry.collapse == campaign.id}
    run.note("refused_by_cause", len(named))
    run.law("a refused phone gets nothing", not got & named, f"{len(got & named)} did")
    lost = {token for token in named - after.keys() if causes[token] != "tokenFormatError"}
    run.law("a phone refused for the app's or the country's sake stays", not lost, f"{len(lost)} left the base")


FAULTS["huawei-causes"] = Fault(
    "huawei-causes",
    lambda chance: {"platform": "huawei"},
    answers=_refused,
    odd=lambda plan, token: _cause(plan, token) is not None,
    finish=_only_wrong_forms_leave,
    platforms=_HUAWEI,
)
scripted(
    "huawei-flow-control",
    lambda chance: {"platform": "huawei", "seconds": chance.choice((4, 10))},
    '[[rules]]\nanswer = "503"\nuntil_seconds = {seconds}\n',
    platforms=_HUAWEI,
    slow=True,
)
# slow answers, so that a token expires in the midst of a campaign
scripted(
    "huawei-token-expires",
    lambda chance: {"platform": "huawei", "seconds": chance.randrange(1, 3), "delay": chance.randrange(300, 900)},
    'access_token_seconds = {seconds}\n\n[[rules]]\nanswer = "slow"\ndelay_ms = {delay}\n',
    platforms=_HUAWEI,
    client=True,
    slow=True,
)


# -- the night ---------------------------------------------------------------------------------------------------------


def _down(chance: random.Random) -> dict[str, Any]:
    return {"down": chance.choice(("webpush", "rustore", "huawei"))}


fault(
    "night-outage-others",
    _down,
    platforms=("webpush", "rustore", "huawei"),
    client=True,
    **(OPTIONS | {"at": 0.0}),
)(outage_into_the_night)
