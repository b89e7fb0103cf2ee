"""The image and the compose file, as far as they can be held to account without an engine.

``make image-test`` builds the one, and starts the other.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from buffr.commands.healthcheck import healthy, service_of
from buffr.config import Config, load
from buffr.container import IMAGE_OWNER, Owner, Places

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICE: dict[str, Any] = COMPOSE["services"]["buffr"]
APP: dict[str, Any] = COMPOSE["services"]["app"]


def image_environment() -> dict[str, str]:
    return dict(re.findall(r"\b(BUFFR_[A-Z_]+)=(\S+)", DOCKERFILE))


def config_of(**environment: str) -> Config:
    return load(None, image_environment() | environment, {})


def instruction(name: str) -> str:
    """What the image's last instruction of a kind says."""
    found: list[str] = re.findall(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)
    return found[-1]


def volumes_of(service: dict[str, Any]) -> dict[str, str]:
    """What a service mounts in the short form: source, with its options, by target."""
    short = [one.split(":") for one in service["volumes"] if isinstance(one, str)]
    return {target: ":".join((source, *options)) for source, target, *options in short}


class TestImage:
    def test_each_run_of_the_first_seed_works(self) -> None:
        """Environment alone, reachable from other containers, with no key to give."""
        target = config_of(BUFFR_MODE="auto", BUFFR_TARGET="https://api.openai.com")
        assert (target.listen, target.reverse[0].port) == ("0.0.0.0", 8080)
        proxy = config_of(BUFFR_MODE="proxy", BUFFR_PROXY="mode: auto")
        assert proxy.access_to_forward.admit("172.17.0.2", None) == ""
        assert proxy.denies_private
        assert not proxy.warnings

    def test_it_runs_as_nobody_special_and_has_a_health_check(self) -> None:
        """A user by number, so that an orchestrator can tell that it is not root."""
        assert instruction("USER") == "1000:1000"
        assert Owner(1000, 1000) == IMAGE_OWNER
        assert '"buffr.commands.healthcheck"' in DOCKERFILE
        assert instruction("ENTRYPOINT") == '["python", "-m", "buffr.container"]'

    def test_its_places_are_those_of_the_entry_point(self) -> None:
        """Volumes, so that they can be written to where the root is read-only; by any user."""
        places = Places()
        wanted = [str(path) for path in (places.data, *places.private)]
        assert yaml.safe_load(instruction("VOLUME")) == wanted
        assert f"--mode=1777 {' '.join(wanted)}" in DOCKERFILE
        assert instruction("WORKDIR") == str(places.data)

    def test_the_cas_key_is_not_among_the_cassettes(self) -> None:
        """They are for git, and its certificate is for others."""
        config = config_of(BUFFR_MODE="proxy", BUFFR_PROXY="mode: auto")
        directories = [config.ca_cert.parent, config.ca_key.parent, Places().data]
        assert len(set(directories)) == 3

    def test_no_module_is_taken_from_the_data(self) -> None:
        """``python -m`` looks into the working directory first, and starts as root here."""
        assert re.search(r"\bPYTHONSAFEPATH=1\b", DOCKERFILE)

    def test_dependencies_come_before_the_code(self) -> None:
        """A layer of their own: what it is built of is not buffr's code."""
        _, dependencies, package, last = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
        assert "buffr ./buffr" not in dependencies
        assert "pyproject" not in dependencies
        assert "buffr ./buffr" in package
        assert last.index("--from=dependencies") < last.index("--from=package")

    def test_what_it_is_built_of_is_let_in(self) -> None:
        let_in = {
            line[1:]
            for line in (ROOT / ".dockerignore").read_text().splitlines()
            if line.startswith("!")
        }
        copied = re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        assert {name for names in copied for name in names.split()} == let_in


