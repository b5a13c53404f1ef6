"""Ports that a test's servers get."""

from __future__ import annotations

from pathlib import Path

from benchmarks.ports import free_ports


def test_no_client_s_connection_can_take_a_server_s_port() -> None:
    """A store could not bind its port: a client's connection had it by then."""
    ports = free_ports(200)
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert len(set(ports)) == 200
    assert max(ports) < first
