"""The fields of a channel's ``credentials`` table for Huawei, and Huawei's addresses."""

from __future__ import annotations

from transports.contract import CredentialField

SERVICE_ACCOUNT = CredentialField(
    "service_account",
    "the service account key's JSON file: HUAWEI Developers, API Console, Credentials",
    file=True,
)
CLIENT_ID = CredentialField(
    "client_id", "the app's client id: AppGallery Connect, Project settings", pattern="[0-9]{1,32}", form="a number"
)
CLIENT_SECRET = CredentialField(
    "client_secret", "a file with the app's client secret: AppGallery Connect, Project settings", file=True
)
API = CredentialField(
    "api",
    "v1 (the channel's app is the app id) or v2 (it is the project id); v1 if it is not given",
    required=False,
    pattern="v[12]",
    form="v1 or v2",
)
TOKEN_URI = CredentialField(
    "token_uri",
    "the address that gives access tokens, if it is not Huawei's own",
    required=False,
    pattern=r"https://\S+",
    form="an https address",
)
BY_ACCOUNT = (SERVICE_ACCOUNT,)
BY_CLIENT = (CLIENT_ID, CLIENT_SECRET, API, TOKEN_URI)
ORIGIN = "https://push-api.cloud.huawei.com"
HUAWEIS_TOKEN_URI = "https://oauth-login.cloud.huawei.com/oauth2/v3/token"  # noqa: S105 - an address
