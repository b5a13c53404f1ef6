"""The providers' words for their refusals, and the status each comes with.

Sources: Apple, "Handling notification responses from APNs" and "Sending broadcast push notification requests to APNs";
Google, REST reference ``ErrorCode``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

APNS: Final[Mapping[str, int]] = {
    **dict.fromkeys(
        (
            "BadCollapseId",
            "BadDeviceToken",
            "BadExpirationDate",
            "BadMessageId",
            "BadPriority",
            "BadTopic",
            "DeviceTokenNotForTopic",
            "DuplicateHeaders",
            "IdleTimeout",
            "InvalidPushType",
            "MissingDeviceToken",
            "MissingTopic",
            "PayloadEmpty",
            "TopicDisallowed",
            # broadcasts
            "BadChannelId",
            "BadRequestParams",
            "BadRequestPayload",
            "CannotCreateChannelConfig",
            "ChannelNotRegistered",
            "FeatureNotEnabled",
            "MissingChannelId",
            "MissingPushType",
        ),
        400,
    ),
    **dict.fromkeys(
        (
            "BadCertificate",
            "BadCertificateEnvironment",
            "BadEnvironmentKeyIdInToken",
            "ExpiredProviderToken",
            "Forbidden",
            "InvalidProviderToken",
            "MissingProviderToken",
            "TopicMismatch",
            "UnrelatedKeyIdInToken",
        ),
        403,
    ),
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "ExpiredToken": 410,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
    "TooManyProviderTokenUpdates": 429,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
    "Shutdown": 503,
}

FCM: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "THIRD_PARTY_AUTH_ERROR": 401,
    "APNS_AUTH_ERROR": 401,
    "SENDER_ID_MISMATCH": 403,
    "UNREGISTERED": 404,
    "QUOTA_EXCEEDED": 429,
    "INTERNAL": 500,
    "UNSPECIFIED_ERROR": 500,
    "UNAVAILABLE": 503,
}

#: Apple's words to browsers' senders ("Sending web push notifications in web apps and browsers"); other push services
#: have sentences, numbers, or nothing.
WEBPUSH: Final[Mapping[str, int]] = {
    **dict.fromkeys(("BadTtl", "BadUrgency", "BadWebPushTopic", "BadDeviceToken", "BadPayload"), 400),
    **dict.fromkeys(("BadJwtToken", "VapidPkHashMismatch"), 403),
    "BadPath": 404,
    "MethodNotAllowed": 405,
    "Unregistered": 410,
    "PayloadTooLarge": 413,
    "TooManyRequests": 429,
    "InternalServerError": 500,
    "ServiceUnavailable": 503,
}

#: What each short answer of a script stands for.
APNS_USUAL: Final[Mapping[str, str]] = {
    "dead": "Unregistered",
    "429": "TooManyRequests",
    "500": "InternalServerError",
    "503": "ServiceUnavailable",
}
WEBPUSH_USUAL: Final[Mapping[str, str]] = {
    "dead": "Unregistered",
    "429": "TooManyRequests",
    "500": "InternalServerError",
    "503": "ServiceUnavailable",
}
FCM_USUAL: Final[Mapping[str, str]] = {
    "dead": "UNREGISTERED",
    "429": "QUOTA_EXCEEDED",
    "500": "INTERNAL",
    "503": "UNAVAILABLE",
}

#: FCM's sentences, where it has one of its own.
FCM_SAID: Final[Mapping[str, str]] = {
    "UNREGISTERED": "Requested entity was not found.",
    "QUOTA_EXCEEDED": "Quota exceeded for quota metric 'Send requests' of service 'fcm.googleapis.com'.",
    "UNAVAILABLE": "The service is currently unavailable.",
    "INTERNAL": "Internal error encountered.",
    "SENDER_ID_MISMATCH": "SenderId mismatch",
    "THIRD_PARTY_AUTH_ERROR": "Auth error from APNS or Web Push Service",
    "INVALID_ARGUMENT": "The registration token is not a valid FCM registration token",
}

#: google.rpc's names of statuses.
RPC_NAMES: Final[Mapping[int, str]] = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
