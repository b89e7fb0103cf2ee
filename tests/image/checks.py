"""The image, built, and the compose file's services, started as an engine would.

`make image-test` runs this, as root; `pytest` alone does not find it. There
is no engine in it: buildah builds the image, and its containers are
namespaces with their mounts, users and capabilities.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import trustme
from attrs import define, field
from compose import Project
from containers import Bind, Host, Volume
from engine import Engine, Image, Missing, required

ROOT = Path(__file__).parent.parent.parent
BASE = "docker.io/library/python:3.13-slim"
CURL = "curlimages/curl:8.11.1"
BUFFR = "localhost/buffr"

HOST = "api.github.com"
PUBLIC = "5.5.5.5"
"""An address that counts as public. It is only on the loopback of the test's own network."""
ADDRESSES = {"localhost": "127.0.0.1", "buffr": "172.30.0.2", "app": "172.30.0.3", HOST: PUBLIC}
CASSETTE = f"{HOST}.json"


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    try:
        required()
    except Missing as missing:
        pytest.exit(f"make image-test: {missing}", returncode=2)
    engine = Engine(Path(tempfile.mkdtemp(prefix="buffr-image-test-", dir="/var/tmp")))
    engine.directory.chmod(0o755)
    try:
        engine.make_base([BASE])
        engine.make_client(f"docker.io/{CURL}")
        yield engine
    finally:
        engine.close()


@pytest.fixture(scope="session")
def image(engine: Engine) -> Image:
    engine.build(ROOT, BUFFR)
    return engine.image(BUFFR)


@pytest.fixture(scope="session")
def images(engine: Engine, image: Image) -> dict[str, Image]:
    """By what the compose file calls them."""
    return {"build": image, CURL: engine.image(f"docker.io/{CURL}")}


@define(eq=False)
class World:
    """A network with an origin in it, which can be stopped, and hosts on it."""

    engine: Engine
    images: dict[str, Image]
    directory: Path
    namespaces: int
    origin: subprocess.Popen[bytes]
    _hosts: list[Host] = field(factory=list)

    def host(self, *, rootless: int | None = None) -> Host:
        directory = Path(tempfile.mkdtemp(dir=self.directory))
        directory.chmod(0o755)
        roots = self.directory / "roots.pem"
        host = Host(self.engine, directory, self.namespaces, ADDRESSES, roots, rootless)
        self._hosts.append(host)
        return host

    def project(self, owner: int, *, rootless: bool = False) -> Project:
        """What a user has cloned, on a host of its own."""
        host = self.host(rootless=owner if rootless else None)
        directory = host.directory / "project"
        directory.mkdir()
        for name in ("docker-compose.yml", ".gitignore"):
            shutil.copy(ROOT / name, directory / name)
            os.chown(directory / name, owner, owner)
        os.chown(directory, owner, owner)
        return Project(directory, host, self.images)

    def asked(self) -> int:
        """How often the origin was asked."""
        log = self.directory / "origin.log"
        return len(log.read_text().splitlines()) if log.exists() else 0

    def close(self) -> None:
        for host in self._hosts:
            host.close()


