"""The gateway: many upstreams on one port, by the first segment of the path."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import requests
import yaml
from attrs import frozen
from raw_http import Answer, ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

KEY = "test-key_0123456789abcdefghijklmnopqrstuvwx"


def script(received: Received) -> bytes:
    """Says what it was asked; some paths say where to go on."""
    path = received.target.partition(b"?")[0]
    match path.removeprefix(b"/base"):
        case b"/redirect":
            host = received.header(b"Host") or b""
            where = b"http://" + host + b"/base/landed"
            fields = [(b"Location", where), (b"Cache-Control", b"max-age=60")]
            return answer(b"", b"302 Found", fields)
        case b"/login":
            return answer(b"in", headers=[(b"Set-Cookie", b"s=1; Path=/base")])
        case b"/status/404":
            return answer(b"not there", b"404 Not Found", [(b"X-Why", b"gone")])
    seen = {
        "target": received.target.decode("latin-1"),
        "headers": [[name.decode(), value.decode()] for name, value in received.headers],
        "body": received.body.decode("latin-1"),
    }
    return answer(json.dumps(seen).encode(), headers=[(b"Content-Type", b"application/json")])


@frozen
class Running:
    """A gateway with two names for one upstream, ``base`` with a base path, and ``root``."""

    process: BuffrProcess
    upstream: FakeUpstream

    @property
    def url(self) -> str:
        return self.process.url

    def ask(self, target: bytes, *headers: tuple[bytes, bytes], method: bytes = b"GET") -> Answer:
        return ask(self.process.ports[0], request(target, method=method, headers=headers))


@contextmanager
def running(
    directory: Path, mode: str = "passthrough", row: dict[str, Any] | None = None, **gateway: Any
) -> Iterator[Running]:
    with FakeUpstream(script) as upstream:
        rows = {
            "base": {"target": f"{upstream.url}/base", "mode": mode, **(row or {})},
            "root": {"target": upstream.url, "mode": mode, **(row or {})},
        }
        settings = directory / "buffr.yaml"
        text = yaml.safe_dump({"gateway": {"port": 0, "routes": rows, **gateway}})
        settings.write_text(text, "utf-8")
        with BuffrProcess.run("serve", "--config", str(settings), cwd=directory) as process:
            yield Running(process, upstream)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("open")) as made:
        yield made


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("keyed"), access={"key": KEY}) as made:
        yield made


class TestNames:
    @pytest.mark.parametrize(
        ("outside", "inside"),
        [
            (b"/base/a/b?c=d", b"/base/a/b?c=d"),
            (b"/base/a%2Fb//c;d/../e?", b"/base/a%2Fb//c;d/../e?"),
            (b"/base", b"/base"),
            (b"/base?q", b"/base?q"),
            (b"/base/", b"/base/"),
            (b"/root", b"/"),
            (b"/root?a=1&a=2", b"/?a=1&a=2"),
            (b"/root//x", b"//x"),
            (b"http://some.host/root/x", b"/x"),
        ],
    )
    def test_path_and_query_reach_the_upstream_unchanged(
        self, gateway: Running, outside: bytes, inside: bytes
    ) -> None:
        assert gateway.ask(outside).status == 200
        assert gateway.upstream.received[-1].target == inside

    @pytest.mark.parametrize(
        ("outside", "inside"),
        [
            (b"http://ROOT/x?y", b"/x?y"),
            (b"http://root:80/base/x", b"/base/x"),
            (b"http://base/x", b"/base/x"),
            (b"http://base", b"/base/"),
            (b"http://base:81/root/x", b"/x"),
            (b"http://UPSTREAM/x", b"/x"),
            (b"http://UPSTREAM/root/x", b"/root/x"),
            (b"http://UPSTREAM/base/x", b"/base/x"),
            (b"http://UPSTREAM/basement", b"/basement"),
        ],
    )
    def test_an_absolute_url_goes_by_its_host(
        self, gateway: Running, outside: bytes, inside: bytes
    ) -> None:
        """A route's name, else a target's host, else the first segment as ever."""
        upstream = f"127.0.0.1:{gateway.upstream.port}".encode()
        found = gateway.ask(outside.replace(b"UPSTREAM", upstream))
        assert found.status == 200
        assert gateway.upstream.received[-1].target == inside

    def test_a_client_that_takes_it_for_its_proxy_stays_there(self, gateway: Running) -> None:
        proxies = {"http": gateway.url}
        found = requests.get("http://base/redirect", proxies=proxies, timeout=120)
        assert [one.headers["Location"] for one in found.history] == ["http://base/landed"]
        assert (found.url, found.json()["target"]) == ("http://base/landed", "/base/landed")
        whole = f"http://127.0.0.1:{gateway.upstream.port}/base/redirect"
        found = requests.get(whole, proxies=proxies, timeout=120)
        assert found.url == whole.replace("redirect", "landed")
        assert gateway.upstream.received[-1].target == b"/base/landed"

    @pytest.mark.parametrize(
        "target", [b"/", b"/nobody/x", b"/bas/x", b"/BASE/x", b"//base/x", b"/%62ase/x", b"/?base"]
    )
    def test_an_unknown_name_is_404_that_lists_none(self, gateway: Running, target: bytes) -> None:
        """It names the path, without its query."""
        before = len(gateway.upstream.received)
        found = gateway.ask(target)
        assert found.status == 404
        assert b"root" not in found.body
        assert b"buffr: " + target.partition(b"?")[0] + b": " in found.body
        assert b"?base" not in found.body
        assert len(gateway.upstream.received) == before

    @pytest.mark.parametrize(
        ("target", "meant"), [(b"/bse/x", b"/base"), (b"/BASE", None), (b"/" + b"b" * 5000, None)]
    )
    def test_a_name_that_is_nearly_one_is_said(
        self, gateway: Running, target: bytes, meant: bytes | None
    ) -> None:
        found = gateway.ask(target)
        assert found.status == 404
        assert (b"did you mean" in found.body) is (meant is not None)
        assert len(found.body) < 500
        if meant is not None:
            assert b"did you mean " + meant + b"?" in found.body

    def test_what_may_be_a_key_is_not_said(self, gateway: Running) -> None:
        """Clients may send one in the path where none is asked for."""
        key = b"q3Zt8wYb1KfXn5Rv7LdMp2Hs"
        found = gateway.ask(b"/" + key + b"/base/x")
        assert found.status == 404
        assert key not in found.body
        assert key.decode() not in gateway.process.log()

    def test_a_path_stays_below_its_target(self, gateway: Running) -> None:
        """What lies beside the target's path at the upstream is not the route's."""
        before = len(gateway.upstream.received)
        assert gateway.ask(b"/base/a/%2e%2e/../secret").status == 400
        assert len(gateway.upstream.received) == before
        assert gateway.ask(b"/root/../x").status == 200
        assert gateway.upstream.received[-1].target == b"/../x"

    def test_all_methods_bodies_and_statuses_pass(self, gateway: Running) -> None:
        """Seed defects 3 and 8: 501 for methods, bodies lost, 4xx made 502."""
        for method in ("PUT", "PATCH", "DELETE", "OPTIONS", "POST"):
            found = requests.request(method, f"{gateway.url}/root/x", data=b"body", timeout=120)
            assert (found.status_code, found.json()["body"]) == (200, "body")
        found = requests.get(f"{gateway.url}/base/status/404", timeout=120)
        assert (found.status_code, found.text) == (404, "not there")
        assert found.headers["X-Why"] == "gone"

    @pytest.mark.parametrize(
        ("name", "outside", "inside"),
        [
            ("base", "{gateway}/base/b%20c", "{upstream}/base/b%20c"),
            ("root", "{gateway}/root/b", "{upstream}/b"),
            ("root", "{gateway}/root", "{upstream}/"),
            ("root", "/root/b", "/b"),
            ("root", "http://elsewhere.test/root/b", "http://elsewhere.test/root/b"),
        ],
    )
    def test_a_destination_is_mapped_like_the_target(
        self, gateway: Running, name: str, outside: str, inside: str
    ) -> None:
        """WebDAV's COPY and MOVE; the resources in ``If`` too (RFC 4918 10.3, 10.4)."""
        mine, theirs = "http://client.test", gateway.upstream.url
        sent = outside.format(gateway=mine)
        fields = {"Destination": sent, "If": f"<{sent}> (<urn:uuid:1>)"}
        headers = [(key.encode(), value.encode()) for key, value in fields.items()]
        found = gateway.ask(f"/{name}/a".encode(), *headers, method=b"MOVE")
        seen = dict(json.loads(found.body)["headers"])
        arrived = inside.format(upstream=theirs)
        assert (seen["Destination"], seen["If"]) == (arrived, f"<{arrived}> (<urn:uuid:1>)")

    @pytest.mark.parametrize("host", [b"base", b"UPSTREAM"])
    def test_a_destination_beside_an_absolute_url(self, gateway: Running, host: bytes) -> None:
        """A client that takes the gateway for its proxy names the hosts that it knows."""
        upstream = f"127.0.0.1:{gateway.upstream.port}".encode()
        named = host.replace(b"UPSTREAM", upstream)
        path = b"" if host == b"base" else b"/base"
        raw = b"MOVE http://%b%b/a HTTP/1.1\r\nHost: %b\r\nDestination: http://%b%b/b\r\n\r\n"
        found = ask(gateway.process.ports[0], raw % (named, path, named, named, path))
        seen = json.loads(found.body)
        assert seen["target"] == "/base/a"
        assert dict(seen["headers"])["Destination"] == f"{gateway.upstream.url}/base/b"

    @pytest.mark.parametrize(
        "path", ["/base/b", "/nobody/b", "/", "", "/rootless/b", "/base/../root/b"]
    )
    def test_a_destination_of_another_route_is_refused(self, gateway: Running, path: str) -> None:
        """At the route's own upstream the path would name something else."""
        before = len(gateway.upstream.received)
        destination = (b"Destination", b"http://client.test" + path.encode())
        found = gateway.ask(b"/root/a", destination, method=b"COPY")
        assert (found.status, b"Destination" in found.body) == (400, True)
        assert len(gateway.upstream.received) == before

    def test_a_destination_stays_below_its_target(self, gateway: Running) -> None:
        destination = (b"Destination", b"http://client.test/base/%2e%2e/secret")
        assert gateway.ask(b"/base/a", destination, method=b"COPY").status == 400

    def test_the_upstream_gets_its_own_host(self, gateway: Running) -> None:
        headers = dict(requests.get(f"{gateway.url}/root/x", timeout=120).json()["headers"])
        assert headers["Host"] == f"127.0.0.1:{gateway.upstream.port}"


