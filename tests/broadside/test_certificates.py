"""A certificate is what the key has signed: any change of it is found, without a node."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadside import cli
from broadside.api.certificate_records import CampaignCertificate, CertifiedText, NotCanonical, canonical
from broadside.api.operations import Gap, Walked
from broadside.newsroom.certificates import signing
from tests.draws import drawn

PRIVATE = bytes(range(32))
PUBLIC = signing.read_public(signing.public_half(PRIVATE)[1].encode())
ISSUED = signing.sign(
    CampaignCertificate(
        campaign="2qbsgz3kxm4ta",
        state="cancelled",
        created_at=1,
        fired_at=2,
        finished_at=None,
        texts=[CertifiedText(version=0, sha256="aa", title=None, body="Bleibt im Haus – Stay inside")],
        channels={"ios": {"audience": 7, "delivered": 3, "cancelled": 4}},
        ranges=[
            Walked(segment=0, channel="ios", from_id=0, to_id=3, node="n1", epoch=1, pages=1, recipients=3, settled=3)
        ],
        gaps=[Gap(segment=0, from_id=3, to_id=7, why="not yet claimed")],
        issued_at=9,
        issued_by="n1",
        key="",
    ),
    PRIVATE,
)
TEXT = msgspec.json.encode(ISSUED)


def paths(value: Any, so_far: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where each value stands, also those with others in them."""
    if so_far:
        yield so_far
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, below in items:
        yield from paths(below, (*so_far, name))


PATHS = sorted(paths(json.loads(TEXT)), key=str)
OTHERS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=20), st.just({}), st.just([]), st.floats())


def test_a_certificate_says_what_was_signed() -> None:
    assert signing.check(TEXT, PUBLIC) == ISSUED
    pretty = json.dumps(dict(reversed(json.loads(TEXT).items())), indent=3).encode()
    assert signing.check(pretty, PUBLIC) == ISSUED, "spaces, escapes and the order of names mean nothing"


@settings(max_examples=drawn(600), deadline=None)
@given(at=st.sampled_from(PATHS), value=OTHERS, act=st.sampled_from(["set", "remove", "add"]))
def test_any_change_of_any_field_is_found(at: tuple[Any, ...], value: Any, act: str) -> None:
    content = json.loads(TEXT)
    holder = content
    for name in at[:-1]:
        holder = holder[name]
    before = json.dumps(content, sort_keys=True)
    if act == "remove":
        del holder[at[-1]]
    elif act == "set":
        holder[at[-1]] = value
    elif isinstance(holder, dict):
        holder["more"] = value
    else:
        holder.append(value)
    if json.dumps(content, sort_keys=True) == before:
        return
    with pytest.raises(signing.Untrue):
        signing.check(json.dumps(content).encode(), PUBLIC)


@settings(max_examples=drawn(300), deadline=None)
@given(at=st.integers(0, len(TEXT) - 1), octet=st.integers(0, 255))
def test_any_change_of_any_octet_is_found_or_means_nothing(at: int, octet: int) -> None:
    changed = TEXT[:at] + bytes([octet]) + TEXT[at + 1 :]
    try:
        assert signing.check(changed, PUBLIC) == ISSUED
    except signing.Untrue:
        return
    assert json.loads(changed) == json.loads(TEXT)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"{", "no JSON of a certificate"),
        (b"[]", "not signed"),
        (b'{"a": 1}', "not signed"),
        (b'{"signature": "x", "signature": "y"}', "twice"),
        (b'{"signature": "%"}', "no base64"),
        (b'{"signature": "", "n": 1.5}', "no whole number"),
        (b'{"signature": "", "n": NaN}', "no whole number"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "no JSON"),
    ],
)
def test_what_is_no_certificate_is_said_to_be_none(text: bytes, why: str) -> None:
    with pytest.raises(signing.Untrue, match=why):
        signing.check(text, PUBLIC)


def test_the_canonical_form_takes_texts_and_whole_numbers_only() -> None:
    assert canonical({"b": [1, "ü", None], "a": {"d": 2, "c": 1}, "signature": "x"}) == (
        '{"a":{"c":1,"d":2},"b":[1,"ü",null]}'.encode()
    )
    with pytest.raises(NotCanonical):
        canonical({"a": 1.0})


def test_the_command_says_it_in_plain_words_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key, file, other = tmp_path / "key.pem", tmp_path / "storm.json", tmp_path / "other.pem"
    key.write_text(signing.public_half(PRIVATE)[1])
    other.write_text(signing.public_half(bytes(32))[1])
    file.write_bytes(TEXT)
    assert cli.run(["verify-certificate", "--key", str(key), str(file)]) == 0
    out = capsys.readouterr().out
    assert f"true: signed by key {ISSUED.key}" in out
    assert "ios: 7 audience, 3 delivered, 4 cancelled" in out
    assert cli.run(["verify-certificate", "--key", str(other), str(file)]) == 1
    assert "names another key" in capsys.readouterr().err
    file.write_bytes(TEXT.replace(b'"delivered":3', b'"delivered":4'))
    assert cli.run(["verify-certificate", "--key", str(key), str(file)]) == 1
    assert "was changed after it was signed" in capsys.readouterr().err
    assert cli.run(["verify-certificate", "--key", str(tmp_path / "none.pem"), str(file)]) == 2
    assert cli.run(["verify-certificate", "--key", str(file), str(file)]) == 2


def test_no_private_key_is_shown() -> None:
    from storage.records import SigningKey

    assert "aaa" not in repr(SigningKey(b"aaa", 1))
