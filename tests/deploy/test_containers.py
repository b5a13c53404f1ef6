"""The container files: their schemas, and our own rules for them. No container engine is needed, and none runs."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import ruamel.yaml

from broadside.api.v1 import table
from broadside.config.config import Config, NodeConfig, load
from broadside.node.processes import STOP_GRACE, STOP_MARGIN

ROOT = Path(__file__).parents[2]
CONTAINERS = ROOT / "deploy/containers"
COMPOSE = CONTAINERS / "compose.yaml"
MANIFESTS = sorted((CONTAINERS / "kubernetes").glob("*.yaml"))
STORE_KEYS = set(
    re.findall(r"'(\w+)'", re.search(r"KNOWN = \{(.*?)\}", (ROOT / "storage/lua/server.lua").read_text(), re.S)[1])
)  # type: ignore[index]
USER = 10001
ENDS_WITHIN = NodeConfig().drain + STOP_MARGIN + STOP_GRACE + 20
"""Seconds that a node may take to end: its workers, then what they need."""


def documents(file: Path) -> list[Any]:
    return [each for each in ruamel.yaml.YAML(typ="safe", pure=True).load_all(file.read_text()) if each]


def program(name: str) -> str:
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    assert found is not None, "./dev setup installs it"
    return found


def judged(*command: str) -> tuple[int, str]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


COMPOSED: dict[str, Any] = documents(COMPOSE)[0]
COMPOSED_FILES = {name: (CONTAINERS / each["file"]).read_text() for name, each in COMPOSED["configs"].items()}
"""By keyword ``file``: Compose cannot write a ``content`` into a container whose root is read-only."""
OBJECTS: list[Any] = [each for file in MANIFESTS for each in documents(file)]
SETS = [each for each in OBJECTS if each["kind"] == "StatefulSet"]
CONFIGURATION: dict[str, str] = next(each for each in OBJECTS if each["kind"] == "ConfigMap")["data"]


def test_the_image_is_built_from_all_that_the_wheel_is_made_of() -> None:
    """A file that pyproject.toml includes and .dockerignore kept away stopped the build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    wanted = {*wheel["packages"], *wheel["force-include"], project["project"]["readme"], "pyproject.toml"}
    wanted |= set(project["project"]["license-files"])
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert let_in == wanted | {"uv.lock", "tarantool"}, "and a program that somebody may put there"


def test_the_image_is_built_by_the_version_of_uv_that_everybody_uses() -> None:
    pinned = re.search(r"^UV=(\S+)$", (ROOT / "dev").read_text(), re.M)
    assert pinned is not None
    assert f"uv=={pinned[1]} " in (CONTAINERS / "Dockerfile").read_text()


# -- schemas ---------------------------------------------------------------------------------------------------------


def test_hadolint_has_nothing_to_say_about_the_dockerfile(tmp_path: Path) -> None:
    file = CONTAINERS / "Dockerfile"
    assert judged(program("hadolint"), str(file)) == (0, "")
    worse = tmp_path / "Dockerfile"
    worse.write_text(file.read_text().replace("\nUSER 10001:10001", "\nUSER root"))
    assert "DL3002" in judged(program("hadolint"), str(worse))[1], "it would say something"


def test_the_compose_file_keeps_to_its_schema(tmp_path: Path) -> None:
    judge = (program("check-jsonschema"), "--builtin-schema", "vendor.compose-spec")
    code, said = judged(*judge, str(COMPOSE))
    assert code == 0, said
    worse = tmp_path / "compose.yaml"
    worse.write_text(COMPOSE.read_text().replace("read_only: true", "readonly: true"))
    assert judged(*judge, str(worse))[0] == 1, "it would be refused"


