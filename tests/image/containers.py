"""Containers: namespaces, mounts, a user, and no more rights than an engine gives.

What an engine does for them is done here as dockerd does it: a missing
directory of the host is made for root, a new volume gets what the image has
at its place, with its owner.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from attrs import asdict, define, field, frozen
from engine import Engine, Image

__all__ = ["CAPABILITIES", "Bind", "Container", "Ended", "Host", "Volume"]

CAPABILITIES = (
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
)  # fmt: skip
"""What Docker gives, unless told otherwise."""

_LAUNCH = Path(__file__).with_name("launch.py")
_PYTHON = "/usr/bin/python3"
"""Which every user may run; that of a virtual environment may be in somebody's home."""

_FIRST_OF_OTHERS = 100_000
"""Whom user 1 of a rootless container is on the host, as in most /etc/subuid; and so on."""
_OTHERS = 65_535

_BECOME_ROOT = 'read -r _ && exec setpriv --reuid=0 --regid=0 --clear-groups "$@"'
_UNMAPPED = ("unshare", "--user", "--keep-caps", "sh", "-c", _BECOME_ROOT, "sh")
"""Runs a command as root of a user namespace once that has its users, and says so by a line."""


@frozen
class Bind:
    """A file or directory of the host in a container."""

    source: Path
    target: str
    read_only: bool = False
    create: bool = True


@frozen
class Volume:
    """A named volume in a container, or one without a name."""

    name: str
    target: str
    read_only: bool = False


@frozen
class Ended:
    """How a container's process ended."""

    code: int
    output: str


@frozen
class _Spec:
    """What ``launch.py`` is told."""

    root: str
    mounts: Sequence[tuple[str, str, bool]]
    tmpfs: Sequence[str]
    read_only: bool
    user: tuple[int, int]
    environment: Mapping[str, str]
    directory: str
    command: Sequence[str]
    capabilities: Sequence[str]
    no_new_privileges: bool


@define(eq=False)
class Host:
    """A machine with an engine: its volumes, its network, and who runs the engine.

    ``namespaces`` is the process whose network namespace all containers share.
    ``rootless`` is the user who runs the engine; root where it is ``None``.
    """

    engine: Engine
    directory: Path
    namespaces: int
    hosts: Mapping[str, str]
    certificates: Path
    rootless: int | None = None
    _running: list[Container] = field(factory=list)
    _count: int = 0

    def start(
        self,
        image: Image,
        arguments: Sequence[str] | None = None,
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        mounts: Sequence[Bind | Volume] = (),
        tmpfs: Sequence[str] = (),
        read_only: bool = False,
        capabilities: Sequence[str] = CAPABILITIES,
        no_new_privileges: bool = False,
    ) -> Container:
        """Start a container, as ``docker run`` does."""
        self._count += 1
        root = self.engine.root_of(image.name)
        anonymous = [
            Volume(f"anonymous-{self._count}-{target.strip('/')}", target)
            for target in image.volumes
            if target not in {mount.target for mount in mounts}
        ]
        placed = [self._placed(mount, root) for mount in (*mounts, *anonymous)]
        (self.directory / "hosts").write_text(
            "".join(f"{address} {name}\n" for name, address in self.hosts.items())
        )
        given = {"/etc/hosts": self.directory / "hosts", CERTIFICATES: self.certificates}
        for target, source in given.items():
            placed.append(self._placed(Bind(source, target, read_only=True), root))
        spec = _Spec(
            root=str(root),
            mounts=placed,
            tmpfs=tmpfs,
            read_only=read_only,
            user=_numbers(image.user if user is None else user),
            environment={"HOME": "/", **image.environment, **(environment or {})},
            directory=image.directory,
            command=(*image.entrypoint, *(image.command if arguments is None else arguments)),
            capabilities=capabilities,
            no_new_privileges=no_new_privileges,
        )
        container = Container.started(self, image, spec, self.directory / f"log-{self._count}")
        self._running.append(container)
        return container

    def _placed(self, mount: Bind | Volume, root: Path) -> tuple[str, str, bool]:
        """What is to be mounted: source, target and whether it is read-only."""
        place = Path(f"{root}{mount.target}")
        if isinstance(mount, Volume):
            source = self.volume(mount.name)
            _populate(source, place, self.rootless)
        else:
            source = mount.source
            if not source.exists():
                if not mount.create:
                    raise FileNotFoundError(f"bind source path does not exist: {source}")
                self._make(source)
        if source.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.touch()
        return str(source), mount.target, mount.read_only

    def _make(self, directory: Path) -> None:
        """Make a directory as the engine does: for whoever it runs as."""
        if not directory.parent.exists():
            self._make(directory.parent)
        directory.mkdir(mode=0o755)
        if self.rootless is not None:
            os.chown(directory, self.rootless, self.rootless)

    def volume(self, name: str) -> Path:
        """Where a volume is on the host."""
        path = self.directory / "volumes" / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def entered(self) -> list[str]:
        """The command that enters the network."""
        return ["nsenter", f"--net=/proc/{self.namespaces}/ns/net"]

    def close(self) -> None:
        """Stop what still runs."""
        for container in self._running:
            container.stop()


