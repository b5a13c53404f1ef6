"""Each platform recognises its own tokens, writes them in one form, and says what is wrong with any other text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transports import registry
from transports.errors import TokenError

APNS, FCM = registry.load("apns"), registry.load("fcm")
DEVICE = "8b0e7153bf7c3706d85c524e440066559a6656c90bd5482a90a29b9fa5ff5180"
REGISTRATION = "beBBfvvrcgio4cV8MyYqvK:APA91b" + "cld16f-0q87hl93c5b5r6vuwj8r4vxs1mbpf8eiydc9bqsbnkf_6l" * 2
FID = "cXy_12-abcdefghijklmno"


@pytest.mark.parametrize(
    "text",
    [
        DEVICE,
        DEVICE.upper(),
        f" {DEVICE}\r\n",
        f'"{DEVICE}"',
        f"\ufeff{DEVICE}",
        DEVICE + r"\n",
        f"<{DEVICE[:8]} {DEVICE[8:16]} {DEVICE[16:].upper()}>",
        f"{DEVICE[:32]} {DEVICE[32:]}",
    ],
)
def test_one_apple_phone_has_one_token_however_it_is_written(text: str) -> None:
    """A4: two spellings of a token are one phone."""
    assert APNS.token("token", text) == DEVICE


@pytest.mark.parametrize(
    "text",
    [REGISTRATION, f" {REGISTRATION} ", REGISTRATION + r"\n", REGISTRATION.replace(":", "%3A"), f"'{REGISTRATION}'"],
)
def test_one_registration_at_google_has_one_token_however_it_is_written(text: str) -> None:
    """A4: capitals differ here; blanks and escapes do not."""
    assert FCM.token("token", text) == REGISTRATION
    assert FCM.token("token", REGISTRATION.swapcase()) == REGISTRATION.swapcase()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("NULL", "word for nothing"),
        (r"\N", "word for nothing"),
        ("(null)", "word for nothing"),
        ("<nil>", "word for nothing"),
        ("  ", "word for nothing"),
        ("6F9619FF-8B86-D011-B42D-00C04FC964FF", "UUID"),
        ("ExponentPushToken[5576075d502b4be114e3dd]", "Expo"),
        ("https://updates.example/wpush/v2/994715b4c97e7c647676a5d3f058b8df78c39d4c", "an address"),
        ("6f9619ff8b86d011b42d00c04fc964ff", "cut off"),
    ],
)
def test_what_files_hold_in_place_of_a_token_is_no_phone_of_any_platform(text: str, said: str) -> None:
    """A5."""
    for platform in (APNS, FCM):
        assert platform.tokens("token", [text]) is None
        with pytest.raises(TokenError, match=said):
            platform.token("token", text)


@pytest.mark.parametrize(
    ("platform", "kind", "text", "said"),
    [
        ("apns", "token", REGISTRATION, "not hexadecimal"),
        ("apns", "token", DEVICE[:-1], "63 digits"),
        ("apns", "token", DEVICE * 17, "1088 digits"),
        ("apns", "token", "{length = 32, bytes = 0x8b0e7153 bf7c3706 ... a5ff5180 }", "its middle is missing"),
        ("apns", "fid", FID, "only device tokens"),
        ("fcm", "token", DEVICE, "hexadecimal"),
        ("fcm", "token", FID, 'set "kind" to fid'),
        ("fcm", "token", "x" * 4096, "4096 characters"),
        ("fcm", "token", '"3884b70bc3', "cut off"),
        ("fcm", "token", REGISTRATION + "ä", "characters that no FCM token has"),
        ("fcm", "fid", REGISTRATION, "not a Firebase installation id"),
        ("fcm", "fid", "a" + FID[1:], "the first of them c to f"),
        ("fcm", "pigeon", FID, "write token or fid"),
    ],
)
def test_a_token_of_another_kind_is_refused_in_words(platform: str, kind: str, text: str, said: str) -> None:
    """A5: it would be rejected in every campaign for ever."""
    assert registry.load(platform).tokens(kind, [text]) is None
    with pytest.raises(TokenError, match=said) as refused:
        registry.load(platform).token(kind, text)
    assert refused.value.remedy


def test_an_installation_id_is_a_kind_of_its_own() -> None:
    assert FCM.token("fid", f" {FID}") == FID
    assert FCM.tokens("fid", [FID, "f" + FID[1:]]) == [FID, "f" + FID[1:]]


def test_a_sample_is_a_token_of_its_platforms_first_kind() -> None:
    for platform in (APNS, FCM):
        made = {platform.sample("dead" + f"{number:060x}") for number in range(100)} | {platform.sample("0" * 64)}
        assert platform.tokens(platform.kinds[0], sorted(made)) == sorted(made)
        assert sum(token.startswith("dead") for token in made) == len(made) - 1


@given(
    platform=st.sampled_from([APNS, FCM]),
    kind=st.sampled_from(["token", "fid"]),
    texts=st.lists(
        st.one_of(
            st.text(max_size=80),
            st.text("0123456789abcdefABCDEF", min_size=60, max_size=70),
            st.text("abcdefgh:_-XYZ019", min_size=60, max_size=70),
            st.text("cdefX_-09", min_size=21, max_size=23),
            st.sampled_from([DEVICE, DEVICE.upper(), REGISTRATION, FID]),
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_many_at_once_come_to_the_same_as_each_alone(platform: registry.Platform, kind: str, texts: list[str]) -> None:
    many = platform.tokens(kind, texts)
    if many is not None:
        assert many == [platform.token(kind, text) for text in texts]
        assert platform.tokens(kind, many) is many  # what is normal stays as it is
