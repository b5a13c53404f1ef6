"""Adapts a message to a platform that cannot carry it as it is, if an editor wants that.

Two adaptations are honest, because what remains is still the editor's own text: a key of the app's data that the
platform reserves is left out, and the end of a body that is too long is cut off. A title is never changed, and an
option neither: it was written for this platform.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from broadside.errors import shown
from broadside.newsroom.graphemes import ends
from campaigns import personal
from campaigns.campaign import ADAPTED
from campaigns.message import Message
from transports.errors import PayloadError

SHORTEST = 40
"""Characters of a body that must remain: less tells nobody anything."""
_CUT = "…"


def adapt(message: Message, check: Callable[[Message], None]) -> tuple[Message, list[str]]:
    """Return a message that passes ``check``, and what was changed, a sentence each; none if it passes as it is.

    Raises the platform's ``PayloadError`` if neither adaptation helps. They are found by trying, so they need to know
    nothing of a platform.
    """
    objection = _objection(message, check)
    if objection is None:
        return message, []
    bare = replace(message, data={}, body=message.body[: ends(message.body)[0]] if message.body else "")
    if _objection(bare, check) is not None:
        raise objection
    sentences, data = [], {}
    for name, value in message.data.items():
        # without its value: the size is another objection, and data of the app is never left out for it
        if (why := _objection(replace(bare, data={name: ""}), check)) is None:
            data[name] = value
        else:
            sentences.append(f"the data key {shown(name, 40)} is left out ({why})")
    adapted = replace(message, data=data)
    if (why := _objection(adapted, check)) is not None:
        if personal.fields(message):
            raise why  # a cut might fall into a field, and everybody's body has another end
        adapted, sentence = _cut(adapted, check, why)
        sentences.append(sentence)
    return adapted, sentences


def policy_entries(adapted: Mapping[str, tuple[Message, list[str]]]) -> list[dict[str, Any]]:
    """The entries of a campaign's policy (`campaigns.campaign.ADAPTED`), of channel → its message and the sentences."""
    entries: list[tuple[Message, dict[str, Any]]] = []
    for channel, (message, sentences) in sorted(adapted.items()):
        for known, entry in entries:
            if known == message and entry["notes"] == sentences:
                entry["channels"].append(channel)
                break
        else:
            text = msgspec.json.encode(message).decode()
            entries.append((message, {"channels": [channel], "message": text, "notes": sentences}))
    return [entry for _, entry in entries]


def notes(policy: Mapping[str, Any]) -> list[str]:
    """What was adapted in a campaign, a sentence each."""
    entries = policy.get(ADAPTED, [])
    return [f"adapted for {', '.join(entry['channels'])}: {note}" for entry in entries for note in entry["notes"]]


def _cut(message: Message, check: Callable[[Message], None], why: PayloadError) -> tuple[Message, str]:
    """Cut the body to the longest part that passes; raises ``why`` if too little would remain."""
    places = ends(message.body)

    def shortened(count: int) -> Message:
        return replace(message, body=message.body[: places[count - 1]].rstrip() + _CUT)

    refused = range(SHORTEST, len(places))
    passing = bisect_right(refused, False, key=lambda count: _objection(shortened(count), check) is not None)
    if passing == 0:
        raise why
    left = SHORTEST + passing - 1
    return shortened(left), f"the body is cut to {left:,} of {len(places):,} characters ({why})"


def _objection(message: Message, check: Callable[[Message], None]) -> PayloadError | None:
    try:
        check(message)
    except PayloadError as error:
        return error
    return None
