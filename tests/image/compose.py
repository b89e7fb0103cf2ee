"""A compose file, as far as ours goes: each key is followed, and an unknown one is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from attrs import define, field
from containers import CAPABILITIES, Bind, Container, Ended, Host, Volume
from engine import Image

__all__ = ["Project"]

_KNOWN = frozenset((
    "build", "image", "user", "cap_drop", "cap_add", "security_opt", "read_only", "environment",
    "volumes", "tmpfs", "stop_grace_period", "command", "depends_on",
))  # fmt: skip
_NO_NEW = "no-new-privileges:true"


@define(eq=False)
class Project:
    """A directory with a compose file, on a host. ``images`` are there by their names."""

    directory: Path
    host: Host
    images: Mapping[str, Image]
    file: Path = field(init=False)
    running: dict[str, Container] = field(factory=dict)

    @file.default
    def _default_file(self) -> Path:
        return self.directory / "docker-compose.yml"

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        services: dict[str, dict[str, Any]] = yaml.safe_load(self.file.read_text())["services"]
        return services

    def up(self, name: str) -> Container:
        """Start a service, after those that it depends on; as it runs already, that one."""
        running = self.running.get(name)
        if running is not None and running.process.poll() is None:
            return running
        service = self.services[name]
        unknown = service.keys() - _KNOWN
        assert not unknown, f"{name} has {unknown}, which this test does not follow"
        for other, terms in service.get("depends_on", {}).items():
            assert terms == {"condition": "service_healthy"}
            self.up(other).wait_healthy()
        container = self.running[name] = self.host.start(
            self.images[service.get("image", "build")],
            service.get("command"),
            user=service.get("user"),
            environment=service.get("environment"),
            mounts=[self._mount(one) for one in service.get("volumes", ())],
            tmpfs=service.get("tmpfs", ()),
            read_only=service.get("read_only", False),
            capabilities=_capabilities(service),
            no_new_privileges=_NO_NEW in service.get("security_opt", ()),
        )
        return container

    def run(self, name: str) -> Ended:
        """``docker compose run --rm``: start a service, and wait for its end."""
        return self.up(name).wait()

    def down(self) -> None:
        """``docker compose down``: stop all, and keep the volumes."""
        for container in reversed(self.running.values()):
            container.stop()
        self.running.clear()

    def _mount(self, written: str | Mapping[str, Any]) -> Bind | Volume:
        if isinstance(written, str):
            source, target, *options = written.split(":")
            read_only = "ro" in ",".join(options).split(",")
            if source.startswith("."):
                return Bind(self.directory / source, target, read_only)
            return Volume(source, target, read_only)
        assert written["type"] == "bind"
        create = written.get("bind", {}).get("create_host_path", True)
        source = self.directory / written["source"]
        return Bind(source, written["target"], written.get("read_only", False), create)


def _capabilities(service: Mapping[str, Any]) -> list[str]:
    dropped = service.get("cap_drop", ())
    kept = [] if "ALL" in dropped else [one for one in CAPABILITIES if one not in dropped]
    return [*kept, *service.get("cap_add", ())]