class TestClientsStay:
    def test_requests_follows_redirects_and_sends_cookies_back(self, gateway: Running) -> None:
        with requests.Session() as session:
            landed = session.get(f"{gateway.url}/base/redirect", timeout=120)
            assert landed.url == f"{gateway.url}/base/landed"
            assert landed.json()["target"] == "/base/landed"
            assert session.get(f"{gateway.url}/base/login", timeout=120).text == "in"
            seen = session.get(f"{gateway.url}/base/x", timeout=120).json()
            assert ["Cookie", "s=1"] in seen["headers"]
            seen = session.get(f"{gateway.url}/root/x", timeout=120).json()
            assert "Cookie" not in dict(seen["headers"])

    def test_httpx_and_curl_follow_redirects(self, gateway: Running) -> None:
        with httpx.Client(follow_redirects=True) as client:
            assert client.get(f"{gateway.url}/base/redirect").json()["target"] == "/base/landed"
        command = ["curl", "-sSL", f"{gateway.url}/base/redirect"]
        said = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
        assert json.loads(said)["target"] == "/base/landed"

    def test_a_key_in_path_or_query_goes_along(self, keyed: Running) -> None:
        for path in (f"/{KEY}/base/redirect", f"/base/{KEY}/redirect", f"/base/redirect?key={KEY}"):
            landed = requests.get(f"{keyed.url}{path}", timeout=120)
            assert landed.json()["target"] == "/base/landed"

    def test_a_key_in_an_absolute_url_goes_along(self, keyed: Running) -> None:
        for path in (f"/{KEY}/redirect", f"/redirect?key={KEY}"):
            url, proxies = f"http://base{path}", {"http": keyed.url}
            landed = requests.get(url, proxies=proxies, timeout=120)
            assert landed.url == url.replace("redirect", "landed")
            assert landed.json()["target"] == "/base/landed"
        assert requests.get("http://base/x", proxies=proxies, timeout=120).status_code == 401


