"""Recognises and normalises RuStore's push tokens. RuStore promises no form."""

from __future__ import annotations

from transports.device_tokens import OpaqueTokens

KINDS = ("token",)
TOKENS = OpaqueTokens("RuStore", "_:.=+~-")
