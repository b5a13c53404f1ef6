"""What the API asks of a message's texts: every refusal names the field, the value and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from broadside.api.text_rules import LARGEST_TEXTS, texts_problem, warnings
from broadside.cli.message_options import Written, request_of
from broadside.errors import UsageError
from campaigns.message import Message, PlatformText, Text

WRONG = {
    "no language": (
        Message(texts={"klingon!": Text(body="x")}),
        'message.texts.klingon!: "klingon!" is no language tag',
    ),
    "another spelling": (
        Message(texts={"pt_br": Text(body="x")}),
        'message.texts.pt_br: "pt_br" is not how a language is written here (write pt-BR)',
    ),
    "a platform's language": (
        Message(platforms={"fcm": PlatformText(texts={"IW": Text(body="x")})}),
        'message.platforms.fcm.texts.IW: "IW" is not how a language is written here (write he)',
    ),
    "an empty text": (Message(texts={"pt": Text()}), "message.texts.pt: is empty (give it a title or a body, or leave"),
    "a long text": (Message(texts={"pt": Text(body="x" * 5_121)}), "message.texts.pt.body: is too long (at most 5,120"),
    "a link that is code": (
        Message(texts={"pt": Text(url="javascript:alert(1)")}),
        'message.texts.pt.url: "javascript:alert(1)" is code, not a link',
    ),
    "a picture in the app": (
        Message(image="app://picture"),
        'message.image: "app://picture" is not a picture\'s address (write https://…)',
    ),
    "a platform's picture": (
        Message(platforms={"apns": PlatformText(image="x.png")}),
        'message.platforms.apns.image: "x.png" is not a picture',
    ),
    "a field without a default": (
        Message(title="Hi {first_name}"),
        "message.title: the field {first_name} has no default (write {first_name|…} with what somebody without it",
    ),
    "nine fields": (
        Message(title="".join(f"{{f{n}|x}}" for n in range(9))),
        "message: has 9 personal fields (at most 8: each travels with every push)",
    ),
    "a negative badge": (Message(badge=-1), "message.badge: -1 is not a number for an icon (0 to 99999; 0 removes it)"),
    "an empty sound": (Message(sound=" "), 'message.sound: " " is not a name (1 to 64 characters; leave it out'),
    "a long story": (Message(thread="x" * 65), "message.thread: "),
    "a slot with a blank": (
        Message(collapse="the score"),
        'message.collapse: "the score" is not a slot (1 to 32 of A-Z a-z 0-9 - _)',
    ),
    "more than a campaign can hold": (
        Message(texts={f"a{chr(97 + n)}": Text(body="x" * 5_000) for n in range(10)}),
        f"message.texts: have 50,176 bytes (at most {LARGEST_TEXTS:,} in all languages)",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_text_that_cannot_be_sent_is_refused_with_field_value_and_remedy(kind: str) -> None:
    message, said = WRONG[kind]
    problem = texts_problem(message)
    assert problem is not None
    assert str(problem).startswith(said)


def test_a_message_with_everything_is_taken() -> None:
    message = Message(
        title="Storm",
        body="Stay inside, {first_name|friend} {1,2} { x }",
        image="https://example.com/a.jpg",
        texts={"pt-BR": Text(body="Fique"), "zh-Hant": Text(title="風暴"), "pt": Text(url="app://story/7")},
        platforms={"apns": PlatformText(title="S", texts={"de": Text(body="Sturm")})},
        sound="none",
        badge=0,
        category="BREAKING",
        thread="storm-7",
        collapse="score",
    )
    assert texts_problem(message) is None


@pytest.mark.parametrize(
    ("length", "said"),
    [
        (90, []),
        (91, ["the body has 91 characters: small phones cut it"]),
        (120, ["the body has 120 characters: small phones cut it"]),
        (121, ["the body has 121 characters: most phones cut it"]),
    ],
)
def test_length_is_a_warning_and_blocks_nothing(length: int, said: list[str]) -> None:
    assert warnings("Storm", "x" * length) == said
    assert texts_problem(Message(body="x" * length)) is None


FILES = {
    "not JSON": (b"{", r'--message: file "[^"]*": body: is not a message'),
    "not UTF-8": (b'{"title": "\xe9"}', r'--message: file "[^"]*": body: is not UTF-8'),
    "an unknown field": (b'{"titel": "x"}', r'titel: unknown field \(did you mean "title"\?'),
    "an unknown field of a text": (b'{"texts": {"pt": {"bodi": "x"}}}', r"texts.pt.bodi: unknown field"),
    "a control character": (b'{"title": "\\u001b[2J"}', r"title: holds the control character U\+001B"),
    "nothing to read": (b"{}", "--title: is empty, and so is --body"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_message_file_with_a_mistake_is_refused_by_its_field(kind: str, tmp_path: Path) -> None:
    content, said = FILES[kind]
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(UsageError, match=said):
        request_of(Written(message=tmp_path / "m.json"), None, None)


def test_options_win_over_the_message_file(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_bytes(b'\xef\xbb\xbf{"title": "a", "body": "b", "texts": {"pt": {"body": "c"}}}')
    request = request_of(Written(message=tmp_path / "m.json", title="z", thread="storm"), ["ios"], "5m")
    assert request.message == Message(title="z", body="b", thread="storm", texts={"pt": Text(body="c")})
    assert (request.channels, request.ttl_seconds) == (["ios"], 300)
    with pytest.raises(UsageError, match=r'--message: file "[^"]*" not found'):
        request_of(Written(message=tmp_path / "none.json"), None, None)
