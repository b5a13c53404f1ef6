"""`broadside fire` when answers are lost: it asks again under one key, and says what it does not know."""

from __future__ import annotations

import json

import pytest

from broadside.cli import fire_once
from tests.broadside.fake_node import ID, FakeNode, Said, broadside, folder, node

__all__ = ["broadside", "folder", "node"]  # fixtures

FIRE = ("fire", "--title", "t", "--body", "b")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fire_once, "PAUSES", (0.01,))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fire_once, "PATIENCE", 0.2)


def test_a_lost_answer_is_asked_for_again_under_the_same_key(broadside: Said, node: FakeNode) -> None:
    """B1: the editor never fires twice for a lost answer."""
    node.losses = ["lost", {"detail": "no Tarantool", "campaign": ID, "fired": "maybe"}, {"detail": "no Tarantool"}]
    code, out, err = broadside(*FIRE, "--json")
    assert (code, json.loads(out)["id"]) == (0, ID)
    assert len(node.keys) == 4
    assert len(set(node.keys)) == 1
    assert node.keys[0]
    assert "under the same key" in err


def test_each_call_without_a_key_has_one_of_its_own_and_a_given_key_is_sent_as_it_is(
    broadside: Said, node: FakeNode
) -> None:
    for arguments in ((), (), ("--key", "goal 3")):
        assert broadside(*FIRE, *arguments)[0] == 0
    assert len(set(node.keys)) == 3
    assert node.keys[2] == "goal 3"


@pytest.mark.usefixtures("impatient")
def test_who_gives_up_is_told_the_campaign_and_how_to_be_sure(broadside: Said, node: FakeNode) -> None:
    """B1: every failure that may have fired says so and names the id."""
    node.losses = ["lost", *[{"detail": "no Tarantool", "campaign": ID, "fired": "maybe"}] * 1000]
    code, out, err = broadside(*FIRE, "--key", "k1")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert f"campaign {ID} may be firing: broadside campaign show {ID}" in last
    assert "the same command with --key k1 does not fire it twice" in last


@pytest.mark.usefixtures("impatient")
def test_a_node_that_answers_no_more_leaves_it_open_and_says_so(broadside: Said, node: FakeNode) -> None:
    node.losses = ["lost"] * 1000
    code, _, err = broadside(*FIRE)
    assert code == 3
    assert "the campaign may be firing: broadside campaign list" in err
    assert f"--key {node.keys[0]} does not fire it twice" in err


@pytest.mark.usefixtures("impatient")
def test_a_tarantool_that_stays_away_has_fired_nothing(broadside: Said, node: FakeNode) -> None:
    """B1: failures that cannot have fired say that as well."""
    node.losses = [{"detail": "nothing was fired: no Tarantool", "campaign": "", "fired": "no"}] * 1000
    code, _, err = broadside(*FIRE)
    assert code == 1
    assert "nothing was fired" in err.splitlines()[-1]
    assert "may be firing" not in err


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\nb"])
def test_a_key_that_is_none_is_refused_before_anything_is_sent(broadside: Said, node: FakeNode, key: str) -> None:
    code, _, err = broadside(*FIRE, "--key", key)
    assert code == 2
    assert err.startswith("--key: ")
    assert "1 to 255 printable ASCII characters" in err
    assert len(err.splitlines()) == 1
    assert node.fired == []
