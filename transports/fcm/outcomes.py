"""FCM's answers, and what each of them means for us.

Sources: firebase.google.com/docs/reference/fcm/rest/v1/ErrorCode, docs/cloud-messaging/scale-fcm; the actions are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from campaigns.outcome import Death, Fault, Outcome
from transports import foreign
from transports.decision import Decision, Then, by_status, later, stop
from transports.json_texts import rpc_error
from transports.json_texts.rpc_error import objects, text

_LEAST = 10.0  # FCM: retry no sooner than this (seconds)
_QUOTA = 60.0  # FCM: 429 without Retry-After
_MOST = 10  # violations that are read from one answer
_TOKEN_FIELDS = ("message.token", "message.fid", "token", "fid")
_FCM_ERROR = "google.firebase.fcm.v1.FcmError"
_BAD_REQUEST = "google.rpc.BadRequest"
_QUOTA_FAILURE = "google.rpc.QuotaFailure"
_APNS_ERROR = "google.firebase.fcm.v1.ApnsError"


@dataclass(frozen=True, slots=True)
class Refusal:
    """The parts of an error's body that matter."""

    status: str = ""
    """Google's own status word (``UNAUTHENTICATED``)."""
    message: str = ""
    error_code: str = ""
    """``errorCode`` of the FcmError detail; empty: there was none."""
    fields: tuple[str, ...] = ()
    """Fields that a BadRequest detail names."""
    quota: str = ""
    """Subjects and descriptions of a QuotaFailure detail: they say whose quota is used up."""
    apple: str = ""
    """Apple's own reason, where FCM passes it on."""


def parse(body: bytes) -> Refusal:
    """Read an error's body; parts that are not as documented count as absent."""
    error = rpc_error.parse(body)
    code = apple = ""
    fields: list[str] = []
    quota: list[str] = []
    for detail in error.details:
        kind = text(detail.get("@type"))
        if kind.endswith(_FCM_ERROR):
            code = code or foreign.word(detail.get("errorCode"))
        elif kind.endswith(_APNS_ERROR):
            apple = text(detail.get("reason"))[:100]
        elif kind.endswith(_BAD_REQUEST):
            fields += [text(each.get("field"))[:100] for each in objects(detail.get("fieldViolations"))[:_MOST]]
        elif kind.endswith(_QUOTA_FAILURE):
            for each in objects(detail.get("violations"))[:_MOST]:
                quota += [text(each.get("subject"))[:100], text(each.get("description"))[:100]]
    return Refusal(error.status, error.message, code, tuple(fields), " ".join(quota).strip(), apple)


def decide(status: int, refusal: Refusal, attempt: int = 1, retry_after: float | None = None) -> Decision:
    """What an answer other than 2xx means. ``attempt``: 1 for the first; ``retry_after``: seconds."""
    reason = refusal.error_code or refusal.status or f"HTTP {status}"
    match status, refusal.error_code:
        case 400, "INVALID_ARGUMENT" | "":
            return _invalid(refusal, reason)
        case 401, "THIRD_PARTY_AUTH_ERROR" | "APNS_AUTH_ERROR":
            why = f"{reason}, Apple says {refusal.apple}" if refusal.apple else reason
            remedy = "check the APNs key, or the Web Push key pair, in the Firebase console"
            return stop(reason, f"Firebase may not push to Apple or the browsers ({why}): {remedy}")
        case 401, "":
            sentence = "Google refuses a new access token (401): check the service account and this machine's clock"
            return stop(reason, sentence, Then.RENEW)
        case 403, "SENDER_ID_MISMATCH":
            return Decision(Outcome.REJECTED, reason, death=Death.DOUBTFUL)
        case 403, "":
            return stop(reason, f"the service account may not send for this project ({reason}): give it the FCM role")
        case 404, "UNREGISTERED":
            return Decision(Outcome.DEAD, reason, death=Death.LIKELY)
        case 404, "":
            return stop(reason, f"Google does not know this project ({reason}): check the channel's app (project id)")
        case 429, _:
            return _quota(refusal, reason, attempt, retry_after)
        case _:  # 500 INTERNAL, 503 UNAVAILABLE, and what is not documented
            return by_status(status, reason, _LEAST, attempt, retry_after)


def _invalid(refusal: Refusal, reason: str) -> Decision:
    payload = [name for name in refusal.fields if name and name not in _TOKEN_FIELDS]
    if payload:
        return stop(reason, f"FCM refuses the message ({reason} in {payload[0][:100]}): correct the campaign")
    # If the same payload is accepted for others, the token is malformed; otherwise the cause is unknown.
    words = refusal.message.lower()
    malformed = bool(refusal.fields) or "token" in words or "fid" in words or "installation" in words
    return Decision(Outcome.REJECTED, reason, token_doubtful=malformed and refusal.error_code == "INVALID_ARGUMENT")


def _quota(refusal: Refusal, reason: str, attempt: int, retry_after: float | None) -> Decision:
    # Google's sentence for QUOTA_EXCEEDED names all three quotas (project, device, topic); the detail says which.
    words = (refusal.quota or refusal.message).lower()
    if "device" in words and "topic" not in words and "project" not in words:
        return later(Fault.PHONE, reason, _QUOTA, attempt, retry_after)
    waits = later(Fault.CHANNEL, reason, _QUOTA, attempt, retry_after)
    return waits._replace(slow=max(_QUOTA, waits.slow))
