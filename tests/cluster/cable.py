"""Another server within this machine, for those who are root: a network namespace behind a router that can go dead."""

from __future__ import annotations

import os
import socket
import subprocess

from benchmarks.ring.cluster import Place


class Cable:
    """What lies between this server and the far one. Cut, packets vanish on the way and nobody is told: interfaces stay
    up, routes stay, connections do not end. Healed, the same connections go on, if nobody has given them up.
    """

    def __init__(self) -> None:
        self._router, self._far = f"bs-router-{os.getpid()}", f"bs-far-{os.getpid()}"
        net = f"10.213.{os.getpid() % 256}"
        self.places = (Place(f"{net}.1"), Place(f"{net}.6", ("nsenter", f"--net=/run/netns/{self._far}")))
        near = f"bs{os.getpid()}"
        for line in (
            f"netns add {self._router}",
            f"netns add {self._far}",
            f"link add {near} type veth peer name near netns {self._router}",
            f"-n {self._far} link add cable type veth peer name far netns {self._router}",
            f"addr add {net}.1/30 dev {near}",
            f"-n {self._router} addr add {net}.2/30 dev near",
            f"-n {self._router} addr add {net}.5/30 dev far",
            f"-n {self._far} addr add {net}.6/30 dev cable",
            f"link set {near} up",
            f"-n {self._router} link set near up",
            f"-n {self._router} link set far up",
            f"-n {self._far} link set cable up",
            f"-n {self._far} link set lo up",
            f"route add {net}.4/30 via {net}.2",
            f"-n {self._far} route add {net}.0/30 via {net}.5",
        ):
            subprocess.run(["ip", *line.split()], check=True)
        self.heal()
        assert self.whole(), "nothing gets through"

    def cut(self) -> None:
        """Forward nothing any more."""
        self._forward(False)
        assert not self.whole(), "something gets through"

    def heal(self) -> None:
        """Forward again."""
        self._forward(True)

    def whole(self) -> bool:
        """Does anything come back from the far end, be it a refusal?"""
        try:
            socket.create_connection((self.places[1].address, 9), 0.5).close()
        except TimeoutError:
            return False
        except ConnectionRefusedError:
            pass
        return True

    def close(self) -> None:
        """Take everything away; what runs at the far end must have ended."""
        for name in (self._far, self._router):
            subprocess.run(["ip", "netns", "delete", name], check=False)

    def _forward(self, on: bool) -> None:
        command = ["nsenter", f"--net=/run/netns/{self._router}", "sysctl", "-qw", f"net.ipv4.ip_forward={on:d}"]
        subprocess.run(command, check=True)
