"""The clock of leases goes on while the machine is suspended: B11."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

from campaigns.batch import Leave
from storage import tubes
from storage.embedded import LUA, Embedded
from storage.link import Endpoint, Link
from storage.tubes import Tubes

pytestmark = pytest.mark.tarantool

HEAD = """
package.path = ('%s/?.lua;%s/?/init.lua;'):format(arg[1], arg[1]) .. package.path
local clock, json = require('roles.clock'), require('json')
"""
BOTH = (
    HEAD
    + """
local monotonic, wall = 100, 5000
local now = clock.of_both(function() return monotonic end, function() return wall end)
local said, start = {}, now()
for i, step in ipairs(json.decode(arg[2])) do
    monotonic, wall = monotonic + step[1], wall + step[2]
    said[i] = now() - start
end
print(json.encode({said, clock.now()}))
os.exit(0)
"""
)
LEASED = (
    HEAD
    + """
local slept = 0
local real = clock.now
clock.now = function() return real() + slept end
box.cfg({work_dir = arg[2], log_level = 1, feedback_enabled = box.internal.feedback_daemon and false})
require('roles.tubes').start({'ios'})
require('roles.store').start()
local epoch = store.node_join('n', box.info.uuid, 0, 1, {'ios'})
tubes.adopt(epoch)
local renewed = tubes.renew(epoch, 10, tubes.standing()[1], {})
require('roles.tubes.batons').baton_put({{1, 0, 0, 0}})
local nodes = require('roles.store.nodes')
local node = box.space.store_nodes:get('n')
local before = {tubes.epoch()[3], nodes.lease_over(node)}
slept = 12 -- the lid is shut, and fiber.clock stands still
local _, tasks = tubes.baton_take('w', 1, {}, 0.1)
print(json.encode({renewed, before, {tubes.epoch()[3], nodes.lease_over(node)}, #tasks}))
os.exit(0)
"""
)


def said(tmp_path: Path, script: str, argument: str) -> list[object]:
    (tmp_path / "script.lua").write_text(script)
    command = [Embedded(tmp_path, []).command[0], str(tmp_path / "script.lua"), str(LUA), argument]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 0, ended.stderr
    return list(json.loads(ended.stdout))


def test_a_lease_does_not_outlive_a_suspension(tmp_path: Path) -> None:
    """B11: on the monotonic clock a lease of 10 s still held after a night; the store had given its pages away."""
    (tmp_path / "base").mkdir()
    assert said(tmp_path, LEASED, str(tmp_path / "base")) == [True, [True, False], [False, True], 0]


def test_without_a_clock_that_goes_on_the_later_of_both_others_counts(tmp_path: Path) -> None:
    """B11: monotonic and wall clock: suspended, stepped back, stepped forward, as usual."""
    steps = [[1, 1], [0, 3600], [2, -5000], [1, 10], [3, 3]]
    passed, now = said(tmp_path, BOTH, json.dumps(steps))
    assert passed == [1, 3601, 3603, 3613, 3616]
    if hasattr(time, "CLOCK_BOOTTIME"):
        assert isinstance(now, float)
        assert abs(now - time.clock_gettime(time.CLOCK_BOOTTIME)) < 10, "Linux has one"


def test_after_a_suspension_nothing_more_of_a_batch_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """B11: `begin_until` stands still too, but the tube's ttr ran out: the batch is in other hands by now."""
    slept = 100.0
    monkeypatch.setattr(tubes, "suspended", lambda: slept)
    link = Link({"queue": Endpoint("unix/:/nowhere")})
    leave = Tubes(link, "w").leave()
    assert leave() is Leave.AWAITED
    slept += tubes.SLEEP
    assert leave() is Leave.AWAITED
    slept += 0.1
    assert leave() is Leave.GONE


def test_this_machine_says_how_long_it_was_suspended() -> None:
    assert tubes.suspended() >= -0.001
    assert abs(tubes.suspended() - tubes.suspended()) < 0.01