class TestCompose:
    def test_the_settings_are_settings(self) -> None:
        """The proxy's environment, together with the image's, starts it."""
        config = config_of(**SERVICE["environment"])
        assert config.forward is not None
        assert not config.warnings

    def test_what_the_engine_mounts_is_where_the_image_looks(self) -> None:
        places = Places()
        volumes = volumes_of(SERVICE)
        assert volumes.pop(str(places.data)) == "./cassettes:z"
        assert list(volumes) == [str(path) for path in places.private]
        assert set(volumes.values()) == set(COMPOSE["volumes"])
        (bind,) = [one for one in SERVICE["volumes"] if not isinstance(one, str)]
        assert bind["target"] == str(places.owner)
        assert bind["read_only"]
        # Or the engine would make a directory where the file has another name.
        assert bind["bind"] == {"create_host_path": False}
        assert (ROOT / bind["source"]).is_file()

    def test_root_has_only_what_it_takes_to_become_somebody_else(self) -> None:
        assert SERVICE["user"] == "0:0"
        assert SERVICE["cap_drop"] == ["ALL"]
        assert SERVICE["cap_add"] == ["CHOWN", "SETGID", "SETUID"]
        assert SERVICE["read_only"]

    def test_the_app_starts_when_the_ca_is_there_and_never_sees_its_key(self) -> None:
        """Health before start; the certificate's volume alone is shared, read only."""
        config = config_of(**SERVICE["environment"])
        volume = volumes_of(SERVICE)[str(config.ca_cert.parent)]
        assert APP["depends_on"]["buffr"]["condition"] == "service_healthy"
        assert APP["volumes"] == [f"{volume}:{config.ca_cert.parent}:ro"]
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            assert APP["environment"][name] == str(config.ca_cert)

    @pytest.mark.parametrize("name", ["buffr-ca.key", "cassettes/buffr-ca.key", "a.json.bak.1"])
    def test_git_does_not_know_what_is_secret(self, name: str) -> None:
        """Nor what is nobody else's."""
        command = ["git", "check-ignore", "--no-index", "--quiet", name]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0


_ENTERED = """
import os, sys
from pathlib import Path
from buffr.container import Places, enter
data, ca, owner, uid_map = map(Path, sys.argv[1:])
enter(Places(data, (ca,), owner, uid_map))
print(os.getresuid(), os.getresgid(), os.getgroups())
"""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """What an engine has mounted; root is root on the host."""
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    found = Places(tmp_path / "data", (tmp_path / "ca",), tmp_path / "owner", tmp_path / "uid_map")
    found.data.mkdir(mode=0o755)
    (tmp_path / "ca").mkdir()
    (tmp_path / "ca" / "buffr-ca.pem").touch()
    found.uid_map.write_text("         0          0 4294967295\n")
    return found


def entered(places: Places) -> tuple[str, str]:
    """Whom the entry point becomes, and what it says."""
    paths = [str(path) for path in (places.data, *places.private, places.owner, places.uid_map)]
    done = subprocess.run(
        [sys.executable, "-c", _ENTERED, *paths], capture_output=True, text=True, check=True
    )
    return done.stdout.strip(), done.stderr


def runs_as(number: int) -> str:
    return f"{(number,) * 3} {(number,) * 3} []"


def owned_by(path: Path, number: int) -> Path:
    path.touch() if not path.exists() else None
    os.chown(path, number, number)
    return path


class TestEntryPoint:
    def test_a_directory_of_somebodys_is_his_to_write(self, places: Places) -> None:
        owned_by(places.data, 1234)
        owned_by(places.owner, 1001)
        assert entered(places) == (runs_as(1234), "")

    def test_what_the_engine_made_goes_to_the_projects_owner(self, places: Places) -> None:
        """With the CA, which may be another user's from before; what is behind a link is not."""
        outside = owned_by(places.owner.with_name("outside"), 0)
        (places.private[0] / "link").symlink_to(outside)
        owned_by(places.private[0] / "buffr-ca.pem", 1002)
        owned_by(places.owner, 1001)
        assert entered(places) == (runs_as(1001), "")
        handed = [places.data, places.private[0], places.private[0] / "buffr-ca.pem"]
        assert [Owner.of(path) for path in handed] == [Owner(1001, 1001)] * 3
        assert Owner.of(outside) == Owner(0, 0)

    def test_without_one_to_the_images_user(self, places: Places) -> None:
        assert entered(places) == (runs_as(1000), "")
        assert Owner.of(places.data) == IMAGE_OWNER

    def test_files_of_roots_stay_roots(self, places: Places) -> None:
        """They were put there on purpose. It is said, once."""
        (places.data / "api.json").touch()
        owned_by(places.owner, 1001)
        told, said = entered(places)
        assert told == runs_as(0)
        assert said == f"buffr: running as root, the owner of the files in {places.data}\n"
        assert Owner.of(places.data) == Owner(0, 0)

    def test_in_a_user_namespace_root_is_who_runs_the_engine(self, places: Places) -> None:
        """Whoever else there is cannot be told on the host."""
        places.uid_map.write_text("         0       1001          1\n")
        assert entered(places) == (runs_as(0), "")
        assert Owner.of(places.data) == Owner(0, 0)

    def test_nothing_there(self, places: Places) -> None:
        places.data.rmdir()
        with pytest.raises(subprocess.CalledProcessError) as caught:
            entered(places)
        assert caught.value.returncode == 1
        assert "No such file or directory" in caught.value.stderr

    def test_who_is_not_root_stays_who_he_is(self) -> None:
        """Whatever is mounted: ``--user``, or the image's own."""
        text = "import os\nfrom buffr.container import Places, enter\n"
        text += "if os.geteuid() == 0:\n  os.setuid(1234)\nenter(Places())\nprint(os.getuid())"
        run = [sys.executable, "-c", text]
        done = subprocess.run(run, capture_output=True, text=True, check=True)
        assert done.stdout == f"{os.geteuid() or 1234}\n"


