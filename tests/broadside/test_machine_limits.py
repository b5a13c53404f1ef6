"""How much memory there is: the machine's, or less in a container."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from broadside import machine_limits
from broadside.config import config
from broadside.errors import ConfigError

MB = 1 << 20
HUGE = 9223372036854771712
"""What version 1 says where there is no limit."""
APNS = '[channels.ios]\nplatform = "apns"\napp = "org.example.news"\ntwin = true\n'


def kernel(root: Path, groups: str, **limits: object) -> Path:
    """The kernel's files about a process in these control groups; ``limits``: by path."""
    for name, content in {"proc/self/cgroup": groups, **limits}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


V1 = "sys/fs/cgroup/memory"
V2 = "sys/fs/cgroup"
LIMITS = {
    "version 2, in its own namespace": ("0::/", {f"{V2}/memory.max": 512 * MB}, 512),
    "version 2, around a service": (
        "0::/system.slice/broadside.service",
        {
            f"{V2}/system.slice/memory.max": 700 * MB,
            f"{V2}/system.slice/broadside.service/memory.max": "max",
        },
        700,
    ),
    "version 1, as the host sees it": (
        "12:cpu,cpuacct:/docker/abc\n5:memory:/docker/abc",
        {f"{V1}/memory.limit_in_bytes": HUGE, f"{V1}/docker/abc/memory.limit_in_bytes": 256 * MB},
        256,
    ),
    "version 1, with the container's own folder alone": (
        "5:hugetlb,memory:/docker/abc",
        {f"{V1}/memory.limit_in_bytes": 128 * MB},
        128,
    ),
    "both, the memory in version 1": (
        "5:memory:/\n0::/init.scope",
        {f"{V1}/memory.limit_in_bytes": 300 * MB},
        300,
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_containers_limit_counts_if_it_is_less_than_the_machine_has(tmp_path: Path, name: str) -> None:
    """S23: a container was taken for the whole machine, and the kernel killed Tarantool in the midst of its work."""
    groups, limits, least = LIMITS[name]
    assert machine_limits.memory(kernel(tmp_path, groups, **limits)) == (least * MB, "this container")


@pytest.mark.parametrize("groups", ["", "0::/", "no colons here", "5:memory:/../other"])
def test_without_a_limit_it_is_the_machines_memory(tmp_path: Path, groups: str) -> None:
    """S23: nor does anything that these files may hold stop a start."""
    kernel(tmp_path, groups, **{f"{V2}/memory.max": "max", f"{V1}/memory.limit_in_bytes": HUGE})
    size, whose = machine_limits.memory(tmp_path)
    assert (size % machine_limits.GB, whose) == (0, "this machine")
    assert machine_limits.memory(tmp_path / "no such folder") == (size, whose)


def test_a_node_asks_for_no_more_than_its_container_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """S23: the default is half of a small container, and what is too much is refused with both figures."""
    monkeypatch.setattr(config, "memory", lambda: (512 * MB, "this container"))
    file = tmp_path / "broadside.toml"
    file.write_text(APNS)
    assert config.load(file).node.memory_bytes == 256 * MB
    file.write_text(APNS + '[node]\nmemory = "1 GB"\n')
    with pytest.raises(ConfigError) as caught:
        config.load(file)
    assert 'node.memory: "1 GB" is more than the 512 MB of this container' in str(caught.value)


@pytest.mark.parametrize(("platform", "unit"), [("linux", 1024), ("darwin", 1)])
def test_the_memory_of_a_process_is_in_bytes_everywhere(
    monkeypatch: pytest.MonkeyPatch, platform: str, unit: int
) -> None:
    """E8: on macOS ru_maxrss is in bytes, and the status showed a thousand times as much."""
    shown = machine_limits.resource.getrusage(machine_limits.resource.RUSAGE_SELF).ru_maxrss
    monkeypatch.setattr(sys, "platform", platform)
    assert machine_limits.peak_memory() // unit in range(shown, 2 * shown)
