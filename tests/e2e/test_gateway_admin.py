"""The gateway's own pages, with true figures, in the shapes of reference-api-buddy."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
import yaml
from raw_http import ask

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

KEY = "test-key_0123456789abcdefghijklmnopqrstuvwx"


def script(received: Received) -> bytes:
    if b"fails" in received.target:
        return answer(b"", b"500 Internal Server Error")
    return answer(received.target, headers=[(b"Cache-Control", b"max-age=60")])


@contextmanager
def running(directory: Path, **settings: Any) -> Iterator[BuffrProcess]:
    admin = {"enabled": True, "rate_limit_per_minute": 1000}
    with FakeUpstream(script) as upstream:
        rows = {name: {"target": upstream.url, "ttl": "1h"} for name in ("wiki", "books")}
        gateway = {"port": 0, "routes": rows, "admin": admin}
        gateway |= settings.pop("gateway", {})
        path = directory / "buffr.yaml"
        path.write_text(yaml.safe_dump({"gateway": gateway, **settings}), "utf-8")
        with BuffrProcess.run("serve", "--config", str(path), cwd=directory) as process:
            yield process


def page(process: BuffrProcess, path: str, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{process.url}/admin/{path}", timeout=120, **more).json()
    assert found.pop("timestamp").endswith("Z")
    return found


class TestFigures:
    def test_they_are_true(self, tmp_path: Path) -> None:
        """Seed defect 10: metrics showed zeros."""
        with running(tmp_path) as process:
            for path in ("wiki/a", "wiki/a", "wiki/a", "wiki/fails", "books/b"):
                requests.get(f"{process.url}/{path}", timeout=120)
            status = page(process, "status")
            assert status["status"] == "healthy"
            assert set(status["components"]) == {
                "cache_engine",
                "database_manager",
                "throttle_manager",
                "security_manager",
            }
            metrics = status["metrics"]
            assert (metrics["total_requests"], metrics["errors_last_hour"]) == (5, 1)
            assert metrics["cache_hit_rate"] == 2 / 5
            assert metrics["average_response_time_ms"] > 0
            domains = page(process, "domains")["domain_mappings"]
            assert repr(domains["wiki"]["ttl_seconds"]) == "3600"  # whole, as it was given
            assert (domains["wiki"]["total_requests"], domains["wiki"]["error_rate"]) == (4, 0.5)
            by_domain = sum(domain["total_requests"] for domain in domains.values())
            assert by_domain == metrics["total_requests"]
            assert domains["wiki"]["last_error"] == "status 500"
            assert domains["wiki"]["last_successful_request"]
            assert (domains["books"]["total_requests"], domains["books"]["cache_entries"]) == (1, 1)
            assert status["components"]["database_manager"] == {
                "status": "healthy",
                "connection_active": True,
                "last_backup": None,
            }
            cache = page(process, "cache")
            assert (cache["total_entries"], cache["cache_backend"]) == (2, "sqlite")
            assert cache["statistics"]["total_hits"] == 2
            assert (cache["statistics"]["total_sets"], cache["total_entries"]) == (2, 2)
            assert cache["statistics"]["compressed_entries"] == 0
            assert cache["ttl_distribution"]["custom_ttl"] == 2
            assert cache["ttl_distribution"]["default_ttl"] == 0
            assert isinstance(cache["ttl_distribution"]["average_ttl_remaining"], int)
            assert cache["oldest_entry"] <= cache["newest_entry"]
            wiki = page(process, "cache/wiki")
            assert (wiki["cache_entries"], wiki["hit_rate"]) == (1, 0.5)
            assert wiki["total_size_bytes"] > 0

    def test_health(self, tmp_path: Path) -> None:
        with running(tmp_path) as process:
            assert page(process, "health") == {"status": "healthy"}
            process.wait_for('msg="admin access" request="GET /admin/health" client=127.0.0.1')


class TestSettings:
    def test_they_are_shown_without_secrets(self, tmp_path: Path) -> None:
        with running(tmp_path, access={"key": KEY}) as process:
            found = page(process, "config", headers={"X-Buffr-Key": KEY})
            assert KEY not in json.dumps(found)
            assert found["security_enabled"] is True
            assert "access.key" in found["sanitized_fields"]
            assert found["configuration"]["access"]["key"] == "[REDACTED]"
            assert found["configuration"]["gateway"]["routes"]["wiki"]["mode"] == "cache"

    def test_others_are_judged(self, tmp_path: Path) -> None:
        """Seed defect 10: invalid settings were accepted."""
        good: dict[str, Any] = {
            "domain_mappings": {"wiki": {"upstream": "https://wiki.test"}},
            "security": {"secure_key": KEY},
        }
        with running(tmp_path) as process:
            url = f"{process.url}/admin/validate-config"
            found = requests.post(url, json=good, timeout=120)
            assert (found.status_code, found.json()["valid"], found.json()["errors"]) == (
                200,
                True,
                [],
            )
            assert found.json()["merged_config"]["cache"]["default_ttl_seconds"] == 86400
            assert KEY not in found.text
            bad = {"server": {"port": 99999999}}
            found = requests.post(url, json=bad, timeout=120)
            assert (found.status_code, found.json()["valid"]) == (400, False)
            assert "server.port" in found.json()["errors"][0]
            assert found.json()["merged_config"]["server"]["host"] == "127.0.0.1"
            deep = 900 * '{"a":' + "1" + 900 * "}"
            for body in ("", "{", 9999 * "[", deep, 300 * "[" + 300 * "]"):
                found = requests.post(url, data=body, timeout=120)
                assert found.status_code == 400
                assert found.json()["success"] is False
                assert found.json()["error_code"] == ("INVALID_JSON" if body else "EMPTY_BODY")

    def test_they_may_be_wrapped(self, tmp_path: Path) -> None:
        """reference-api-buddy has them as the member ``configuration``."""
        with running(tmp_path) as process:
            url = f"{process.url}/admin/validate-config"
            good: dict[str, Any] = {"configuration": {"server": {"host": "my-host", "port": 1}}}
            found = requests.post(url, json=good, timeout=120)
            assert (found.status_code, found.json()["errors"]) == (200, [])
            assert found.json()["merged_config"]["server"]["host"] == "my-host"
            assert found.json()["warnings"] == [
                (
                    "server.host: anyone who can reach my-host may use it; "
                    "set security.require_secure_key"
                ),
                "server.request_timeout not specified, using default value: 30",
            ]
            for given, error in (
                ({"cache": {"default_ttl_seconds": -1}}, "cache.default_ttl_seconds: must be"),
                ({"admin": {"enabled": "no"}}, "admin.enabled: must be true or false"),
                ({"domain_mappings": {"a": {"upstream": "x"}}}, "domain_mappings.a.upstream: 'x'"),
                (None, "the settings must be an object, not null"),
                ([], "the settings must be an object, not an array"),
            ):
                for text in (json.dumps({"configuration": given}), json.dumps(given)):
                    found = requests.post(url, data=text, timeout=120)
                    assert (found.status_code, found.json()["valid"]) == (400, False), text
                    assert found.json()["errors"][0].startswith(error)

    def test_what_stands_beside_the_wrapping_is_not_judged(self, tmp_path: Path) -> None:
        with running(tmp_path) as process:
            body: dict[str, Any] = {"configuration": {}, "server": {"port": -1}}
            url = f"{process.url}/admin/validate-config"
            found = requests.post(url, json=body, timeout=120).json()
            assert found["valid"] is True
            assert found["warnings"] == ["server: is outside configuration, ignored"]

    def test_a_body_in_many_pieces_holds_nobody_up(self, tmp_path: Path) -> None:
        """Reading takes time that grows with the body's length, not with its square."""
        with running(tmp_path) as process:
            pieces = (b" " for _ in range(60_000))
            url = f"{process.url}/admin/validate-config"
            began = time.monotonic()
            assert requests.post(url, data=pieces, timeout=120).status_code == 400
            assert time.monotonic() - began < 60


