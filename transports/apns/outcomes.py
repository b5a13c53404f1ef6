"""Apple's answers, and what each of them means for us.

Source: developer.apple.com, "Handling notification responses from APNs"; the actions are ours.
"""

from __future__ import annotations

import msgspec

from campaigns.outcome import Death, Fault, Outcome
from transports import foreign
from transports.decision import Decision, Then, later, stop

_BUG = "Apple refuses every push of this kind ({reason}): this is a fault of the campaign or of Broadside"

_STOPS: dict[str, str] = {
    **dict.fromkeys(
        (
            "BadCollapseId",
            "BadExpirationDate",
            "BadMessageId",
            "BadPriority",
            "DuplicateHeaders",
            "InvalidPushType",
            "PayloadEmpty",
            "BadPath",
            "MethodNotAllowed",
        ),
        _BUG,
    ),
    "BadTopic": "Apple does not know the topic ({reason}): check the channel's app (the bundle id)",
    "MissingTopic": "the topic is missing ({reason}): set the channel's app (the bundle id)",
    "TopicDisallowed": "this key may not push to this app ({reason}): check the channel's app and key",
    "BadCertificate": "Apple refuses the certificate ({reason}): replace it",
    "BadCertificateEnvironment": "the certificate is for the other environment ({reason}): production or sandbox?",
    "MissingProviderToken": "Apple saw no provider token ({reason}): this is a fault of Broadside",
    "BadEnvironmentKeyIdInToken": "the key is for the other environment ({reason}): production or sandbox?",
    "PayloadTooLarge": "Apple finds the message too large ({reason}): shorten it",
    **dict.fromkeys(
        (
            "FeatureNotEnabled",
            "MissingChannelId",
            "BadChannelId",
            "ChannelNotRegistered",
            "BadRequestParams",
            "BadRequestPayload",
            "MissingPushType",
            "CannotCreateChannelConfig",
            "TopicMismatch",
        ),
        "Apple refuses this broadcast ({reason}): check the broadcast channel's set-up",
    ),
}

_STATUS_OF = {
    "BadCollapseId": 400, "BadExpirationDate": 400, "BadMessageId": 400, "BadPriority": 400, "BadTopic": 400,
    "DuplicateHeaders": 400, "InvalidPushType": 400, "MissingTopic": 400, "PayloadEmpty": 400,
    "MissingDeviceToken": 400, "BadDeviceToken": 400, "DeviceTokenNotForTopic": 400, "TopicDisallowed": 400,
    "IdleTimeout": 400, "FeatureNotEnabled": 400, "MissingChannelId": 400, "BadChannelId": 400,
    "ChannelNotRegistered": 400, "BadRequestParams": 400, "BadRequestPayload": 400, "MissingPushType": 400,
    "CannotCreateChannelConfig": 400, "BadCertificate": 403, "BadCertificateEnvironment": 403,
    "MissingProviderToken": 403, "InvalidProviderToken": 403, "BadEnvironmentKeyIdInToken": 403, "Forbidden": 403,
    "ExpiredProviderToken": 403, "UnrelatedKeyIdInToken": 403, "TopicMismatch": 403, "BadPath": 404,
    "MethodNotAllowed": 405, "Unregistered": 410, "ExpiredToken": 410, "PayloadTooLarge": 413,
    "TooManyRequests": 429, "TooManyProviderTokenUpdates": 429, "InternalServerError": 500,
    "ServiceUnavailable": 503, "Shutdown": 503,
}  # fmt: skip
REASONS = frozenset(_STATUS_OF)
"""Every reason that Apple documents."""

_LATER = 900.0  # Apple: after 15 minutes
_DEVICE_LIMIT = 60.0
_SOON = 1.0
_NOT_NOW = (408, 421, 425)  # RFC 9110, 8470: request timeout, misdirected request, too early


class _Error(msgspec.Struct):
    reason: object = None
    timestamp: object = None


