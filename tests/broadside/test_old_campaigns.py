"""What people see of retention: the key, the archive, and the answer once a ledger has left the store."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from broadside.cli.campaign import archive
from broadside.config.config import load
from broadside.errors import ConfigError, UsageError
from campaigns.identity import campaign_text
from storage.link import Link
from tests.broadside.test_fire_once import client
from tests.storage.test_walk_verbs import CAMPAIGN, NOW, House

ID = campaign_text(CAMPAIGN)
CHANNEL = '[channels.ios-news]\nplatform = "apns"\napp = "org.example.news"\ntwin = true\n'


def written(folder: Path, text: str) -> Path:
    (folder / "broadside.toml").write_text(text + CHANNEL)
    return folder / "broadside.toml"


@pytest.mark.parametrize(
    ("text", "days"), [("", 90), ('[store]\nkeep = "1 day"\n', 1), ('[store]\nkeep = "400 days"', 400)]
)
def test_keep_holds_for_the_nodes_own_store_too(tmp_path: Path, text: str, days: int) -> None:
    """C5: a [store] with nothing but `keep` names no server."""
    config = load(written(tmp_path, text + "\n"))
    assert (config.store, config.keep_days, config.keep_ms) == (None, days, days * 86_400_000)


@pytest.mark.parametrize("keep", ['"3 months"', "90", '"0 days"', '"-1 days"', '"90 days "'])
def test_a_keep_that_is_no_number_of_days_is_named_with_its_remedy(tmp_path: Path, keep: str) -> None:
    """C5."""
    with pytest.raises(ConfigError) as caught:
        load(written(tmp_path, f"[store]\nkeep = {keep}\n"))
    (problem,) = caught.value.problems
    assert problem.where == "store.keep"
    assert keep.strip('"') in problem.what
    assert problem.remedy == 'write it as in "90 days"; "1 day" is the least'


@pytest.mark.tarantool
async def test_verify_names_the_archive_of_a_ledger_that_has_left(own_link: Link) -> None:
    """C5: without pages, verify and coverage would report that nobody was reached."""
    house = House(own_link)
    await house.join()
    await house.subscribers(2)
    await house.fire()
    await house.store.retention_archived(CAMPAIGN, "node-2", "5ha", NOW)
    async with client(own_link) as api:
        for what in ("verify", "coverage"):
            answer = await api.get(f"/v1/campaigns/{ID}/{what}")
            error = answer.json()
            assert (answer.status_code, error["remedy"]) == (409, f"there: `broadside campaign archive {ID}`")
            assert error["detail"] == (
                f"the ledger of campaign {ID} is in node node-2's archive/{ID}.ndjson.gz (SHA-256 5ha)"
            )
        assert (await api.get(f"/v1/campaigns/{ID}")).status_code == 200, "its report stays"


def test_an_archive_is_printed_as_it_is_or_its_fault_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C5."""
    with pytest.raises(UsageError, match=f"there is no archive of campaign {ID} here"):
        archive(ID, data=tmp_path)
    (tmp_path / "archive").mkdir()
    path = tmp_path / "archive" / f"{ID}.ndjson.gz"
    path.write_bytes(gzip.compress(b'{"kind":"campaign"}\n{"kind":"page"}\n'))
    assert archive(ID.upper(), data=tmp_path) == 0
    assert capsys.readouterr().out == '{"kind":"campaign"}\n{"kind":"page"}\n'
    path.write_bytes(path.read_bytes()[:-6])
    with pytest.raises(UsageError, match=r"cannot be read: .* \(restore it from a backup\)"):
        archive(ID, data=tmp_path)
