"""Plays a script's rules: what every provider that answers one push a request does about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from simulators.answers import TwinAnswer, is_silent, raw, refusal, scripted
from simulators.anything import Anything
from simulators.faults.script import Rule
from simulators.http2.header_compression import Field
from simulators.ledger import Ledger


class ScriptPlayer:
    """Plays rules with one provider's words.

    Args:
        anything: draws the answers of ``anything``.
        usual, statuses: as of :func:`simulators.answers.refusal`.
        usual_type: the content type of a ``raw`` answer whose rule names none.
        ledger: counts refusals.
        latency: draws the seconds before each answer.
    """

    def __init__(
        self,
        anything: Anything,
        usual: Mapping[str, str],
        statuses: Mapping[str, int],
        usual_type: Field,
        ledger: Ledger,
        latency: Callable[[], float],
    ) -> None:
        self._anything = anything
        self._usual = usual
        self._statuses = statuses
        self._usual_type = usual_type
        self._ledger = ledger
        self._latency = latency

    def play(
        self, rule: Rule, token: str, accept: Callable[[int], None], refuse: Callable[[int, str], TwinAnswer]
    ) -> TwinAnswer:
        """Answer a push as a rule says.

        Args:
            rule: any but ``accept`` and ``slow``.
            token: whom the push is for.
            accept: adds the push to the ledger, with the status that its sender gets; 0: none.
            refuse: refuses it, with a status and a reason, which may be empty.
        """
        if rule.answer == "anything":
            status, answer = self._anything.draw(token, rule.status)
            if rule.delivered or 200 <= status < 300:
                accept(status)
            else:
                self._ledger.refuse(f"anything {status}")
            return scripted(answer, rule, self._latency())
        status, reason = refusal(rule, self._usual, self._statuses)
        if rule.answer == "raw":
            status = rule.status or 200
        if rule.delivered:
            accept(0 if is_silent(rule) else status)
        latency = self._latency()
        if rule.answer == "raw":
            self._ledger.refuse(f"raw {status}")
            return scripted(raw(rule, self._usual_type), rule, latency)
        return scripted(refuse(status, reason), rule, latency)
