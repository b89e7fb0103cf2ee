"""The image and the compose file, as far as they can be held to account without an engine."""

from __future__ import annotations

import re
import socket
from pathlib import Path
from typing import Any

import yaml

from buffr.config import Config, load
from buffr.healthcheck import healthy

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())


def image_environment() -> dict[str, str]:
    return dict(re.findall(r"\b(BUFFR_[A-Z]+)=(\S+)", DOCKERFILE))


def config_of(**environment: str) -> Config:
    return load(None, image_environment() | environment, {})


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
        assert re.search(r"^USER 1000:1000$", DOCKERFILE, re.MULTILINE)
        assert '"buffr.healthcheck"' in DOCKERFILE
        assert re.search(r'^ENTRYPOINT \["buffr"\]$', DOCKERFILE, re.MULTILINE)


class TestCompose:
    def test_the_settings_are_settings(self) -> None:
        """The proxy's environment, together with the image's, starts it."""
        service = COMPOSE["services"]["buffr"]
        config = config_of(**service["environment"])
        assert config.forward is not None
        assert config.ca_cert == Path("/ca/buffr-ca.pem")
        assert config.ca_key.parent == Path("/data")

    def test_the_app_starts_when_the_ca_is_there_and_never_sees_its_key(self) -> None:
        """Health before start; the certificate's volume alone is shared, read only."""
        app = COMPOSE["services"]["app"]
        assert app["depends_on"]["buffr"]["condition"] == "service_healthy"
        assert app["volumes"] == ["ca:/ca:ro"]
        for name in ("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
            assert app["environment"][name] == "/ca/buffr-ca.pem"


class TestHealth:
    def test_open_and_closed(self) -> None:
        """A port that listens is health; one that does not is named."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            environment = {"BUFFR_TARGET": "http://a.example", "BUFFR_PORT": str(port)}
            assert healthy(environment) is None
            assert healthy(environment | {"BUFFR_LISTEN": "0.0.0.0"}) is None
        wrong = healthy(environment)
        assert wrong is not None
        assert f"127.0.0.1:{port}" in wrong

    def test_wrong_settings(self) -> None:
        """They are said, not raised."""
        wrong = healthy({"BUFFR_TARGET": "nonsense"})
        assert wrong is not None
        assert "BUFFR_TARGET" in wrong
