"""Scheme, host and port tell origins apart, also where they share a cassette."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from forward_bench import Proxy, forward_proxy, named, secure_origin

from buffr.testing import FakeUpstream, Received, Script, answer

GO_CASSETTE = Path(__file__).parent.parent / "data" / "go-forward.json"
GO_EXCHANGES = [one["http"] for one in json.loads(GO_CASSETTE.read_bytes())["interactions"]]


def saying(body: bytes) -> Script:
    """An origin that answers always the same."""
    return lambda _: answer(body)


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Mode auto, a cassette a host."""
    with forward_proxy(tmp_path_factory.mktemp("origins")) as running:
        yield running


class TestPorts:
    """Seed defect 14: ``host:9443`` was answered by ``host:8443``."""

    @pytest.mark.parametrize(
        ("origin", "host"), [(secure_origin, "localhost"), (FakeUpstream, "127.0.0.1")]
    )
    def test_two_ports_of_one_host_are_two_origins(
        self, proxy: Proxy, origin: Callable[[Script], FakeUpstream], host: str
    ) -> None:
        """Live, when it is asked again, and in the one cassette of that host."""
        with origin(saying(b"one")) as one, origin(saying(b"two")) as two:
            for _ in range(2):
                assert proxy.get(f"{one.url}/ports").body == b"one"
                assert proxy.get(f"{two.url}/ports").body == b"two"
            assert (len(one.received), len(two.received)) == (1, 1)
        kept = {
            item["request"]["port"]: item["response"]["body"]
            for item in proxy.recorded(f"{host}.json")
            if item["request"]["path"] == "/ports"
        }
        assert kept == {one.port: "one", two.port: "two"}

    def test_the_default_port_and_a_named_443_are_one_origin(self, tmp_path: Path) -> None:
        """RFC 9110 4.2.3. Nobody is asked: a recording is written by hand."""
        recorded = _written("GET", "/x", "kept", scheme="https", host="shop.test", port=443)
        (tmp_path / "shop.test.json").write_text(json.dumps(_cassette(recorded)))
        with forward_proxy(tmp_path, {"mode": "replay"}) as proxy:
            for url in ("https://shop.test/x", "https://SHOP.test:443/x"):
                assert proxy.get(url).body == b"kept"


class TestSchemes:
    def test_http_and_https_of_one_host_are_two_origins(self, proxy: Proxy) -> None:
        with secure_origin(saying(b"behind TLS")) as secure, FakeUpstream(saying(b"open")) as plain:
            for _ in range(2):
                assert proxy.get(f"https://localhost:{secure.port}/schemes").body == b"behind TLS"
                assert proxy.get(f"http://localhost:{plain.port}/schemes").body == b"open"
            assert (len(secure.received), len(plain.received)) == (1, 1)

    def test_one_port_is_not_answered_from_the_other_scheme(self, proxy: Proxy) -> None:
        """What was recorded behind TLS is not given to a client that asks without."""
        with secure_origin(saying(b"behind TLS")) as origin:
            assert proxy.get(f"{origin.url}/one-port").body == b"behind TLS"
            assert proxy.get(f"http://localhost:{origin.port}/one-port").status == 502

    def test_a_proxy_may_be_asked_for_https_without_a_tunnel(self, proxy: Proxy) -> None:
        """Some clients send ``GET https://...`` to the proxy itself; buffr speaks TLS for them."""
        with secure_origin(saying(b"behind TLS")) as origin, proxy.plain() as client:
            for _ in range(2):
                client.send(b"GET %b/absolute HTTP/1.1\r\nHost: x\r\n\r\n" % origin.url.encode())
                assert client.answer().body == b"behind TLS"
            assert proxy.get(f"{origin.url}/absolute").body == b"behind TLS"
            assert len(origin.received) == 1


class TestSharedCassettes:
    """Seed defect 4: hosts that shared a cassette each rewrote it; the last writer won."""

    def test_hosts_that_share_a_cassette_lose_nothing(self, tmp_path: Path) -> None:
        """Four origins, two of them one host, record at once; each is replayed as itself."""
        rows = [
            {"host": "a.test", "resolve": "127.0.0.1", "cassette": "shared.json"},
            {"host": "*.b.test", "resolve": "127.0.0.1", "cassette": "./x/../shared.json"},
            {"host": "*", "cassette": "shared.json"},
        ]
        for row in rows:
            row["ca_file"] = "origins.pem"
        names = ("a.test", "www.b.test", "localhost")
        with (
            secure_origin(named, *names) as secure,
            FakeUpstream(named) as plain,
            forward_proxy(tmp_path, {"hosts": rows}) as proxy,
        ):
            urls = [
                f"https://a.test:{secure.port}",
                f"https://www.b.test:{secure.port}",
                f"https://localhost:{secure.port}",
                f"http://a.test:{plain.port}",
            ]
            asked = [f"{url}/{number}" for number in range(10) for url in urls]
            with ThreadPoolExecutor(8) as threads:
                live = list(threads.map(proxy.get, asked))
        assert proxy.files() == ["shared.json"]
        assert len(proxy.recorded("shared.json")) == len(asked)
        with forward_proxy(tmp_path, {"mode": "replay", "hosts": rows}) as proxy:
            for url, seen in zip(asked, live, strict=True):
                authority, _, path = url.partition("://")[2].partition("/")
                assert seen.body == f"GET {authority}/{path}".encode()
                assert proxy.get(url) == seen
            assert proxy.get(f"https://a.test:{plain.port}/0").status == 599

    def test_two_processes_lose_nothing(self, tmp_path: Path) -> None:
        """Seed defect 4: of 20 recorded by two, 10 were kept."""
        with (
            secure_origin() as origin,
            forward_proxy(tmp_path) as one,
            forward_proxy(tmp_path) as two,
        ):
            asked = [f"{origin.url}/{number}" for number in range(20)]
            with ThreadPoolExecutor(4) as threads:
                answers = threads.map(Proxy.get, [one, two] * 10, asked)
                assert all(found.status == 200 for found in answers)
            paths = [item["request"]["path"] for item in one.recorded("localhost.json")]
        assert sorted(paths) == sorted(f"/{number}" for number in range(20))


