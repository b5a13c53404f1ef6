"""Huawei's answers, and what each of them means for us.

Sources: developer.huawei.com, "https-send-api" (HMSCore, the first two forms of the API) and
"push-scenariozed-api-response" (HarmonyOS, the third). Nothing was tried against Huawei itself; the actions are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from campaigns.outcome import Death, Fault, Outcome
from transports import foreign
from transports.decision import Decision, Then, by_status, later, stop
from transports.group_dispatch import GroupVerdict

_LEAST = 10.0
"""Seconds until the next try after a fault of Huawei's own."""
_FLOW = 5.0
"""Seconds for which the channel sends nothing after 503, which is Huawei's flow control."""

_MESSAGE = {
    "80100001": "wrong parameter",
    "80100003": "wrong structure",
    "80100004": "wrong expiry",
    "80100013": "wrong collapse_key",
    "80100016": "sensitive text",
    "80100018": "wrong review signature",
    "80100022": "picture not reviewed",
    "80300008": "body too large",
    "80300010": "wrong number of tokens",
    "80300030": "too many tokens for a test",
}
"""Codes that speak of the message: it would be refused for every phone."""
_ACCOUNT = {
    "80300002": "no permission: switch Push Kit on in AppGallery Connect, and check the channel's app",
    "80300011": "no right to high priority: ask Huawei for it, or remove urgency HIGH",
    "80300013": "wrong receipt address: correct it in AppGallery Connect",
    "80300036": "the token's lifetime is over a day: check this machine's clock",
    "80300037": "the app is under a penalty: see AppGallery Connect",
}
"""Codes that speak of the app or the account."""
_APPS_CAUSES = {
    "appinfoError": "the app does not exist: check the channel's app in AppGallery Connect",
    "differentImgVerifyPolicy": "the picture was reviewed for another push type",
    "disableSendHuaweiMsgBecauseOfPenalty": "the app is under a penalty: see AppGallery Connect",
    "noPushTypeRight": "the app has no right to this push type: ask Huawei for it",
    "noRightToSendThisLiveNotificationEvent": "the app has no right to live notifications: ask Huawei for it",
    "notSupportPlayVoice": "this category needs another push type",
}
"""Causes in ``illegalTokens`` that speak of the app or the message, not of the phone."""


class HuaweiAnswer(NamedTuple):
    """The parts of an answer's body that matter."""

    code: str = ""
    refused: Mapping[str, str] = {}
    """Token → the cause for which it is refused; empty: Huawei names none."""
    named: bool = False
    """Whether the answer says which tokens are refused."""
    text: str = ""


def parse(body: bytes) -> HuaweiAnswer:
    """Read an answer's body; parts that are not as documented count as absent."""
    try:
        document = msgspec.json.decode(body)
    except foreign.UNREADABLE:
        return HuaweiAnswer()
    if not isinstance(document, dict):
        return HuaweiAnswer()
    code, said = document.get("code"), document.get("msg")
    found = _refused(said)
    text = said if isinstance(said, str) and found is None else ""
    return HuaweiAnswer(foreign.word(str(code))[:10] if code is not None else "", found or {}, bool(found), text[:100])


def _refused(said: object) -> dict[str, str] | None:
    """The refused tokens in ``msg``, which is itself JSON then: a list, or lists by cause."""
    try:
        told = msgspec.json.decode(said) if isinstance(said, str) else said
    except foreign.UNREADABLE:
        return None
    if not isinstance(told, dict):
        return None
    listed = told.get("illegal_tokens", told.get("illegalTokens"))
    if isinstance(listed, list):
        return {token: "" for token in listed if isinstance(token, str)}
    if isinstance(listed, dict):
        return {token: foreign.word(cause) for cause, tokens in listed.items() for token in _strings(tokens)}
    return None


def _strings(value: Any) -> list[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def verdict(status: int, answer: HuaweiAnswer, attempt: int = 1, retry_after: float | None = None) -> GroupVerdict:
    """What an answer means. ``attempt``: 1 for the first; ``retry_after``: seconds."""
    if answer.code == "80000000":
        return GroupVerdict()
    if answer.code == "80100000" or (answer.code == "80300007" and answer.named):
        return GroupVerdict(refused={token: _by_cause(cause) for token, cause in answer.refused.items()})
    return GroupVerdict(decide(status, answer, attempt, retry_after))


def decide(status: int, answer: HuaweiAnswer, attempt: int = 1, retry_after: float | None = None) -> Decision:
    """What an answer that refuses all tokens means."""
    code = answer.code
    reason = code or f"HTTP {status}"
    if code in _MESSAGE:
        why = f"{code} {_MESSAGE[code]}" + (f": {answer.text}" if answer.text else "")
        return stop(reason, f"Huawei refuses the message ({why}): correct the campaign")
    if code in _ACCOUNT:
        return stop(reason, f"Huawei refuses the app ({code}): {_ACCOUNT[code]}")
    match code:
        case "80300007":  # "all the tokens are invalid": or the app or project is wrong
            return Decision(Outcome.REJECTED, reason, death=Death.DOUBTFUL)
        case "80200001" | "80200003" | "80200005":  # authentication, access token expired, JWT expired
            remedy = "check the credentials, the channel's app, and this machine's clock"
            return stop(reason, f"Huawei refuses the credential ({reason}): {remedy}", Then.RENEW)
        case "80100017" | "80300029":  # too many topic tasks; too many test messages
            return later(Fault.CHANNEL, reason, _LEAST, attempt, retry_after)
        case "80600003" | "81000001":  # trouble with OAuth, internal error
            return later(Fault.MOMENT, reason, _LEAST, attempt, retry_after)
    if status == 503:
        waits = later(Fault.CHANNEL, "flow control", _LEAST, attempt, retry_after)
        return waits._replace(slow=max(_FLOW, waits.slow))
    if status == 401:
        return stop(reason, "Huawei refuses the credential (401): check it, and this machine's clock", Then.RENEW)
    if status == 404:
        return stop(reason, "Huawei does not know this address (404): check the channel's app")
    if 200 <= status < 300:  # without a code that we know: not accepted, as far as one can tell
        return Decision(
            Outcome.REJECTED, code or "no code", repeated=f"Huawei answers what is not documented ({reason})"
        )
    return by_status(status, reason, _LEAST, attempt, retry_after)


def _by_cause(cause: str) -> Decision:
    """What is meant by a token in ``illegalTokens``. Of the causes, only a wrong form is the token's own fault."""
    if not cause:  # the first form of the API names none
        return Decision(Outcome.DEAD, "illegal token", death=Death.LIKELY)
    if cause == "tokenFormatError":
        return Decision(Outcome.REJECTED, cause, death=Death.DOUBTFUL)
    if cause in _APPS_CAUSES:
        return stop(cause, f"Huawei refuses the app ({cause}): {_APPS_CAUSES[cause]}")
    return Decision(Outcome.REJECTED, cause)
