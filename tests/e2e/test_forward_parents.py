"""Parent proxies: which requests go through one, what it is told, and what its refusals become."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from forward_bench import (
    basic,
    forward_proxy,
    named,
    origin_tls,
    origins_authority,
    secure_origin,
    wrap,
)
from forward_parents import Parent, running_parent
from raw_http import request

from buffr.testing import FakeUpstream, Received, answer

HOST = "far.test"
"""No resolver knows it; only the parent proxy finds it."""


@pytest.fixture
def far() -> Iterator[FakeUpstream]:
    with secure_origin(named, HOST, "localhost") as running:
        yield running


def proxy_authorization(head: bytes) -> list[bytes]:
    return [
        line.partition(b": ")[2]
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"proxy-authorization:")
    ]


class TestTunnels:
    @pytest.mark.parametrize("user_info", ["", "user:pa%2Fss@"])
    def test_https_goes_through_a_tunnel(
        self, tmp_path: Path, far: FakeUpstream, user_info: str
    ) -> None:
        """With the parent's credentials and not the client's, and TLS to the origin inside."""
        with running_parent() as parent:
            via = f"http://{user_info}{parent.url}"
            with forward_proxy(tmp_path, {"via": via}) as proxy:
                url = f"https://{HOST}:{far.port}"
                with proxy.tunnel(url, [basic("scope", "of-the-client")]) as client:
                    for number in range(3):
                        client.send(request(b"/%d" % number))
                        expected = b"GET far.test:%d/%d" % (far.port, number)
                        assert client.answer().body == expected
        assert len(parent.heads) == 1, "the connection is kept"
        head = parent.heads[0]
        assert head.startswith(b"CONNECT far.test:%d HTTP/1.1\r\n" % far.port)
        assert b"\r\nHost: far.test:%d\r\n" % far.port in head
        given = base64.b64encode(b"user:pa/ss")
        assert proxy_authorization(head) == ([b"Basic " + given] if user_info else [])
        for one in far.received:
            assert not proxy_authorization(one.raw)
        for path in tmp_path.glob("*.json"):
            assert given not in path.read_bytes()
        assert given.decode() not in proxy.process.log()

    def test_bypassed_hosts_go_through_it_too(self, tmp_path: Path, far: FakeUpstream) -> None:
        """Bypassed means not looked into, not that there is another way to them."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        origins_authority().configure_trust(context)
        with (
            running_parent() as parent,
            forward_proxy(tmp_path, {"via": f"http://{parent.url}", "bypass": [HOST]}) as proxy,
        ):
            with proxy.opened(f"{HOST}:{far.port}".encode()) as client:
                wrap(client, context, HOST)
                client.send(request(b"/x"))
                assert client.answer().body.endswith(b"/x")
            assert len(parent.heads) == 1

    def test_the_way_to_the_parent_may_be_tls_itself(
        self, tmp_path: Path, far: FakeUpstream
    ) -> None:
        """TLS to the origin within TLS to the parent; ``ca_file`` counts for both."""
        with running_parent(tls=origin_tls("localhost", "127.0.0.1")) as parent:
            via = f"https://localhost:{parent.port}"
            with forward_proxy(tmp_path, {"via": via}) as proxy:
                for number in range(2):
                    found = proxy.get(f"https://{HOST}:{far.port}/{number}")
                    assert found.status == 200
            assert parent.heads[0].startswith(b"CONNECT ")

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            (
                b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
                b"requires credentials (407)",
            ),
            (b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", b"502 Bad Gateway"),
            (b"HTTP/1.0 403 Forbidden by us\r\n\r\n", b"403 Forbidden by us"),
            (b"SSH-2.0-OpenSSH_9\r\n\r\n", b"the parent proxy does not answer in HTTP/1"),
            (b"HTTP/1.1 200 OK\r\nBad Field: x\r\n\r\n", b"malformed"),
            (
                b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000,
                b"the parent proxy's head is over 65536 bytes",
            ),
            (b"", b"closed the connection"),
            (b"HTTP/1.1 200 O", b"closed the connection"),
        ],
    )
    def test_a_refusal_is_502_with_its_reason(
        self, tmp_path: Path, said: bytes, reason: bytes
    ) -> None:
        """For hosts that are looked into, and for bypassed ones. Nothing is recorded."""
        with (
            running_parent(lambda _: said) as parent,
            forward_proxy(
                tmp_path, {"via": f"http://{parent.url}", "bypass": "passed.test"}
            ) as proxy,
        ):
            inside = proxy.get(f"https://{HOST}/x")
            outside = proxy.refused(b"passed.test:443")
            for found in (inside, outside):
                assert found.status == 502
                assert reason in found.body
                assert (b"put them in its URL" in found.body) is (b"credentials" in reason)
            assert b"(far.test)" in inside.body
            assert b"(passed.test)" in outside.body
            assert found.header(b"proxy-authenticate") is None
            assert not proxy.files()
        assert "Traceback" not in proxy.process.log()
        assert "Unhandled" not in proxy.process.log()

    def test_a_parent_that_says_nothing_is_waited_for_a_bounded_time(self, tmp_path: Path) -> None:
        """``limits.connect_s`` is for the whole way to the origin."""
        silent = FakeUpstream(lambda _: iter([3.0]))
        with (
            silent,
            forward_proxy(
                tmp_path,
                {"via": f"http://127.0.0.1:{silent.port}", "bypass": "passed.test"},
                limits={"connect_s": 0.3},
            ) as proxy,
        ):
            assert b"time-out" in proxy.get(f"https://{HOST}/x").body
            assert b"time-out" in proxy.refused(b"passed.test:443").body

    def test_a_parent_that_is_down_is_502(self, tmp_path: Path) -> None:
        with running_parent() as parent:
            pass
        with forward_proxy(tmp_path, {"via": f"http://{parent.url}"}) as proxy:
            for scheme in ("http", "https"):
                found = proxy.get(f"{scheme}://{HOST}/x")
                assert found.status == 502
                assert b"refused the connection" in found.body