def _written(method: str, path: str, body: str, **where: Any) -> dict[str, Any]:
    request = {"method": method, "path": path, "headers": {}, **where}
    return {"request": request, "response": {"status": 200, "headers": {}, "body": body}}


def _cassette(*exchanges: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "interactions": [{"type": "http", "http": one} for one in exchanges]}


@pytest.fixture(scope="module")
def replaying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """Mode replay, with the Go program's cassette and one written by hand."""
    directory = tmp_path_factory.mktemp("go")
    shutil.copy(GO_CASSETTE, directory / "127.0.0.1.json")
    exact = _written("GET", "/x", "of 8443", scheme="https", host="h.test", port=8443)
    absent = _written("GET", "/x", "of any", host="h.test")
    scheme = _written("GET", "/y", "of https", scheme="https", host="h.test")
    (directory / "h.test.json").write_text(json.dumps(_cassette(absent, exact, scheme)))
    with forward_proxy(directory, {"mode": "replay"}) as running:
        yield running
    assert (directory / "127.0.0.1.json").read_bytes() == GO_CASSETTE.read_bytes()


class TestAbsentParts:
    """The Go program wrote neither scheme nor port: what is absent matches any."""

    @pytest.mark.parametrize("number", range(len(GO_EXCHANGES)))
    @pytest.mark.parametrize("origin", ["http://127.0.0.1:8080", "https://127.0.0.1:9443"])
    def test_a_cassette_of_the_go_program_replays(
        self, replaying: Proxy, number: int, origin: str
    ) -> None:
        exchange = GO_EXCHANGES[number]
        query = exchange["request"].get("query")
        target = exchange["request"]["path"] + (f"?{query}" if query else "")
        got = replaying.get(origin + target)
        assert got.status == exchange["response"]["status"]
        assert got.body == exchange["response"]["body"].encode()
        expected = [
            (name.encode(), value.encode())
            for name, values in exchange["response"]["headers"].items()
            for value in values
        ]
        assert list(got.headers) == expected

    @pytest.mark.parametrize(
        ("url", "body"),
        [
            ("https://h.test:8443/x", b"of 8443"),
            ("https://h.test:9443/x", b"of any"),
            ("http://h.test:8443/x", b"of any"),
            ("http://h.test/x", b"of any"),
            ("https://h.test:1/y", b"of https"),
        ],
    )
    def test_the_exact_one_comes_before_the_absent_one(
        self, replaying: Proxy, url: str, body: bytes
    ) -> None:
        """Though it was recorded later."""
        assert replaying.get(url).body == body

    def test_a_part_that_is_there_matches_only_itself(self, replaying: Proxy) -> None:
        assert replaying.get("http://h.test:1/y").status == 599
        assert replaying.get("https://other.test/x").status == 599


class TestUnlistedHosts:
    def test_a_host_without_a_row_gets_a_cassette_of_its_own(self, proxy: Proxy) -> None:
        with FakeUpstream(named) as origin:
            assert proxy.get(f"{origin.url}/unlisted").status == 200
        assert "127.0.0.1.json" in proxy.files()

    def test_with_a_row_for_all_hosts_they_go_to_misc(self, tmp_path: Path) -> None:
        """As the Go program named it."""
        with (
            FakeUpstream(named) as origin,
            forward_proxy(tmp_path, {"hosts": [{"host": "*"}]}) as proxy,
        ):
            assert proxy.get(f"{origin.url}/x").status == 200
        assert proxy.files() == ["misc.json"]

    def test_modes_are_per_host(self, tmp_path: Path) -> None:
        """One host replays, one only passes, all others learn."""
        counted: list[Received] = []

        def script(received: Received) -> bytes:
            counted.append(received)
            return answer(b"%d" % len(counted))

        rows = [
            {"host": "kept.test", "mode": "replay", "resolve": "127.0.0.1"},
            {"host": "*.free.test", "mode": "passthrough", "resolve": "127.0.0.1"},
        ]
        with (
            FakeUpstream(script) as origin,
            forward_proxy(tmp_path, {"hosts": rows}) as proxy,
        ):
            port = origin.port
            assert proxy.get(f"http://kept.test:{port}/").status == 599
            bodies = [proxy.get(f"http://a.free.test:{port}/").body for _ in range(2)]
            assert bodies == [b"1", b"2"]
            bodies = [proxy.get(f"http://127.0.0.1:{port}/").body for _ in range(2)]
            assert bodies == [b"3", b"3"]
        assert proxy.files() == ["127.0.0.1.json"]