@pytest.mark.parametrize("object", OBJECTS, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_a_manifest_keeps_to_its_schema(object: Any) -> None:
    kubernetes_validate.validate(object, "1.37.0", strict=True)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(object | {"spek": {}}, "1.37.0", strict=True)


# -- our own rules ---------------------------------------------------------------------------------------------------


def instructions() -> Iterator[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (CONTAINERS / "Dockerfile").read_text(), flags=re.M).replace("\\\n", " ")
    for line in text.splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            yield word, rest.strip()


def test_the_image_runs_as_nobody_and_its_first_process_gets_the_signals() -> None:
    found = dict(instructions())
    assert found["USER"] == f"{USER}:{USER}", "a number: Kubernetes must see that it is not root"
    assert found["ENTRYPOINT"].startswith("["), "no shell is process 1"
    assert found["CMD"].startswith("[")
    assert found["HEALTHCHECK"].rpartition("CMD ")[2].startswith("[")
    assert table.HEALTH.path in found["HEALTHCHECK"]
    assert {rest for word, rest in instructions() if word == "FROM"} == {
        "debian:bookworm-slim AS build",
        "debian:bookworm-slim AS from-debian",
        "debian:bookworm-slim AS from-file",
        "from-${TARANTOOL_FROM}",
    }


@pytest.mark.parametrize("name", sorted(COMPOSED["services"]))
def test_a_service_may_write_its_volume_and_nothing_else(name: str) -> None:
    service = COMPOSED["services"][name]
    assert service["read_only"] is True
    assert service["restart"] == "always", "after a reload, too"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["tmpfs"] == ["/tmp"]
    assert service["volumes"] == [f"{name}:/var/lib/broadside"]
    assert name in COMPOSED["volumes"]
    assert int(service["stop_grace_period"].removesuffix("s")) > ENDS_WITHIN
    network = ip_network(COMPOSED["networks"]["ring"]["ipam"]["config"][0]["subnet"])
    address = service["networks"]["ring"]["ipv4_address"]
    assert ip_address(address) in network
    (config,) = service["configs"]
    text = COMPOSED_FILES[config["source"]]
    assert f"{address}:330" in text, "it listens at its own address"
    check = str(service.get("healthcheck"))
    assert "healthcheck" not in service or "127.0.0.1" not in check, "nothing listens there"
    for secret in re.findall(r"/run/secrets/([\w.]+)", text):
        assert secret in service["secrets"]
        assert secret in COMPOSED["secrets"]


@pytest.mark.parametrize("found", SETS, ids=lambda each: each["metadata"]["name"])
def test_a_pod_may_write_its_volume_and_nothing_else_and_ends_in_order(found: Any) -> None:
    name, spec = found["metadata"]["name"], found["spec"]["template"]["spec"]
    pod = spec["securityContext"]
    assert (pod["runAsNonRoot"], pod["runAsUser"], pod["fsGroup"]) == (True, USER, USER)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert spec["automountServiceAccountToken"] is False
    assert spec["terminationGracePeriodSeconds"] > ENDS_WITHIN
    (container,) = spec["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    writable = [each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")]
    assert sorted(writable) == ["/tmp", "/var/lib/broadside"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe].get("httpGet") or container[probe]["tcpSocket"]
        assert asked["port"] in ports
        assert asked.get("path") in (None, table.HEALTH.path, table.READY.path)
    labels = found["spec"]["template"]["metadata"]["labels"]
    for kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
        other = next(each for each in OBJECTS if each["kind"] == kind and each["metadata"]["name"] == name)
        selector = other["spec"].get("selector") or other["spec"]["podSelector"]
        assert selector.get("matchLabels", selector) == labels, kind
    assert found["spec"]["selector"]["matchLabels"] == labels
    (budget,) = [each for each in OBJECTS if each["kind"] == "PodDisruptionBudget" and each["metadata"]["name"] == name]
    assert budget["spec"]["maxUnavailable"] < found["spec"]["replicas"]
    ending = ".yaml" if name.endswith("store") else ".toml"
    keys = {item["key"] for volume in spec["volumes"] if "secret" in volume for item in volume["secret"]["items"]}
    assert ending in str(container["args"])
    for number in range(found["spec"]["replicas"]):
        text = CONFIGURATION[f"{name}-{number}{ending}"]
        assert set(re.findall(r"/run/secrets/broadside/([\w.]+)", text)) == keys
        assert str(ports["tarantool"]) in text


TOMLS = {f"compose-{name}": text for name, text in COMPOSED_FILES.items() if "[node]" in text}
TOMLS |= {name: text for name, text in CONFIGURATION.items() if name.endswith(".toml")}


def read(text: str, folder: Path) -> Config:
    """Read a configuration, with passwords where it expects them."""
    for path in set(re.findall(r'"(/run/secrets/[\w./]+)"', text)):
        copy = folder / Path(path).name
        copy.write_text("secret\n")
        copy.chmod(0o600)
        text = text.replace(path, str(copy))
    file = folder / "broadside.toml"
    file.write_text(text)
    return load(file)


@pytest.mark.parametrize("name", sorted(TOMLS))
def test_a_nodes_configuration_is_right_and_its_peers_know_it(name: str, tmp_path: Path) -> None:
    config = read(TOMLS[name], tmp_path)
    assert config.warnings == ()
    assert config.http.metrics_address == ("0.0.0.0", 9765), "where the probes ask"
    (peer,) = config.peers
    theirs = read(next(text for text in TOMLS.values() if f'name = "{peer.name}"\nworkers' in text), tmp_path)
    assert [each.name for each in theirs.peers] == [config.node.name]
    assert config.channels == theirs.channels


def test_a_stores_settings_have_known_keys() -> None:
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    texts = [text for text in COMPOSED_FILES.values() if "role: store" in text]
    texts += [text for name, text in CONFIGURATION.items() if name.endswith(".yaml")]
    settings = [yaml.load(text) for text in texts]
    assert len(settings) == 4
    assert all(set(each) <= STORE_KEYS for each in settings)
    assert [bool(each["replication"].get("master")) for each in settings] == [True, False, True, False]
