"""The admin listener: where it is, whom it lets in, and what it tells of the process."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from admin_client import Admin

from buffr.testing import BuffrProcess

SETTINGS = """
reverse:
  - {target: 'http://127.0.0.1:9', port: 0, mode: auto}
gateway:
  port: 0
  routes: {one: {target: 'http://127.0.0.1:9/base'}}
access: {key: my-secret-key}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("admin")


@pytest.fixture(scope="module")
def admin(place: Path) -> Iterator[Admin]:
    (place / "buffr.yaml").write_text(SETTINGS)
    with BuffrProcess.run("serve", cwd=place, env={"BUFFR_ADMIN": "0"}, listeners=2) as buffr:
        yield Admin.of(buffr, place)


class TestWhereItIs:
    def test_the_log_and_a_file_for_its_owner_alone_lead_to_it(self, tmp_path: Path) -> None:
        arguments = ("replay", "--cassette", "c.json", "--port", "0", "--admin", "0")
        with BuffrProcess.run(*arguments, cwd=tmp_path) as buffr:
            said = buffr.wait_for(r'msg=admin url="(http://127.0.0.1:\d+)/#token=([\w-]{40,})"')
            file = tmp_path / "buffr-admin.json"
            assert file.stat().st_mode & 0o777 == 0o600
            found = json.loads(file.read_text())
            assert (found["url"], found["token"]) == said.groups()
            assert found["pid"] == buffr.process.pid
        assert not file.exists()

    def test_another_port_where_its_own_is_taken_and_none_was_asked_for(
        self, tmp_path: Path
    ) -> None:
        # Whoever has 8089, one of two that run at a time does not get it.
        arguments = ("replay", "--cassette", "c.json", "--port", "0")
        env = {"BUFFR_ADMIN": "true"}
        with (
            BuffrProcess.run(*arguments, cwd=tmp_path, env=env) as one,
            BuffrProcess.run(*arguments, cwd=tmp_path, env=env) as other,
        ):
            ports = {each.wait_for(r"msg=admin .*?:(\d+)/#")[1] for each in (one, other)}
            assert len(ports) == 2

    def test_a_chosen_port_that_is_taken_is_an_error(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            arguments = ("replay", "--cassette", "c.json", "--port", "0", "--admin", str(port))
            with (
                pytest.raises(RuntimeError, match=f"cannot listen on 127.0.0.1:{port}"),
                BuffrProcess.run(*arguments, cwd=tmp_path, listeners=9),
            ):
                pass

    def test_there_is_none_if_it_is_switched_off(self, tmp_path: Path) -> None:
        arguments = ("replay", "--cassette", "c.json", "--port", "0", "--admin", "false")
        with BuffrProcess.run(*arguments, cwd=tmp_path) as buffr:
            pass
        assert "msg=admin" not in buffr.log()
        assert not (tmp_path / "buffr-admin.json").exists()


class TestWhomItLetsIn:
    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"Host": "evil.example"}, "FOREIGN_HOST"),
            ({"Host": "evil.example:8089"}, "FOREIGN_HOST"),
            ({"Origin": "http://evil.example"}, "FOREIGN_ORIGIN"),
            ({"Origin": "null"}, "FOREIGN_ORIGIN"),
            ({"Origin": "http://localhost:3000"}, "FOREIGN_ORIGIN"),
        ],
    )
    @pytest.mark.parametrize("path", ["/", "/api/health", "/api/config", "/metrics", "/nowhere"])
    def test_no_page_of_another_site(
        self, admin: Admin, path: str, fields: dict[str, str], code: str
    ) -> None:
        answer = admin.client.get(path, headers=fields)
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == code

    def test_its_own_page(self, admin: Admin) -> None:
        assert admin.client.get("/api/health", headers={"Origin": admin.url}).status_code == 200

    @pytest.mark.parametrize("token", [None, "wrong", ""])
    def test_nobody_changes_anything_without_the_token(
        self, admin: Admin, token: str | None
    ) -> None:
        headers = {} if token is None else {"X-Buffr-Token": token}
        answer = admin.client.delete("/api/misses", headers=headers)
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "TOKEN_NEEDED"

    def test_the_token_is_a_bearer_token_too(self, admin: Admin) -> None:
        headers = {"Authorization": f"Bearer {admin.token}"}
        assert admin.client.delete("/api/misses", headers=headers).status_code == 204

    def test_beyond_loopback_reading_needs_it_too(self, tmp_path: Path) -> None:
        arguments = ("replay", "--cassette", "c.json", "--port", "0", "--admin", "0.0.0.0:0")
        with BuffrProcess.run(*arguments, cwd=tmp_path) as buffr:
            admin = Admin.of(buffr, tmp_path)
            assert admin.client.get("/api/routes").status_code == 401
            assert admin.client.get("/api/health").status_code == 200
            admin.ask("GET", "/api/routes")

    def test_nothing_it_answers_runs_or_stays_in_a_browser(self, admin: Admin) -> None:
        for path in ("/", "/api/config"):
            fields = admin.client.get(path).headers
            assert "default-src 'none'" in fields["content-security-policy"]
            assert "unsafe" not in fields["content-security-policy"]
            assert fields["x-content-type-options"] == "nosniff"
            assert fields["x-frame-options"] == "DENY"


class TestWhatItTells:
    def test_that_it_lives_and_is_ready(self, admin: Admin) -> None:
        assert admin.get("/api/health") == {"status": "ok"}
        assert admin.get("/api/ready")["ready"] is True

    def test_settings_without_secrets(self, admin: Admin, place: Path) -> None:
        found = admin.get("/api/config")
        assert found["file"] == str(place / "buffr.yaml")
        assert "access.key" in found["masked"]
        assert "my-secret-key" not in json.dumps(found)

    def test_its_routes(self, admin: Admin) -> None:
        routes = {one["id"]: one for one in admin.get("/api/routes")["items"]}
        assert [one["kind"] for one in routes.values()] == ["reverse", "gateway"]
        assert routes["gateway-one"]["mode"] == "cache"
        assert set(routes["gateway-one"]["modes"]) > {"replay", "cache"}

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/api/nothing", 404),
            ("GET", "/api//health", 404),
            ("POST", "/api/health", 405),
            ("GET", "/api/health?x=1", 400),
            ("GET", "/static/../server.py", 404),
            ("GET", "/static/%2e%2e/server.py", 404),
        ],
    )
    def test_what_it_does_not_know(self, admin: Admin, method: str, path: str, status: int) -> None:
        with socket.create_connection(("127.0.0.1", httpx.URL(admin.url).port or 0)) as client:
            client.sendall(f"{method} {path} HTTP/1.0\r\n\r\n".encode())
            answer = b"".join(iter(lambda: client.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 %d " % status)
