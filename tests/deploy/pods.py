"""`./dev pods`: runs the pods of deploy/containers/kubernetes with Docker, where there is no cluster.

It is no Kubernetes: no scheduler, no Service, no policy. But the pods are those of the manifests: image, command, user,
mounts as a kubelet makes them (a ConfigMap's links, a Secret's group, a volume with lost+found), names as a headless
Service gives them, probes at the pod's own address, one pod after the other. Each pod is renewed once, at another
address, as by a rolling update; in the end all die at once and come back. It needs root, Docker, and the image
`broadside` (`./dev containers` builds it).
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ruamel.yaml

from tests.deploy.chroot import run

MANIFESTS = Path(__file__).parents[2] / "deploy/containers/kubernetes"
NETWORK, SUBNET = "broadside-pods", "10.244.0.0/16"
STORES, NODES = ("broadside-store-0", "broadside-store-1"), ("broadside-node-0", "broadside-node-1")
PATIENCE = 120.0
"""Seconds until a pod must be ready, or a campaign done."""


def say(text: str) -> None:
    print(f"pods: {text}", flush=True)


class Pods:
    """The pods of the manifests' StatefulSets."""

    def __init__(self, folder: Path) -> None:
        yaml = ruamel.yaml.YAML(typ="safe", pure=True)
        objects = [
            each for file in sorted(MANIFESTS.glob("*.yaml")) for each in yaml.load_all(file.read_text()) if each
        ]
        self._sets = {each["metadata"]["name"]: each for each in objects if each["kind"] == "StatefulSet"}
        self._folder = folder
        texts = next(each["data"] for each in objects if each["kind"] == "ConfigMap")
        self._configuration = self._projected("configuration", texts, mode=0o644, group=0)
        self._passwords = {
            name: secrets.token_hex(24) for name in ("store.password", "peers.password", "replication.password")
        }

    def _projected(self, name: str, texts: dict[str, str], mode: int, group: int) -> Path:
        """A volume of files as a kubelet makes it: links to a folder that can be exchanged at once."""
        volume = self._folder / name
        files = volume / "..2026_12_01"
        files.mkdir(parents=True)
        (volume / "..data").symlink_to(files.name)
        for file, text in texts.items():
            (files / file).write_text(text)
            os.chown(files / file, 0, group)
            (files / file).chmod(mode)
            (volume / file).symlink_to(f"..data/{file}")
        return volume

    def start(self, name: str) -> None:
        """Start a pod; its volume stays from one time to the next."""
        found = self._sets[name.rpartition("-")[0]]["spec"]
        pod = found["template"]["spec"]
        (container,) = pod["containers"]
        data, passwords = self._folder / f"{name}-data", self._folder / f"{name}-passwords"
        if not data.exists():
            (data / "lost+found").mkdir(mode=0o700, parents=True)
            os.chown(data, 0, pod["securityContext"]["fsGroup"])
            data.chmod(0o2775)
            secret = next(each["secret"] for each in pod["volumes"] if "secret" in each)
            texts = {each["path"]: self._passwords[each["key"]] for each in secret["items"]}
            self._projected(passwords.name, texts, mode=secret["defaultMode"], group=pod["securityContext"]["fsGroup"])
        places = {
            "data": f"{data}:%s",
            "configuration": f"{self._configuration}:%s:ro",
            "passwords": f"{passwords}:%s:ro",
        }
        user = f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
        options = [
            "--name",
            name,
            "--hostname",
            name,
            "--network",
            NETWORK,
            "--user",
            user,
            "--read-only",
            "--cap-drop",
            "ALL",
        ]
        options += [
            "--network-alias",
            f"{name}.{found['serviceName']}",
            "--env",
            f"POD_NAME={name}",
            "--restart",
            "always",
        ]
        options += ["--security-opt", "no-new-privileges", "--stop-timeout", str(pod["terminationGracePeriodSeconds"])]
        options += [
            "--memory",
            container["resources"]["limits"]["memory"].removesuffix("i").lower(),
            "--no-healthcheck",
        ]
        for mount in container["volumeMounts"]:
            place = places.get(mount["name"])
            options += ["--tmpfs", mount["mountPath"]] if place is None else ["--volume", place % mount["mountPath"]]
        words = [each.replace("$(POD_NAME)", name) for each in container["args"]]
        if "command" in container:
            options += ["--entrypoint", container["command"][0]]
            words = container["command"][1:] + words
        run("docker", "run", "--detach", *options, "broadside", *words)
        began = time.monotonic()
        while not self._probe(name, container):
            if time.monotonic() - began > PATIENCE:
                raise SystemExit(f"pods: {name} is not ready:\n{run('docker', 'logs', '--tail', '30', name)}")
            time.sleep(0.5)
        say(f"{name} is ready after {time.monotonic() - began:.1f} s")

    def _probe(self, name: str, container: Any) -> bool:
        """Its readiness, as the manifest says."""
        address = json.loads(run("docker", "inspect", name))[0]["NetworkSettings"]["Networks"][NETWORK]["IPAddress"]
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        probe = container["readinessProbe"]
        try:
            if "tcpSocket" in probe:
                socket.create_connection((address, ports[probe["tcpSocket"]["port"]]), 1).close()
                return True
            asked = http.client.HTTPConnection(address, ports[probe["httpGet"]["port"]], timeout=5)
            asked.request("GET", probe["httpGet"]["path"])
            return asked.getresponse().status < 400
        except OSError:
            return False

    def renew(self, name: str) -> None:
        """Stop it in order, and start it again at another address."""
        run("docker", "stop", name)
        code = json.loads(run("docker", "inspect", name))[0]["State"]["ExitCode"]
        assert code == 0, f"{name} ended with {code}"
        run("docker", "rm", name)
        other = run(
            "docker", "run", "--detach", "--rm", "--network", NETWORK, "--entrypoint", "sleep", "broadside", "60"
        ).strip()
        self.start(name)
        run("docker", "kill", other)


def broadside(pod: str, *words: str) -> str:
    """The command line in a node's pod."""
    return run("docker", "exec", pod, "broadside", *words, "--data", "/var/lib/broadside/node", timeout=PATIENCE)


def fire(pod: str, title: str) -> None:
    began = time.monotonic()
    said = broadside(pod, "fire", "--title", title, "--body", "In pods", "--wait")
    assert "1 delivered" in said, said
    say(f"{title}: done {time.monotonic() - began:.1f} s after the press")


@contextmanager
def network() -> Iterator[None]:
    run("docker", "network", "create", "--subnet", SUBNET, NETWORK)
    try:
        yield
    finally:
        for each in run("docker", "ps", "--all", "--quiet", "--filter", f"network={NETWORK}").split():
            run("docker", "rm", "--force", each)
        run("docker", "network", "rm", NETWORK)


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="broadside-pods-") as folder, network():
        Path(folder).chmod(0o755)
        pods = Pods(Path(folder))
        for each in (*STORES, *NODES):
            pods.start(each)
        broadside(NODES[0], "subscribers", "put", "ios-news", "00fc13ad" * 8)
        fire(NODES[0], "First")
        for each in (*reversed(STORES), *reversed(NODES)):
            pods.renew(each)
            fire(NODES[1] if each == NODES[0] else NODES[0], f"after {each} was renewed")
        run("docker", "kill", *NODES, *STORES)
        run("docker", "rm", *NODES, *STORES)
        for each in (*STORES, *NODES):
            pods.start(each)
        listed = broadside(NODES[0], "campaign", "list")
        assert listed.count("done") == 5, listed
        fire(NODES[1], "after all had died")


if __name__ == "__main__":
    sys.exit(main())
