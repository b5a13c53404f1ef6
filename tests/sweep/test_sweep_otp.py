"""The model check of supervision, ten times as long."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.supervision.test_otp_model import agree, plans


@pytest.mark.sweep
@pytest.mark.timeout(900)
@given(data=st.data(), plan=plans())
@settings(max_examples=3000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
def test_the_tree_does_what_otp_does(data: st.DataObject, plan: Any) -> None:
    trio.run(agree, data, plan, clock=trio.testing.MockClock(autojump_threshold=0))
