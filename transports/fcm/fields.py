"""The fields of a channel's ``credentials`` table for Google, and Google's origin."""

from __future__ import annotations

from transports.contract import DELIVERY_ORIGIN, CredentialField

SERVICE_ACCOUNT = CredentialField(
    "service_account", "the service account's JSON file from console.firebase.google.com", file=True
)
WORKLOAD_IDENTITY = CredentialField(
    "workload_identity",
    "the JSON file of type external_account from gcloud iam workload-identity-pools create-cred-config",
    file=True,
    public_beside="workload_identity",  # it holds no secret
)
METADATA_SERVER = CredentialField(
    "metadata_server",
    "default, or the e-mail address of another service account of this machine on Google Cloud",
    pattern="default|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+",
    form='"default" or an e-mail address',
)
DEVICES = ("android", "ios", "web")
"""What a registration may belong to: each has a part of its own in a request."""
ORIGIN = "https://fcm.googleapis.com"
ANDROID_APP = CredentialField(
    "android_app",
    "the Android app's id in the Firebase console, under project settings",
    pattern=r"\d+:\d+:android:[0-9a-f]+",
    form='an app id like "1:1234567890:android:0a1b2c3d4e5f67890a1b2c"',
)
DELIVERY = (ANDROID_APP, DELIVERY_ORIGIN)
"""The entries of a channel's ``delivery`` table."""
