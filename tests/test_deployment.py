"""The files in ``deploy/``: valid by their schemas, hardened, and true to buffr's settings."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from buffr.config import load

DEPLOY = Path(__file__).parents[1] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
DOCUMENTS: list[dict[str, Any]] = [
    document for path in MANIFESTS for document in yaml.safe_load_all(path.read_text())
]
PODS = [one for one in DOCUMENTS if "template" in one.get("spec", {})]


def named(document: dict[str, Any]) -> str:
    return f"{document['kind']}-{document['metadata']['name']}"


class TestKubernetes:
    @pytest.mark.parametrize("document", DOCUMENTS, ids=named)
    def test_a_manifest_is_valid(self, document: dict[str, Any]) -> None:
        kubernetes_validate.validate(document, "1.31", strict=True)

    @pytest.mark.parametrize("document", PODS, ids=named)
    def test_a_pod_has_no_more_rights_than_it_needs(self, document: dict[str, Any]) -> None:
        pod = document["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert not pod["automountServiceAccountToken"]
        ours = [*pod.get("initContainers", ()), *pod["containers"]]
        for container in ours:
            rights = container["securityContext"]
            assert not rights["allowPrivilegeEscalation"]
            assert rights["capabilities"] == {"drop": ["ALL"]}
            if container["name"] != "tests":
                assert rights["readOnlyRootFilesystem"]

    def test_what_is_named_exists(self) -> None:
        """Services, network policies and budgets select pods that there are."""
        labels = [one["spec"]["template"]["metadata"]["labels"] for one in PODS]
        for one in DOCUMENTS:
            spec = one.get("spec", {})
            wanted = spec.get("podSelector", {}).get("matchLabels")
            if one["kind"] == "Service":
                wanted = spec["selector"]
            if wanted:
                assert any(wanted.items() <= each.items() for each in labels), named(one)

    def test_the_settings_are_buffrs(self, tmp_path: Path) -> None:
        (settings,) = [one for one in DOCUMENTS if one["kind"] == "ConfigMap"]
        file = tmp_path / "buffr.yaml"
        file.write_text(settings["data"]["buffr.yaml"])
        environ = {"BUFFR_STORE": "redis://:secret@buffr-redis", "BUFFR_KEY": "k" * 32}
        config = load(file, environ, {})
        assert config.forward is not None
        assert config.forward.cache.store is not None
        assert not config.warnings


class TestCompose:
    COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())

    def test_every_service_that_stays_is_confined(self) -> None:
        for name in ("redis", "buffr"):
            service = self.COMPOSE["services"][name]
            assert service["read_only"]
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]

    def test_there_are_two_buffrs(self) -> None:
        buffr = self.COMPOSE["services"]["buffr"]
        assert buffr["deploy"]["replicas"] == 2
        command = buffr["command"]
        given = dict(zip(command[1::2], command[2::2], strict=True))
        config = load(
            None,
            buffr["environment"],
            {"mode": command[0], "target": given["--target"], "ttl": given["--ttl"]},
        )
        assert str(config.reverse[0].cache.store.server) == "redis://redis"  # type: ignore[union-attr]


class TestSystemd:
    UNIT = DEPLOY / "systemd" / "buffr.service"

    def test_the_command_exists(self) -> None:
        (started,) = re.findall(r"^ExecStart=\S+/buffr (.*)$", self.UNIT.read_text(), re.MULTILINE)
        assert started == "serve --config /etc/buffr/buffr.yaml --workers auto"

    @pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
    def test_it_is_hardened(self) -> None:
        done = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", str(self.UNIT)],
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        found = re.search(r"Overall exposure level.*: ([0-9.]+)", done.stdout)
        assert found is not None, done.stderr
        assert float(found[1]) < 2.0
