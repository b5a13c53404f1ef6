"""The engine and a client on plain h2 live through the same scripts: the server must not see a difference."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.draws import drawn
from tests.transports.http2_plain import PlainClient
from tests.transports.http2_scripts import run, scripts
from transports.http2.client import Http2Client


def same(script, credit, stubborn, seeds):
    ours = run(Http2Client, script, credit=credit, stubborn=stubborn, seed=seeds[0])
    plain = run(PlainClient, script, credit=credit, stubborn=stubborn, seed=seeds[1])
    for what, seen in plain.items():
        assert ours[what] == seen, what


@settings(max_examples=drawn(300), deadline=None)
@given(scripts, st.booleans(), st.booleans(), st.tuples(st.integers(0, 2**32), st.integers(0, 2**32)))
def test_the_engine_says_and_hears_what_plain_h2_does(script, credit, stubborn, seeds):
    same(script, credit, stubborn, seeds)
