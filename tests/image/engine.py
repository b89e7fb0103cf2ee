"""Images without an engine: buildah builds them, on a base that debootstrap makes.

Everything is below one directory, and gone with it. Only the machine's own
sources of packages are used: Debian's as apt knows them, Python's as pip does.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

__all__ = ["Engine", "Image", "Missing", "required"]

_TOOLS = ("buildah", "debootstrap", "apt-get", "unshare", "nsenter", "setpriv", "ip", "git")
_PACKAGES = "ca-certificates,curl,python3,python3-venv"
_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
_PIP_NAMES = ("index-url", "extra-index-url", "trusted-host", "proxy", "cert", "timeout")


class Missing(Exception):
    """What the machine lacks to build and run an image."""


def required() -> None:
    """Raises ``Missing`` with what to do."""
    if os.geteuid() != 0:
        raise Missing("it mounts, and makes namespaces: run it as root, with sudo")
    absent = [tool for tool in (*_TOOLS, "/usr/bin/python3") if shutil.which(tool) is None]
    if absent:
        raise Missing(
            f"it needs {', '.join(absent)}; on Debian: "
            "apt-get install buildah debootstrap git iproute2 python3 util-linux"
        )


def _ran(*command: str, **options: Any) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stdout}{done.stderr}")
    told: str = done.stdout
    return told.strip()


@frozen
class Image:
    """What an image says of the containers that are made of it."""

    name: str
    environment: dict[str, str]
    user: str
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    directory: str
    volumes: tuple[str, ...]
    health: tuple[str, ...]
    labels: dict[str, str]
    size_bytes: int


@define(eq=False)
class Engine:
    """Images and the containers' roots, in a directory of their own."""

    directory: Path
    _roots: list[str] = field(factory=list)
    _driver: str = field(init=False)

    @_driver.default
    def _chosen_driver(self) -> str:
        """That of the kernel, unless the directory is where it cannot be used."""
        probe = self.directory / "probe"
        for name in ("lower", "upper", "work", "merged"):
            (probe / name).mkdir(parents=True)
        options = f"lowerdir={probe}/lower,upperdir={probe}/upper,workdir={probe}/work"
        command = ["mount", "-t", "overlay", "-o", options, "overlay", str(probe / "merged")]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return "vfs"
        _ran("umount", str(probe / "merged"))
        return "overlay"

    def buildah(self, *arguments: str) -> str:
        store = ("--root", str(self.directory / "store"), "--runroot", str(self.directory / "run"))
        return _ran("buildah", *store, "--storage-driver", self._driver, *arguments)

    def make_base(self, names: Sequence[str]) -> None:
        """A Debian with Python, where the official images have theirs, under these names."""
        root = self.directory / "base"
        mirror, suite = _debian()
        _ran("debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(root), mirror)
        _ran("chroot", str(root), "python3", "-m", "venv", "--copies", "/usr/local")
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, str(root), "/")
        self.buildah("config", "--env", f"PATH={_PATH}", "--cmd", "python3", container)
        for name in names:
            self.buildah("commit", "--quiet", "--format", "docker", container, name)
        self.buildah("rm", container)
        shutil.rmtree(root)

    def make_client(self, name: str) -> None:
        """The base, as a stand-in for an image whose entry point is curl."""
        container = self.buildah("from", "--pull-never", "docker.io/library/python:3.13-slim")
        self.buildah("config", "--entrypoint", '["curl"]', "--user", "100:101", container)
        self.buildah("commit", "--quiet", "--format", "docker", container, name)
        self.buildah("rm", container)

    def build(self, context: Path, name: str) -> str:
        """Build a Dockerfile; what buildah said."""
        pip = self.directory / "pip.conf"
        pip.write_text(_pip_settings())
        return self.buildah(
            "build",
            "--isolation=chroot",
            "--format=docker",  # that of OCI knows no check of health
            "--layers",
            "--pull-never",
            f"--volume={_CERTIFICATES}:{_CERTIFICATES}:ro",
            f"--volume={pip}:/etc/pip.conf:ro",
            f"--tag={name}",
            str(context),
        )

    def image(self, name: str) -> Image:
        inspected = json.loads(self.buildah("inspect", "--type", "image", name))
        config = inspected["Docker"]["config"]
        listed = json.loads(self.buildah("images", "--json", name))
        health = (config.get("Healthcheck") or {}).get("Test") or ["CMD"]
        assert health[0] == "CMD"
        return Image(
            name=name,
            environment=dict(line.split("=", 1) for line in config["Env"]),
            user=config["User"],
            entrypoint=tuple(config["Entrypoint"] or ()),
            command=tuple(config["Cmd"] or ()),
            directory=config["WorkingDir"] or "/",
            volumes=tuple(config.get("Volumes") or ()),
            health=tuple(health[1:]),
            labels=config["Labels"] or {},
            size_bytes=_bytes(listed[0]["size"]),
        )

    def root_of(self, name: str) -> Path:
        """A new container's root, as it is before anything runs in it."""
        container = self.buildah("from", "--pull-never", name)
        self._roots.append(container)
        root = Path(self.buildah("mount", container))
        for parent in root.parents:
            if parent.is_relative_to(self.directory):
                parent.chmod(0o711)  # rootless users have to get there
        return root

    def close(self) -> None:
        """Remove everything."""
        for container in self._roots:
            self.buildah("umount", container)
            self.buildah("rm", container)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            place = line.split(" ")[1]
            if place.startswith(f"{self.directory}/"):
                _ran("umount", place)
        shutil.rmtree(self.directory)


def _debian() -> tuple[str, str]:
    """The mirror and the release of this machine, as apt knows them."""
    released = Path("/etc/os-release").read_text()
    (suite,) = [
        line.partition("=")[2].strip('"')
        for line in released.splitlines()
        if line.startswith("VERSION_CODENAME=")
    ]
    targets = _ran(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME)", "Created-By: Packages"
    )
    for target in targets.splitlines():
        mirror, _, codename = target.rpartition(" ")
        if codename == suite:
            return mirror, suite
    raise Missing(f"apt knows no mirror for {suite}: run apt-get update")


def _pip_settings() -> str:
    """The indexes that pip uses here, for the builds; directories of this machine are not there."""
    settings: dict[str, str] = {}
    told = _ran(sys.executable, "-m", "pip", "config", "list")
    for line in told.splitlines():
        name, _, value = line.partition("=")
        name, value = name.rpartition(".")[2], value.strip("'\"")
        words = [word for word in value.split() if not word.startswith("file:")]
        if name in _PIP_NAMES and words:
            settings.setdefault(name, " ".join(words))  # what the environment says comes first
    lines = [f"{name} = {value}\n" for name, value in settings.items()]
    return "".join(("[global]\n", *lines))


def _bytes(size: str) -> int:
    """From buildah's ``423 MB``."""
    number, unit = size.split()
    return int(float(number) * {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9}[unit])