class TestErrors:
    def test_codes(self, tmp_path: Path) -> None:
        with running(tmp_path) as process:
            for method, path, status, code in (
                ("GET", "nothing", 404, "ENDPOINT_NOT_FOUND"),
                ("GET", "", 404, "ENDPOINT_NOT_FOUND"),
                ("GET", "cache/nobody", 404, "DOMAIN_NOT_FOUND"),
                ("GET", "cache/%FF", 404, "DOMAIN_NOT_FOUND"),
                ("DELETE", "status", 405, "METHOD_NOT_ALLOWED"),
                ("GET", "validate-config", 405, "METHOD_NOT_ALLOWED"),
            ):
                found = requests.request(method, f"{process.url}/admin/{path}", timeout=120)
                said = found.json()
                assert (found.status_code, said["error_code"]) == (status, code)
                assert said["success"] is False

    def test_each_client_has_its_limit(self, tmp_path: Path) -> None:
        admin = {"enabled": True, "rate_limit_per_minute": 2, "log_access": False}
        with running(tmp_path, gateway={"admin": admin}) as process:
            url = f"{process.url}/admin/health"
            found = [requests.get(url, timeout=120) for _ in range(3)]
            assert [one.status_code for one in found] == [200, 200, 429]
            assert found[2].json()["error_code"] == "RATE_LIMIT_EXCEEDED"
            assert 55 <= int(found[2].headers["Retry-After"]) <= 60
            assert "admin access" not in process.log()

    def test_the_key_comes_first(self, tmp_path: Path) -> None:
        with running(tmp_path, access={"key": KEY}) as process:
            assert requests.get(f"{process.url}/admin/health", timeout=120).status_code == 401
            for path in (f"{KEY}/admin/health", f"admin/{KEY}/health", f"admin/health?key={KEY}"):
                assert requests.get(f"{process.url}/{path}", timeout=120).status_code == 200
            assert KEY not in process.log()

    def test_it_is_off_by_default(self, tmp_path: Path) -> None:
        with running(tmp_path, gateway={"admin": {}}) as process:
            assert requests.get(f"{process.url}/admin/health", timeout=120).status_code == 404