@contextmanager
def own_network() -> Iterator[int]:
    """A process with a network of its own, where our addresses are on the loopback."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; read -r _"],
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    assert holder.stdout is not None
    holder.stdout.readline()
    enter = ["nsenter", f"--net=/proc/{holder.pid}/ns/net", "ip"]
    try:
        subprocess.run([*enter, "link", "set", "lo", "up"], check=True)
        for address in set(ADDRESSES.values()) - {"127.0.0.1"}:
            subprocess.run([*enter, "address", "add", f"{address}/32", "dev", "lo"], check=True)
        yield holder.pid
    finally:
        holder.communicate(b"\n")


@pytest.fixture
def world(engine: Engine, images: dict[str, Image]) -> Iterator[World]:
    authority = trustme.CA()
    with ExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(dir=engine.directory, prefix="world-"))
        )
        directory.chmod(0o755)
        authority.cert_pem.write_to_path(str(directory / "roots.pem"))
        issued = authority.issue_cert(HOST)
        issued.private_key_and_cert_chain_pem.write_to_path(str(directory / "origin.pem"))
        network = stack.enter_context(own_network())
        script = Path(__file__).with_name("origin.py")
        files = (str(directory / "origin.pem"), str(directory / "origin.log"))
        command = ["nsenter", f"--net=/proc/{network}/ns/net", sys.executable, str(script)]
        origin = stack.enter_context(
            subprocess.Popen([*command, PUBLIC, *files], stdout=subprocess.PIPE)
        )
        stack.callback(origin.kill)
        assert origin.stdout is not None
        assert origin.stdout.readline()
        made = World(engine, images, directory, network, origin)
        stack.callback(made.close)
        yield made


def as_user(uid: int, *command: str, cwd: Path) -> str:
    """What a command of the host's user says."""
    become = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    done = subprocess.run(
        [*become, *command], cwd=cwd, capture_output=True, text=True, check=True,
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"]},
    )  # fmt: skip
    return done.stdout


