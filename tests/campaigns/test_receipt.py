"""Receipts: nobody can make one up, and the estimate is honest."""

from __future__ import annotations

import random

import pytest

from campaigns.receipt import Receipts, address, genuine, receipts_in, sample, share_of

SECRET = b"k" * 32
RECEIPTS = Receipts(url="https://news.example.com/r?x=", one_in=1000, key=SECRET)


def test_an_address_is_read_back_from_a_log_of_any_format() -> None:
    """27.6"""
    to = address(RECEIPTS, 12345, "ios-news", 77)
    receipt = to.removeprefix(RECEIPTS.url)
    common = f'203.0.113.9 - - [30/Nov/2026:14:00:00 +0100] "GET /r?x={receipt} HTTP/1.1" 404 153'
    combined = common + ' "-" "News/4.2 CFNetwork"'
    as_json = f'{{"time":"2026-11-30T14:00:00Z","request_uri":"\\/r?x={receipt}","status":204}}'
    for line in (common, combined, as_json, f"prefix {receipt}"):
        assert receipts_in(line) == [receipt]
    seen = genuine(SECRET, receipt)
    assert seen is not None
    assert (seen.campaign, seen.channel, seen.one_in, len(seen.phone)) == (12345, "ios-news", 1000, 8)


def test_a_stranger_cannot_make_one_up() -> None:
    """27.6: any change, and any other key."""
    receipt = address(RECEIPTS, 12345, "ios-news", 77).removeprefix(RECEIPTS.url)
    assert genuine(b"x" * 32, receipt) is None
    for position, letter in enumerate(receipt):
        if letter != ".":
            other = "a" if letter != "a" else "b"
            if position >= len(receipt) - 37 and letter not in "abcdef0123456789":
                continue
            assert genuine(SECRET, receipt[:position] + other + receipt[position + 1 :]) is None
    assert genuine(SECRET, "nonsense") is None


@pytest.mark.parametrize("line", ["", "GET / HTTP/1.1", '{"request": "/r?x=abc.ios.5.xyz"}', "a" * 100_000])
def test_a_line_without_a_receipt_has_none(line: str) -> None:
    assert receipts_in(line) == []


@pytest.mark.parametrize("one_in", [2, 10, 1000])
@pytest.mark.parametrize("start", [1, 4_000_000_000])
def test_the_sample_is_one_in_n_of_ids_that_follow_each_other(one_in: int, start: int) -> None:
    """27.6"""
    count = 400_000
    found = sample(range(start, start + count), one_in)
    assert sample(range(start, start + count), one_in) == found
    assert len(found) == pytest.approx(count / one_in, rel=0.15)


@pytest.mark.parametrize("true", [0.02, 0.5, 0.93, 1.0])
def test_the_interval_holds_the_truth_nineteen_times_in_twenty(true: float) -> None:
    """27.6: Wilson's, over draws of who is of the sample and whose push arrives."""
    chance, one_in, accepted, runs = random.Random(7), 20, 4_000, 400
    held = 0
    for _ in range(runs):
        received = sum(chance.random() < true / one_in for _ in range(accepted))
        found = share_of(received, one_in, accepted)
        assert found is not None
        held += found.low <= true <= found.high
    assert held >= 0.92 * runs


def test_nothing_accepted_gives_no_estimate_and_no_receipts_an_upper_end() -> None:
    """27.6"""
    assert share_of(0, 1000, 0) is None
    found = share_of(0, 1000, 100_000)
    assert found is not None
    assert (found.share, found.low) == (0.0, 0.0)
    assert 0.03 < found.high < 0.05
