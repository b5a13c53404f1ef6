"""Recognises and normalises Huawei's push tokens. Huawei promises no form."""

from __future__ import annotations

from transports.device_tokens import OpaqueTokens

KINDS = ("token",)
TOKENS = OpaqueTokens("Huawei", "_.=+/-")