def owner(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_uid, status.st_gid


def names(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_the_address_counts_as_public() -> None:
    assert ipaddress.ip_address(PUBLIC).is_global


class TestImage:
    def test_it_runs_as_a_user_that_is_not_root(self, image: Image) -> None:
        assert image.user == "1000:1000"

    def test_it_ships_no_pip(self, engine: Engine, image: Image) -> None:
        """Neither buffr's environment nor Python's own; nor what would bring it back."""
        root = engine.root_of(BUFFR)
        for name in ("opt/buffr", "usr/local"):
            found = [path for path in (root / name).rglob("pip*") if "site-packages" in str(path)]
            assert found == []
        assert not list((root / "opt/buffr/bin").glob("pip*"))
        own = image.size_bytes - engine.image(BASE).size_bytes
        sizes = f"{image.size_bytes / 1e6:.0f} MB, {own / 1e6:.0f} MB of it over its base"
        sys.stdout.write(f"\nThe image has {sizes}.\n")

    def test_dependencies_are_built_once(self, engine: Engine, image: Image) -> None:
        """A change of buffr's code, or of a tool's settings, keeps their layer."""
        with tempfile.TemporaryDirectory(dir=engine.directory) as place:
            copy = Path(place)
            for name in ("Dockerfile", ".dockerignore", "README.md"):
                shutil.copy(ROOT / name, copy)
            for name in ("buffr", "twisted"):
                shutil.copytree(ROOT / name, copy / name)
            with (copy / "buffr/__init__.py").open("a") as source:
                source.write(f"# {time.time_ns()}\n")
            settings = (ROOT / "pyproject.toml").read_text()
            (copy / "pyproject.toml").write_text(settings + "\n[tool.other]\n")
            told = engine.build(copy, "localhost/changed")
        steps = told.split("STEP ")
        (installs,) = [one for one in steps if "RUN python -m venv" in one]
        assert "Using cache" in installs
        (package,) = [one for one in steps if "--root /package" in one]
        assert "Using cache" not in package


class TestFirstStart:
    """``docker compose run --rm app`` in a fresh clone."""

    @pytest.mark.parametrize("user", [1000, 1001])
    def test_it_records_then_replays(self, world: World, user: int) -> None:
        """``./cassettes`` is not there: dockerd makes it, for root."""
        project = world.project(user)
        first = project.run("app")
        assert (first.code, first.output) == (0, "answer 1 to /zen\n"), (
            first.output + project.running["buffr"].output()
        )
        cassettes = project.directory / "cassettes"
        assert names(cassettes) == {CASSETTE}
        assert owner(cassettes) == owner(cassettes / CASSETTE) == (user, user)
        assert project.running["buffr"].user() == (user, user)
        recorded = as_user(user, "cat", str(cassettes / CASSETTE), cwd=project.directory)
        assert len(json.loads(recorded)["interactions"]) == 1
        again = project.run("app")
        assert again.output == first.output
        project.down()
        world.origin.kill()
        world.origin.wait()
        later = project.run("app")
        assert (later.code, later.output) == (0, first.output)
        assert world.asked() == 1
        project.down()

    def test_the_cas_key_stays_with_buffr(self, world: World) -> None:
        """It is in no folder that is committed, in nothing that the app sees, and closed."""
        project = world.project(1001)
        assert project.run("app").code == 0
        volumes = project.host.directory / "volumes"
        key = volumes / "ca-key" / "buffr-ca.key"
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert owner(key) == (1001, 1001)
        assert names(volumes / "ca") == {"buffr-ca.pem"}
        assert "buffr-ca.key" not in names(project.directory)
        app = project.host.start(
            world.images[CURL], [f"file:///{'ca-key/buffr-ca.key'}"], user="0:0",
            mounts=[Volume("ca", "/ca", read_only=True)],
        )  # fmt: skip
        assert app.wait().code != 0
        for line in ("init", "add --all"):
            as_user(1001, "git", *line.split(), cwd=project.directory)
        staged = as_user(1001, "git", "ls-files", cwd=project.directory).splitlines()
        assert sorted(staged) == [".gitignore", f"cassettes/{CASSETTE}", "docker-compose.yml"]
        (project.directory / "cassettes" / "buffr-ca.key").touch()
        ignored = as_user(1001, "git", "status", "--short", "--ignored", cwd=project.directory)
        assert "!! cassettes/buffr-ca.key" in ignored

    def test_a_directory_that_is_there_keeps_its_owner(self, world: World) -> None:
        """Of a clone by another user than the compose file's, say."""
        project = world.project(1000)
        cassettes = project.directory / "cassettes"
        cassettes.mkdir(mode=0o700)
        os.chown(cassettes, 1234, 1234)
        assert project.run("app").code == 0
        assert owner(cassettes / CASSETTE) == (1234, 1234)

    def test_a_clone_of_roots(self, world: World) -> None:
        """As in many CI systems: what is there is root's, and so is what comes. It is said."""
        project = world.project(0)
        assert project.run("app").code == 0
        assert owner(project.directory / "cassettes" / CASSETTE) == (0, 0)
        assert "buffr: runs as root" in project.running["buffr"].output()

    def test_another_owner_later(self, world: World) -> None:
        """The CA in its volumes goes with him, and clients trust it on."""
        project = world.project(1001)
        assert project.run("app").code == 0
        project.down()
        certificate = project.host.volume("ca") / "buffr-ca.pem"
        before = certificate.read_bytes()
        for path in (project.directory, *project.directory.rglob("*")):
            os.chown(path, 1002, 1002)
        assert project.run("app").code == 0
        assert owner(certificate) == (1002, 1002)
        assert certificate.read_bytes() == before

    def test_rootless(self, world: World) -> None:
        """Root in there is the user out here, and nothing is handed to anybody else."""
        project = world.project(1001, rootless=True)
        first = project.run("app")
        assert (first.code, first.output) == (0, "answer 1 to /zen\n"), (
            first.output + project.running["buffr"].output()
        )
        cassettes = project.directory / "cassettes"
        assert owner(cassettes) == owner(cassettes / CASSETTE) == (1001, 1001)
        assert "runs as root" not in project.running["buffr"].output()

    def test_a_compose_file_by_another_name(self, world: World) -> None:
        """The mistake is said; no directory comes of it."""
        project = world.project(1001)
        project.file = (project.directory / "docker-compose.yml").rename(
            project.directory / "compose.yaml"
        )
        with pytest.raises(FileNotFoundError, match=r"docker-compose\.yml"):
            project.up("buffr")
        assert not (project.directory / "docker-compose.yml").exists()


class TestHealth:
    def test_it_is_true(self, world: World) -> None:
        """Of buffr as the environment and the command line have it; not where nothing listens."""
        host = world.host()
        image = world.images["build"]
        by_environment = host.start(image, environment={"BUFFR_TARGET": f"https://{HOST}"})
        by_environment.wait_healthy()
        command = ("replay", "--cassette", "a.json", "--port", "8099")
        refused = by_environment.execute([*image.health, *command])
        assert refused.code == 1
        assert "127.0.0.1:8099: Connection refused" in refused.output
        by_arguments = host.start(image, command)
        by_arguments.wait_healthy()
        assert by_arguments.stop().code == 0

    def test_of_a_gateway(self, world: World) -> None:
        host = world.host()
        settings = host.directory / "gateway.yaml"
        settings.write_text(
            f"gateway: {{port: 8098, routes: {{api: {{target: 'https://{HOST}', mode: auto}}}}}}"
        )
        container = host.start(
            world.images["build"],
            environment={"BUFFR_CONFIG": "/gateway.yaml"},
            mounts=[Bind(settings, "/gateway.yaml", read_only=True)],
        )
        container.wait_healthy()
        checked = container.execute(
            ["python", "-m", "buffr.commands.healthcheck", "serve", "--port", "8097"]
        )
        assert "127.0.0.1:8097" in checked.output
        container.stop()


class TestRun:
    """``docker run`` without a compose file."""

    def test_any_user_on_a_read_only_root(self, world: World) -> None:
        """As orchestrators have it: a number that the image does not know."""
        host = world.host()
        container = host.start(
            world.images["build"],
            user="54321:54321",
            environment={"BUFFR_MODE": "proxy", "BUFFR_PROXY": "mode: auto"},
            read_only=True,
            capabilities=(),
            no_new_privileges=True,
        )
        container.wait_healthy()
        assert container.user() == (54321, 54321)

    def test_a_directory_of_a_users(self, world: World) -> None:
        """With ``--user``, as the docs say; and without, as root."""
        for user in ("1001:1001", "0:0"):
            host = world.host()
            cassettes = host.directory / "cassettes"
            cassettes.mkdir()
            os.chown(cassettes, 1001, 1001)
            container = host.start(
                world.images["build"],
                user=user,
                environment={"BUFFR_TARGET": f"https://{HOST}"},
                mounts=[Bind(cassettes, "/data")],
            )
            container.wait_healthy()
            asked = container.execute(["curl", "--silent", "http://127.0.0.1:8080/zen"])
            assert asked.output == f"answer {world.asked()} to /zen\n"
            assert owner(cassettes / CASSETTE) == (1001, 1001)
            container.stop()

    def test_a_directory_that_the_daemon_made(self, world: World) -> None:
        """As the image's own user: what is wrong is said, and whose the directory is."""
        host = world.host()
        container = host.start(
            world.images["build"],
            environment={"BUFFR_TARGET": f"https://{HOST}"},
            mounts=[Bind(host.directory / "cassettes", "/data")],
        )
        ended = container.wait()
        assert ended.code == 1
        assert "/data belongs to user 0 and has mode 0755; buffr runs as user 1000" in ended.output

    def test_replay_from_a_read_only_directory(self, world: World) -> None:
        project = world.project(1001)
        assert project.run("app").code == 0
        project.down()
        (project.directory / "cassettes" / CASSETTE).chmod(0o644)
        container = project.host.start(
            world.images["build"],
            ("replay", "--target", f"https://{HOST}"),
            mounts=[Bind(project.directory / "cassettes", "/data", read_only=True)],
            read_only=True,
        )
        container.wait_healthy()
        asked = container.execute(["curl", "--silent", "http://127.0.0.1:8080/zen"])
        assert asked.output == "answer 1 to /zen\n"
        assert container.stop().code == 0

    def test_without_the_capabilities_it_says_which(self, world: World) -> None:
        container = world.host().start(world.images["build"], user="0:0", capabilities=())
        ended = container.wait()
        assert ended.code == 1
        assert "CHOWN, SETGID and SETUID" in ended.output
