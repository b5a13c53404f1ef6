"""Which rule of a script answers a request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from simulators.faults.script import Rule, Script, TokenEndpointRule

_TOP = 2.0**64


class Director:
    """Decides which rule answers a request. Keeps count if a rule has ``times``.

    Args:
        script: the rules.
        clock: seconds on any monotonic scale; rules' windows count from construction.
    """

    def __init__(self, script: Script, clock: Callable[[], float]) -> None:
        self.script = script
        self._clock = clock
        self._started = clock()
        self._keys = [f"{script.seed}:{number}".encode() for number in range(len(script.rules))]
        self._used: dict[tuple[int, str], int] = {}
        self._token_requests = [0] * len(script.token_endpoint)

    def rule_for(self, token: str, *, service: str = "", kind: str = "token") -> Rule | None:
        """Return the rule for this request for ``token`` and count it; None: accept.

        ``service``: the host that is meant, where a twin plays several; ``kind``: of the target, at Google.
        """
        for number, rule in enumerate(self.script.rules):
            if not self._concerns(number, rule, token, service, kind):
                continue
            if rule.times is not None:
                used = self._used.get((number, token), 0)
                if used >= rule.times:
                    continue
                self._used[number, token] = used + 1
            return rule
        return None

    def token_rule(self) -> TokenEndpointRule | None:
        """Return the rule for this request for an access token and count it; None: grant it."""
        for number, rule in enumerate(self.script.token_endpoint):
            if rule.times is None or self._token_requests[number] < rule.times:
                self._token_requests[number] += 1
                return rule
        return None

    def _concerns(self, number: int, rule: Rule, token: str, service: str, kind: str) -> bool:
        if rule.service is not None and not f".{service}".endswith(f".{rule.service}"):
            return False
        if rule.kind is not None and rule.kind != kind:
            return False
        if rule.prefix is not None and not token.startswith(rule.prefix):
            return False
        if rule.share is not None and draw(self._keys[number], token) >= rule.share:
            return False
        if rule.from_seconds or rule.until_seconds is not None:
            elapsed = self._clock() - self._started
            if elapsed < rule.from_seconds or (rule.until_seconds is not None and elapsed >= rule.until_seconds):
                return False
        return rule.while_file is None or Path(rule.while_file).exists()


def draw(key: bytes, token: str) -> float:
    """A number in [0, 1) that depends only on the arguments."""
    digest = hashlib.blake2b(token.encode(), digest_size=8, key=key[:64]).digest()
    return int.from_bytes(digest) / _TOP
