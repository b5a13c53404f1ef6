"""Access tokens as a twin's token endpoint issues them, and recognises them later."""

from __future__ import annotations

import secrets

import msgspec

from simulators.answers import JSON_UTF_8, STATUS, TwinAnswer
from simulators.faults.script import TokenEndpointRule


class IssuedTokens:
    """The tokens that are valid now. ``prefix``: what each begins with; ``life``: seconds for which one is valid."""

    def __init__(self, prefix: str, life: int) -> None:
        self._prefix = prefix
        self.life = life
        self._issued: dict[bytes, float] = {}

    def is_good(self, token: bytes, now: float) -> bool:
        """Whether this endpoint issued ``token`` and it has not expired (``now``: seconds UTC)."""
        expires = self._issued.get(token)
        return expires is not None and now < expires

    def issue(self, now: float) -> str:
        """Make a token that is valid from ``now`` on (seconds UTC)."""
        token = self._prefix + secrets.token_urlsafe(48)
        self._issued = {known: expires for known, expires in self._issued.items() if expires > now}
        self._issued[token.encode()] = now + self.life
        return token

    def grant(self, now: float) -> TwinAnswer:
        """Issue a token, and return the answer that brings it."""
        granted = {"access_token": self.issue(now), "expires_in": self.life, "token_type": "Bearer"}
        return TwinAnswer((STATUS[200], JSON_UTF_8), msgspec.json.encode(granted))


def refused_by(rule: TokenEndpointRule) -> tuple[TwinAnswer, str]:
    """Return the answer that a script gives instead of an access token, and the reason it is counted under."""
    said = msgspec.json.encode({"error": rule.error, "error_description": "The script says so."})
    body = said if rule.body is None else rule.body.encode()
    answer = TwinAnswer((STATUS[rule.status], JSON_UTF_8), body, rule.delay_ms / 1000)
    answer.mute = rule.mute
    return answer, f"token: {rule.error}" if rule.body is None else f"token: {rule.status}"
