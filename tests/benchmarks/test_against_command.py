"""``./dev bench NAME --against COMMIT``, with a bench that takes no time, in a repository of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.against.command import main
from tests.benchmarks.conftest import ROOT, Repository


def test_it_compares_the_tree_with_the_commit_and_says_so(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.bench("20")
    old = repository.commit()
    repository.bench("10")
    head = repository.commit()
    assert main("stub", ["--against", "HEAD~1", "--rounds", "2", "--quick"], repository.root) == 0
    said = capsys.readouterr()
    first, heads, push, quick = said.out.splitlines()
    assert first == f"bench stub: this tree ({head[:8]}) against {old[:8]}; medians of 2 rounds in turns"
    assert heads.split() == ["this", "tree", old[:8], "ratio"]
    assert push.split() == ["a", "push", "(µs)", "10.00", "±", "0%", "20.00", "±", "0%", "0.50", "±0.00", "better"]
    assert quick.split()[0] == "--quick"
    assert quick.split()[-1] == "equal"
    rounds = [line for line in said.err.splitlines() if line.startswith("bench: round ")]
    assert [line.partition(":")[2].partition(":")[0] for line in rounds] == [" round 1 of 2", " round 2 of 2"]
    assert (repository.root / "var").stat().st_mode & 0o777 == 0o700, "it is a node's data folder, too"


def test_json_is_one_line_and_names_uncommitted_changes(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.bench("20")
    old = repository.commit()
    repository.bench("30")
    assert main("stub", ["--against", "main", "--rounds", "3", "--json"], repository.root) == 0
    said = capsys.readouterr()
    (line,) = said.out.splitlines()
    found = json.loads(line)
    assert (found["bench"], found["against"], found["rounds"]) == ("stub", old, 3)
    assert found["uncommitted"] == ["benchmarks/bench_stub.py"]
    assert "uncommitted: benchmarks/bench_stub.py" in said.err
    push = found["figures"][0]
    assert (push["this"]["values"], push["against"]["median"]) == ([30.0] * 3, 20.0)
    assert (push["ratio"], push["spread"], push["verdict"]) == (1.5, 0.0, "worse")


def test_the_worktree_is_kept_and_made_anew_only_when_it_was_changed(
    repository: Repository, capsys: pytest.CaptureFixture[str]
) -> None:
    repository.bench("20")
    old = repository.commit()
    kept = repository.root / "var" / "bench" / old[:8]
    for changed, checkouts in ((False, 1), (False, 0), (True, 1)):
        if changed:
            (kept / "benchmarks" / "bench_stub.py").write_text("nonsense")
        assert main("stub", ["--against", old, "--rounds", "2"], repository.root) == 0
        assert capsys.readouterr().err.count("checking") == checkouts
    assert repository.git("status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("bench", "commit", "wrong"),
    [
        ("stub", "nowhere", '"nowhere" is no commit of '),
        ("none", "main", 'there is no bench "none" here; the benches are newer, stub'),
        ("newer", "HEAD~1", ' has no bench "newer"; its benches: stub'),
    ],
)
def test_a_mistake_is_one_line(
    repository: Repository, capsys: pytest.CaptureFixture[str], bench: str, commit: str, wrong: str
) -> None:
    repository.bench("1")
    repository.commit()
    repository.bench("1", "newer")
    repository.commit()
    assert main(bench, ["--against", commit], repository.root) == 2
    said = capsys.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert wrong in line


def test_a_bench_that_fails_is_shown(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.bench("1")
    repository.commit()
    repository.bench("no_number")
    assert main("stub", ["--against", "main"], repository.root) == 2
    said = capsys.readouterr().err
    assert "bench stub of this tree (" in said
    assert "failed with exit code 1:" in said
    assert "NameError: name 'no_number' is not defined" in said


def test_a_setup_that_fails_is_shown(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    repository.bench("1")
    repository.write("dev", "#!/bin/sh\necho no network\nexit 1\n")
    repository.commit()
    assert main("stub", ["--against", "main"], repository.root) == 2
    assert "no network" in capsys.readouterr().err


def test_one_round_is_refused(repository: Repository, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main("stub", ["--against", "main", "--rounds", "1"], repository.root)
    assert "one round has no spread" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 0, "NAME: armed|backup|bottleneck|choices|classes|events|"),
        (["nothing"], 2, 'there is no bench "nothing" here'),
        (["storage", "--help"], 0, "size of the large base"),
        (["storage", "--against", "main", "--help"], 0, "turns of each, 2 or more (5)"),
    ],
)
def test_the_recipe_finds_the_bench(arguments: list[str], code: int, words: str) -> None:
    command = [sys.executable, "-m", "benchmarks", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert words in done.stdout + done.stderr
