"""The providers' words for their refusals, and the status each comes with.

Sources: Apple, "Handling notification responses from APNs" and "Sending broadcast push notification requests to APNs";
Google, REST reference ``ErrorCode``; RuStore, "Sending push notifications (API)"; Huawei, "https-send-api"
and "push-scenariozed-api-response" (the statuses beside its codes are ours).
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

RUSTORE: Final[Mapping[str, int]] = {
    "INVALID_ARGUMENT": 400,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "TOO_MANY_REQUESTS": 429,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,  # not in RuStore's table: what a server in front of it may say
}

HUAWEI: Final[Mapping[str, int]] = {
    "80000000": 200,
    "80100000": 200,
    "80100001": 400,
    "80100003": 400,
    "80100004": 400,
    "80100013": 400,
    "80100016": 400,
    "80100017": 400,
    "80100018": 400,
    "80100022": 400,
    "80200001": 401,
    "80200003": 401,
    "80200005": 401,
    "80300002": 403,
    "80300007": 200,
    "80300008": 400,
    "80300010": 400,
    "80300011": 400,
    "80300013": 400,
    "80300029": 400,
    "80300030": 400,
    "80300036": 401,
    "80300037": 400,
    "80600003": 500,
    "81000001": 500,
    "flow control": 503,  # no code: HTTP 503 alone
}
#: Why a token is in a partial answer's list (the third form of Huawei's API).
HUAWEI_CAUSES: Final[Mapping[str, int]] = dict.fromkeys(
    (
        "appinfoError",
        "atomicUnableSendUnsubscribedMsg",
        "countryNotSupport",
        "differentImgVerifyPolicy",
        "disableSendHuaweiMsgBecauseOfPenalty",
        "noPushTypeRight",
        "noRight",
        "noRightToSendThisLiveNotificationEvent",
        "notSupportPlayVoice",
        "tokenFormatError",
        "tokenPlatformNotSupport",
    ),
    200,
)

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

RUSTORE_USUAL: Final[Mapping[str, str]] = {
    "dead": "NOT_FOUND",
    "429": "TOO_MANY_REQUESTS",
    "500": "INTERNAL",
    "503": "UNAVAILABLE",
}
HUAWEI_USUAL: Final[Mapping[str, str]] = {"429": "flow control", "500": "81000001", "503": "flow control"}
HUAWEI_SAID: Final[Mapping[str, str]] = {
    "80100001": "Check Parameter Error.",
    "80200001": "Authentication Error.",
    "80200003": "Access token expired.",
    "80200005": "Jwt token expired.",
    "80300002": "No permission to send message to these tmIDs.",
    "80300007": "All the tokens are invalid.",
    "80300036": "JWT expire period over threshold.",
    "81000001": "Inner Error.",
}
RUSTORE_SAID: Final[Mapping[str, str]] = {
    "INVALID_ARGUMENT": "invalid push token",
    "PERMISSION_DENIED": "wrong service token",
    "NOT_FOUND": "push token not found",
    "TOO_MANY_REQUESTS": "too many requests",
    "INTERNAL": "internal error",
    "UNAVAILABLE": "unavailable",
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

#: Every reason that a script may name without its status.
KNOWN: Final = frozenset().union(APNS, FCM, HUAWEI, HUAWEI_CAUSES, RUSTORE, WEBPUSH)