_DECODER = msgspec.json.Decoder(_Error)


def parse(body: bytes, now: int) -> tuple[str, int | None]:
    """Return (reason, timestamp in ms) of an error's body; the reason is empty if it may not be counted.

    ``now``: ms UTC. A timestamp before 1970 or more than a day after ``now`` counts as absent.
    """
    try:
        error = _DECODER.decode(body)
    except foreign.UNREADABLE:
        error = _Error()
    return foreign.word(error.reason), foreign.timestamp(error.timestamp, now)


def decide(
    status: int, reason: str, timestamp: int | None = None, attempt: int = 1, retry_after: float | None = None
) -> Decision:
    """What an answer other than 200 means.

    ``timestamp``: ms UTC, from a 410. ``attempt``: 1 for the first. ``retry_after``: seconds; Apple does not document
    it, but it is followed.
    """
    known = _STATUS_OF.get(reason)
    if known is not None and known // 100 == status // 100:
        return _by_reason(reason, timestamp, attempt, retry_after or 0.0)
    label = reason or f"HTTP {status}"
    if status == 410:
        return _gone(label, timestamp)
    if status == 429:
        return later(Fault.MOMENT, label, _DEVICE_LIMIT, attempt, retry_after)
    if status in _NOT_NOW:
        return later(Fault.MOMENT, label, _SOON, attempt, retry_after, Then.RECONNECT)
    if 400 <= status < 500:
        return Decision(Outcome.REJECTED, label)
    return later(Fault.MOMENT, label, _LATER, attempt, retry_after)


def _by_reason(reason: str, timestamp: int | None, attempt: int, retry_after: float) -> Decision:
    sentence = _STOPS.get(reason)
    if sentence is not None:
        return stop(reason, sentence.format(reason=reason))
    match reason:
        case "Unregistered" | "ExpiredToken":
            return _gone(reason, timestamp)
        case "BadDeviceToken" | "DeviceTokenNotForTopic":  # also the answer to a key of the other environment
            return Decision(Outcome.REJECTED, reason, death=Death.DOUBTFUL)
        case "MissingDeviceToken":
            return Decision(Outcome.REJECTED, reason)
        case "Forbidden":
            return Decision(
                Outcome.REJECTED, reason, repeated="Apple forbids push after push (Forbidden): check the key's rights"
            )
        case "IdleTimeout" | "UnrelatedKeyIdInToken":
            fault = Fault.MOMENT if reason == "IdleTimeout" else Fault.CHANNEL
            return later(fault, reason, _SOON, 1, retry_after, Then.RECONNECT)
        case "ExpiredProviderToken":
            sentence = "Apple calls a new provider token expired (ExpiredProviderToken): check this machine's clock"
            return stop(reason, sentence, Then.RENEW_AND_RECONNECT)
        case "InvalidProviderToken":
            sentence = "Apple refuses the signing key (InvalidProviderToken): check key, key_id, team_id and the clock"
            return stop(reason, sentence, Then.RENEW_IF_MISDATED)
        case "TooManyRequests":
            return later(Fault.PHONE, reason, _DEVICE_LIMIT, attempt, retry_after)
        case "TooManyProviderTokenUpdates":
            return later(Fault.CHANNEL, reason, _DEVICE_LIMIT, 1, retry_after, Then.KEEP_TOKEN)
        case "Shutdown":
            base = _SOON if attempt <= 1 else _LATER
            return later(Fault.MOMENT, reason, base, max(1, attempt - 1), retry_after, Then.RECONNECT)
        case _:  # InternalServerError, ServiceUnavailable
            return later(Fault.MOMENT, reason, _LATER, attempt, retry_after)


def _gone(reason: str, timestamp: int | None) -> Decision:
    """410. With Apple's own timestamp, a wrong key cannot be the cause."""
    death = Death.LIKELY if timestamp is None else Death.CERTAIN
    return Decision(Outcome.DEAD, reason, unregistered_at=timestamp, death=death)