class TestPlainRequests:
    @pytest.mark.parametrize("user_info", ["", "user:pass@"])
    @pytest.mark.parametrize("bypass", [[], [HOST]])
    def test_they_go_in_absolute_form(
        self, tmp_path: Path, user_info: str, bypass: list[str]
    ) -> None:
        def script(received: Received) -> bytes:
            return answer(b"for " + received.target)

        with FakeUpstream(script) as parent:
            via = f"http://{user_info}127.0.0.1:{parent.port}"
            with forward_proxy(tmp_path, {"via": via, "bypass": bypass}) as proxy:
                for url in (f"http://{HOST}/a?b=c", f"http://{HOST}:8080/d%2Fe"):
                    found = proxy.get(url, proxy_headers=[basic("scope", "of-the-client")])
                    assert found.body == b"for " + url.encode()
                with proxy.plain() as client:
                    client.send(request(b"http://far.test", method=b"OPTIONS"))
                    assert client.answer().body == b"for http://far.test/"
            for one in parent.received:
                given = [b"Basic " + base64.b64encode(b"user:pass")] if user_info else []
                assert proxy_authorization(one.raw) == given
                assert one.header(b"host") in (b"far.test", b"far.test:8080")

    def test_its_demand_for_credentials_is_not_the_clients_affair(self, tmp_path: Path) -> None:
        """Who answers it would give them to the wrong proxy (RFC 9110 11.7.1)."""
        said = b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n"
        with (
            FakeUpstream(lambda _: said + b"Content-Length: 0\r\n\r\n") as parent,
            forward_proxy(
                tmp_path, {"via": f"http://127.0.0.1:{parent.port}", "mode": "record"}
            ) as proxy,
        ):
            found = proxy.get(f"http://{HOST}/x")
            assert found.status == 502
            assert b"407" in found.body
            assert found.header(b"proxy-authenticate") is None
            assert not proxy.files()


class TestTheEnvironment:
    @pytest.mark.parametrize("names", [("HTTPS_PROXY", "HTTP_PROXY"), ("all_proxy", "ALL_PROXY")])
    def test_its_variables_name_the_parent(
        self, tmp_path: Path, far: FakeUpstream, names: tuple[str, str]
    ) -> None:
        """Those of buffr's own environment; a value without a scheme is taken for http."""

        def script(head: bytes) -> bytes | None:
            return None if head.startswith(b"CONNECT ") else answer(b"by the parent")

        with running_parent(script) as parent:
            env = {names[0]: parent.url, names[1]: f"http://{parent.url}"}
            with forward_proxy(tmp_path, env=env) as proxy:
                assert proxy.get(f"https://{HOST}:{far.port}/x").body.endswith(b"/x")
                assert proxy.get(f"http://{HOST}/x").body == b"by the parent"

    def test_this_machine_and_no_proxy_are_reached_without_it(
        self, tmp_path: Path, far: FakeUpstream
    ) -> None:
        """So are hosts whose row says ``via: none``."""
        rows = [{"host": HOST, "via": "none", "resolve": "127.0.0.1", "ca_file": "origins.pem"}]
        with (
            running_parent(lambda _: b"HTTP/1.1 500 Not you\r\n\r\n") as parent,
            FakeUpstream(named) as plain,
        ):
            env = {
                "HTTPS_PROXY": f"http://{parent.url}",
                "HTTP_PROXY": f"http://{parent.url}",
                "NO_PROXY": "passed.invalid",
            }
            with forward_proxy(tmp_path, {"hosts": [*rows, {"host": "*"}]}, env=env) as proxy:
                assert proxy.get(f"https://{HOST}:{far.port}/x").body.endswith(b"/x")
                assert proxy.get(f"{plain.url}/x").body.endswith(b"/x")
                found = proxy.refused(b"passed.invalid:443")
                assert b"does not resolve" in found.body
                assert not parent.heads
                assert proxy.get("https://elsewhere.test/x").status == 502
                assert len(parent.heads) == 1

    def test_one_that_cannot_be_used_is_told_without_its_secrets(self, tmp_path: Path) -> None:
        env = {"HTTPS_PROXY": "socks5://user:secret-word@127.0.0.1:1080"}
        with FakeUpstream(named) as plain, forward_proxy(tmp_path, env=env) as proxy:
            assert proxy.get(f"{plain.url}/x").status == 200
        assert proxy.lines("HTTPS_PROXY", " level=WARN ")
        assert "secret-word" not in proxy.process.log()


class TestReplay:
    def test_a_replay_asks_no_parent(self, tmp_path: Path, far: FakeUpstream) -> None:
        url = f"https://{HOST}:{far.port}/x"

        def seen(parent: Parent, mode: str) -> bytes:
            with forward_proxy(tmp_path, {"via": f"http://{parent.url}", "mode": mode}) as proxy:
                return proxy.get(url).body

        with running_parent() as parent:
            live = seen(parent, "auto")
        with running_parent() as parent:
            assert seen(parent, "replay") == live
            assert parent.connections == 0