FOREIGN = "evil.example"


def asked(process: BuffrProcess, path: str, *fields: tuple[bytes, bytes], **more: Any) -> Any:
    """A request with fields as a browser writes them; its status, and why it is refused."""
    body: bytes = more.get("body", b"")
    method: bytes = more.get("method", b"GET")
    target = f"{more.get('before', '')}/admin/{path}".encode()
    lines = b"".join(b"%b: %b\r\n" % field for field in fields)
    head = b"%b %b HTTP/1.1\r\n%bContent-Length: %d\r\n\r\n" % (method, target, lines, len(body))
    found = ask(process.ports[0], head + body)
    return found.status, json.loads(found.body).get("error_code")


class TestOtherSites:
    """A page of any site may lead a name of its own to this machine, or send a form to it."""

    def test_are_403(self, tmp_path: Path) -> None:
        with running(tmp_path) as process:
            port, own = process.ports[0], b"127.0.0.1:%d" % process.ports[0]
            rebound = (b"Host", f"{FOREIGN}:{port}".encode())
            for path in ("config", "status", "domains", "cache", "health", "nothing"):
                assert asked(process, path, rebound) == (403, "FOREIGN_HOST")
            origin = (b"Origin", f"https://{FOREIGN}".encode())
            posted = {"method": b"POST", "body": b"{}"}
            for value in (origin, (b"Origin", b"null")):
                found = asked(process, "validate-config", (b"Host", own), value, **posted)
                assert found == (403, "FOREIGN_ORIGIN")
            found = asked(process, "config", (b"Host", own), before=f"http://{FOREIGN}:{port}")
            assert found == (403, "FOREIGN_HOST")
            said = requests.get(
                f"{process.url}/admin/config", headers={"Host": FOREIGN}, timeout=120
            ).json()
            assert "gateway.admin.hosts" in said["error"]
            assert "configuration" not in said
            assert "Traceback" not in process.log()

    def test_do_not_use_up_a_clients_requests(self, tmp_path: Path) -> None:
        admin = {"enabled": True, "rate_limit_per_minute": 1}
        with running(tmp_path, gateway={"admin": admin}) as process:
            for _ in range(3):
                assert asked(process, "health", (b"Host", b"evil.example"))[0] == 403
            assert asked(process, "health", (b"Host", b"localhost"))[0] == 200

    def test_own_names_are_none(self, tmp_path: Path) -> None:
        admin = {"enabled": True, "hosts": ["buffr.example", "*.inner.example"]}
        admin["rate_limit_per_minute"] = 1000
        with running(tmp_path, gateway={"admin": admin}) as process:
            port = b":%d" % process.ports[0]
            for host in (
                b"localhost",
                b"127.0.0.1",
                b"[::1]",
                b"buffr.example",
                b"a.inner.example",
            ):
                for origin in ((), ((b"Origin", b"http://" + host + port),)):
                    assert asked(process, "status", (b"Host", host + port), *origin)[0] == 200
            head = b"GET /admin/status HTTP/1.0\r\n\r\n"
            assert ask(process.ports[0], head).status == 200

    def test_routes_take_every_name(self, tmp_path: Path) -> None:
        """They lead to their upstreams; clients may know the gateway by any name."""
        with running(tmp_path) as process:
            found = requests.get(f"{process.url}/wiki/x", headers={"Host": FOREIGN}, timeout=120)
            assert found.status_code == 200