@define(eq=False)
class Container:
    """A container's first process, and the way into it."""

    host: Host
    image: Image
    spec: _Spec
    log: Path
    process: subprocess.Popen[bytes]

    @classmethod
    def started(cls, host: Host, image: Image, spec: _Spec, log: Path) -> Container:
        command = [*host.entered()]
        if host.rootless is not None:
            command += _UNMAPPED
        command += ["unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *_launching(host, spec, "start")],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        assert process.stdin is not None
        if host.rootless is not None:
            _map_users(process.pid, host.rootless)
            process.stdin.write(b"\n")
        process.stdin.close()
        return cls(host, image, spec, log, process)

    @property
    def first(self) -> int | None:
        """The first process of the container, by its number on the host."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        try:
            found = children.read_text().split()
        except FileNotFoundError:
            return None
        return int(found[0]) if found else None

    def healthy(self) -> str | None:
        """``None`` where the image's check of health is content, else what it says."""
        done = self.execute(self.image.health)
        return done.output if done.code else None

    def execute(self, command: Sequence[str], *, user: str | None = None) -> Ended:
        """Run a command in the container, as ``docker exec`` does."""
        first = self.first
        if first is None:
            return Ended(-1, "the container does not run")
        spec = _changed(self.spec, command, user)
        inside = ["nsenter", f"--target={first}", "--mount", "--pid"]
        if self.host.rootless is not None:
            inside.append("--user")
        done = subprocess.run(
            [*self.host.entered(), *inside, *_launching(self.host, spec, "join")],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        return Ended(done.returncode, done.stdout + done.stderr)

    def wait_healthy(self, timeout_s: float = 60) -> None:
        """Wait for it. Raises ``AssertionError`` with the log where it ends instead."""
        deadline = time.monotonic() + timeout_s
        while (wrong := self.healthy()) is not None:
            running = self.process.poll() is None and time.monotonic() < deadline
            assert running, f"{wrong}\n{self.output()}"
            time.sleep(0.5)

    def wait(self, timeout_s: float = 60) -> Ended:
        """Wait for its end."""
        code = self.process.wait(timeout_s)
        return Ended(code, self.output())

    def output(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def user(self) -> tuple[int, int]:
        """Whom its first process runs as, by numbers of the host."""
        status = Path(f"/proc/{self.first}/status").read_text()
        lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        return int(lines["Uid"].split()[1]), int(lines["Gid"].split()[1])

    def stop(self, timeout_s: float = 20) -> Ended:
        """Ask it to end, as ``docker stop`` does."""
        first = self.first
        if self.process.poll() is None and first is not None:
            os.kill(first, signal.SIGTERM)
        try:
            return self.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def _launching(host: Host, spec: _Spec, step: str) -> list[str]:
    path = host.directory / f"spec-{time.monotonic_ns()}.json"
    path.write_text(json.dumps(asdict(spec)))
    path.chmod(0o644)
    launch = host.directory / _LAUNCH.name
    if not launch.exists():
        shutil.copy(_LAUNCH, launch)
        launch.chmod(0o644)
    return [_PYTHON, "-I", str(launch), step, str(path)]


def _changed(spec: _Spec, command: Sequence[str], user: str | None) -> _Spec:
    values = asdict(spec)
    values["command"] = list(command)
    if user is not None:
        values["user"] = _numbers(user)
    return _Spec(**values)


def _numbers(user: str) -> tuple[int, int]:
    uid, _, gid = (user or "0:0").partition(":")
    return int(uid), int(gid or 0)


def _map_users(process: int, rootless: int) -> None:
    """Give a process's new namespace the users that a rootless engine has."""
    place = Path(f"/proc/{process}")
    deadline = time.monotonic() + 20
    while (place / "ns/user").readlink() == Path("/proc/self/ns/user").readlink():
        assert time.monotonic() < deadline, "unshare made no namespace"
        time.sleep(0.01)
    users = f"0 {rootless} 1\n1 {_FIRST_OF_OTHERS} {_OTHERS}\n"
    for name in ("uid_map", "gid_map"):
        (place / name).write_text(users)


def _populate(volume: Path, place: Path, rootless: int | None) -> None:
    """Give a volume that is new what the image has there: files, owner and mode."""
    if any(volume.iterdir()) or not place.is_dir():
        return
    status = place.stat()
    shutil.copytree(place, volume, dirs_exist_ok=True, symlinks=True)
    os.chown(volume, _outside(status.st_uid, rootless), _outside(status.st_gid, rootless))
    volume.chmod(status.st_mode & 0o7777)


def _outside(number: int, rootless: int | None) -> int:
    """Who a user, or a group, of a container is on the host."""
    if rootless is None:
        return number
    return _FIRST_OF_OTHERS + number - 1 if number else rootless