class TestKey:
    @pytest.mark.parametrize(
        ("path", "headers"),
        [
            ("/base/x", {"X-API-Buddy-Key": KEY}),
            ("/base/x", {"X-Buffr-Key": KEY}),
            ("/base/x", {"Authorization": f"Bearer {KEY}"}),
            (f"/base/x?key={KEY}", {}),
            (f"/{KEY}/base/x", {}),
            (f"/base/{KEY}/x", {}),
        ],
    )
    def test_every_place_admits_and_the_upstream_never_sees_it(
        self, keyed: Running, path: str, headers: dict[str, str]
    ) -> None:
        """Seed defect 5: forwarded, logged, ``?key=`` raised, the key in the path gave 404."""
        found = requests.get(f"{keyed.url}{path}", headers=headers, timeout=120)
        assert found.json()["target"] == "/base/x"
        assert KEY.encode() not in keyed.upstream.received[-1].raw

    def test_upstream_credentials_pass_beside_it(self, keyed: Running) -> None:
        headers = {"X-Buffr-Key": KEY, "Authorization": "Bearer theirs"}
        found = requests.get(f"{keyed.url}/base/x?key=AIzaTheirs", headers=headers, timeout=120)
        assert found.json()["target"] == "/base/x?key=AIzaTheirs"
        assert ["Authorization", "Bearer theirs"] in found.json()["headers"]

    @pytest.mark.parametrize("path", ["/base/x", "/nobody/x", "/", "/base/x?key=wrong", "/w/base"])
    def test_without_it_nobody_learns_anything(self, keyed: Running, path: str) -> None:
        """An unknown name is 401 as well."""
        before = len(keyed.upstream.received)
        found = requests.get(f"{keyed.url}{path}", timeout=120)
        assert found.status_code == 401
        assert found.headers["WWW-Authenticate"] == 'Bearer realm="buffr"'
        assert len(keyed.upstream.received) == before

    def test_it_is_never_logged_nor_recorded(self, tmp_path: Path) -> None:
        with running(tmp_path, "auto", access={"key": KEY}) as made:
            for target in (b"/%b/base/x", b"/base/%b/x", b"/base/x?key=%b", b"/%b/nobody/x"):
                made.ask(target % KEY.encode())
            made.ask(b"/base/x", (b"Authorization", b"Bearer " + KEY.encode()))
            made.ask(b"/base/x?key=" + KEY[:-1].encode())
            made.process.stop()
            assert len(made.upstream.received) == 1
            assert KEY[:-1] not in made.process.log()
            recorded = (tmp_path / "base.json").read_text("utf-8")
            assert KEY not in recorded
            assert len(json.loads(recorded)["interactions"]) == 1

    def test_one_is_made_where_it_is_asked_for(self, tmp_path: Path) -> None:
        with running(tmp_path, access={"required": True}) as made:
            key = made.process.wait_for("access key of this run is ([A-Za-z0-9_-]{43});")[1]
            assert made.ask(b"/base/x").status == 401
            assert made.ask(b"/base/x", (b"X-Buffr-Key", key.encode())).status == 200
            assert made.process.log().count(key) == 1