@pytest.fixture
def listening() -> Iterator[int]:
    """A port that is open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed() -> int:
    """A port that is not, for now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class TestHealth:
    def test_open_and_closed(self, listening: int, closed: int) -> None:
        """A port that listens is health; one that does not is named."""
        environment = {"BUFFR_TARGET": "http://a.example", "BUFFR_PORT": str(listening)}
        assert healthy(environment) is None
        assert healthy(environment | {"BUFFR_LISTEN": "0.0.0.0"}) is None
        wrong = healthy(environment | {"BUFFR_PORT": str(closed)})
        assert wrong is not None
        assert f"127.0.0.1:{closed}" in wrong

    @pytest.mark.parametrize(
        "settings",
        [
            "gateway: {port: PORT, routes: {a: {target: 'http://a.example'}}}",
            "forward: {port: PORT}",
            "reverse: [{target: 'http://a.b', port: OTHER}, {target: 'http://b.b', port: PORT}]",
            "reverse: [{target: 'http://a.test', port: OTHER}]\nforward: {port: PORT}",
        ],
    )
    def test_every_kind_of_listener_counts(
        self, tmp_path: Path, listening: int, closed: int, settings: str
    ) -> None:
        """Seen: 0 where the gateway's port was closed."""
        path = tmp_path / "buffr.yaml"
        with socket.create_server(("127.0.0.1", 0)) as second:
            other = str(second.getsockname()[1])
            for port, word in ((listening, None), (closed, str(closed))):
                path.write_text(settings.replace("PORT", str(port)).replace("OTHER", other))
                wrong = healthy({"BUFFR_CONFIG": str(path)})
                assert wrong is None if word is None else word in str(wrong)

    def test_the_forward_proxy_of_the_environment(self, listening: int, closed: int) -> None:
        for port, wanted in ((listening, True), (closed, False)):
            proxy = {"BUFFR_MODE": "proxy", "BUFFR_PORT": str(port)}
            assert (healthy(proxy) is None) is wanted

    def test_a_service_that_is_told_by_arguments(
        self, tmp_path: Path, listening: int, closed: int
    ) -> None:
        """As in ``docker run buffr replay --cassette ...``, with no variable at all."""
        theirs = tmp_path / "theirs.json"
        for port, wanted in ((listening, True), (closed, False)):
            theirs.write_text(f'{{"server": {{"port": {port}}}, "domain_mappings": {{}}}}')
            for arguments in (
                ("replay", "--cassette", "a.json", "--port", str(port)),
                ("proxy", "--replay", "--port", str(port)),
                ("serve", "--config", str(theirs)),
            ):
                assert (healthy({}, arguments) is None) is wanted

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((), "no route"),
            (("demo",), "`buffr demo` serves no port"),
            (("auto", "--prot", "1"), "--prot"),
            (("auto", "--target", "http://a.example", "--port", "0"), "port 0"),
        ],
    )
    def test_what_cannot_be_checked_is_no_health(
        self, arguments: tuple[str, ...], words: str
    ) -> None:
        assert words in str(healthy({}, arguments))

    @pytest.mark.parametrize(
        ("line", "arguments"),
        [
            ("/opt/buffr/bin/python /opt/buffr/bin/buffr replay --port 1", "replay --port 1"),
            ("/sbin/docker-init -- python /opt/buffr/bin/buffr serve", "serve"),
            ("/opt/buffr/bin/python /opt/buffr/bin/buffr", ""),
            ("/sbin/init splash", ""),
            ("", ""),
        ],
    )
    def test_the_arguments_of_the_first_process(self, line: str, arguments: str) -> None:
        """``/proc/1/cmdline``: each word ends in a NUL."""
        raw = b"".join(word.encode() + b"\0" for word in line.split())
        assert service_of(raw) == arguments.split()

    def test_wrong_settings(self) -> None:
        """They are said, not raised."""
        wrong = healthy({"BUFFR_TARGET": "nonsense"})
        assert wrong is not None
        assert "BUFFR_TARGET" in wrong