class TestModes:
    def test_recorded_and_replayed_without_a_network(self, tmp_path: Path) -> None:
        with running(tmp_path, "record") as made:
            first = made.ask(b"/base/x?a=1").body
            redirect = made.ask(b"/base/redirect").header(b"Location")
        rows = yaml.safe_load((tmp_path / "buffr.yaml").read_text("utf-8"))
        for row in rows["gateway"]["routes"].values():
            row["mode"] = "replay"
        (tmp_path / "buffr.yaml").write_text(yaml.safe_dump(rows), "utf-8")
        config = str(tmp_path / "buffr.yaml")
        with BuffrProcess.run("serve", "--config", config, cwd=tmp_path) as process:
            port = process.ports[0]
            assert ask(port, request(b"/base/x?a=1")).body == first
            assert ask(port, request(b"/base/redirect")).header(b"Location") == redirect
            assert redirect == b"/base/landed"
            assert ask(port, request(b"/base/x?a=2")).status == 599
            assert ask(port, request(b"/root/x?a=1")).status == 599

    def test_cached_by_default_each_name_apart(self, tmp_path: Path) -> None:
        """Hits ask nobody, and wait for no limit; redirects lead back from the cache, too."""
        row = {"ttl": "1h", "limits": {"per_hour": 2, "max_delay": 0}}
        with running(tmp_path, "cache", row=row, access={"key": KEY}) as made:
            for target in (b"/base/redirect?key=%b", b"/%b/base/redirect", b"/base/%b/redirect"):
                assert made.ask(target % KEY.encode()).status == 302
            key = (b"X-Buffr-Key", KEY.encode())
            found = made.ask(b"/base/redirect", key)
            assert found.header(b"Location") == b"/base/landed"
            assert b"hit" in (found.header(b"Cache-Status") or b"")
            assert made.ask(b"/base/landed", key).status == 200
            assert made.ask(b"/root/base/landed", key).status == 200
            assert len(made.upstream.received) == 3
            made.process.stop()
            stored = b"".join(path.read_bytes() for path in tmp_path.glob("buffr-cache.db*"))
            assert stored
            assert KEY.encode() not in stored

    def test_each_name_has_its_limits(self, tmp_path: Path) -> None:
        with running(tmp_path, row={"limits": {"per_hour": 1, "max_delay": 0}}) as made:
            assert [made.ask(b"/base/x").status for _ in range(2)] == [200, 429]
            assert [made.ask(b"/root/x").status for _ in range(2)] == [200, 429]

    def test_over_tls(self, tmp_path: Path) -> None:
        with running(tmp_path, tls=True) as made:
            url = f"https://localhost:{made.process.ports[0]}/base/x"
            found = requests.get(url, verify=str(tmp_path / "buffr-ca.pem"), timeout=120)
            assert found.json()["target"] == "/base/x"


class TestReversePorts:
    def test_they_ask_for_the_key_too(self, tmp_path: Path) -> None:
        with FakeUpstream(script) as upstream:
            row = {"target": upstream.url, "port": 0, "mode": "passthrough"}
            settings = tmp_path / "buffr.yaml"
            text = yaml.safe_dump({"access": {"key": KEY}, "reverse": [row, row | {"access": {}}]})
            settings.write_text(text, "utf-8")
            arguments = ("serve", "--config", str(settings))
            with BuffrProcess.run(*arguments, cwd=tmp_path, listeners=2) as process:
                closed, opened = process.ports
                assert ask(closed, request(b"/x")).status == 401
                assert ask(opened, request(b"/x")).status == 200
                with_key = request(b"/x?key=" + KEY.encode() + b"&a")
                assert ask(closed, with_key).status == 200
                assert upstream.received[-1].target == b"/x?a"
