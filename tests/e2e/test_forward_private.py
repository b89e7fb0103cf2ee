"""Destinations that are nobody's business from outside: private addresses, and buffr itself."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import frozen
from bench import eventually
from forward_bench import Proxy, forward_proxy, named, secure_origin
from ports import free_port
from raw_http import ask, request

from buffr.testing import FakeUpstream

METADATA = [
    "169.254.169.254",
    "100.100.100.200",
    "[fd00:ec2::254]",
    "[::ffff:169.254.169.254]",
    "[64:ff9b::a9fe:a9fe]",
]
PRIVATE = ["10.0.0.1", "192.168.1.1", "172.31.0.1", "127.0.0.1", "[::1]", "0.0.0.0", "[fe80::1]"]


@frozen
class Denying:
    """A proxy on all addresses, and origins on loopback, where it should not go."""

    proxy: Proxy
    secure: FakeUpstream
    plain: FakeUpstream

    @property
    def contacts(self) -> int:
        return self.secure.connections + self.plain.connections


@pytest.fixture(scope="module")
def denying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Denying]:
    """By default beyond loopback. ``NO_PROXY`` often names metadata addresses, and exempts none."""
    with ExitStack() as stack:
        secure = stack.enter_context(secure_origin())
        plain = stack.enter_context(FakeUpstream(named))
        proxy = stack.enter_context(
            forward_proxy(
                tmp_path_factory.mktemp("denying"),
                {"hosts": [{"host": "*"}]},
                env={"NO_PROXY": "169.254.0.0/16,localhost:1"},
                listen="0.0.0.0",
                access={"allow": "127.0.0.1"},
            )
        )
        yield Denying(proxy, secure, plain)


class TestBeyondLoopback:
    @pytest.mark.parametrize("host", METADATA + PRIVATE)
    def test_a_private_address_is_403_at_once(self, denying: Denying, host: str) -> None:
        """No tunnel is opened, and no connection made."""
        before = denying.contacts
        for port in (80, 443, denying.plain.port):
            found = denying.proxy.refused(f"{host}:{port}".encode())
            assert found.status == 403
            assert b"private" in found.body
            assert denying.proxy.get(f"http://{host}:{port}/latest/meta-data/").status == 403
        assert denying.contacts == before

    @pytest.mark.parametrize(
        "host", ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::1%lo]"]
    )
    def test_no_spelling_of_an_address_slips_through(self, denying: Denying, host: str) -> None:
        """Resolvers read more spellings than RFC 3986 has."""
        before = denying.contacts
        target = f"http://{host}:{denying.plain.port}/".encode()
        assert ask(denying.proxy.port, request(target)).status == 400
        authority = f"{host}:{denying.plain.port}".encode()
        assert denying.proxy.refused(authority).status == 400
        assert denying.contacts == before

    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_a_name_that_leads_to_a_private_address_is_403(
        self, denying: Denying, scheme: str
    ) -> None:
        """After the look-up. No connection is made, so that nobody learns which ports are open."""
        before = denying.contacts
        closed = free_port()
        opened = denying.plain.port if scheme == "http" else denying.secure.port
        found = [
            denying.proxy.get(f"{scheme}://localhost:{port}/where") for port in (opened, closed)
        ]
        assert [one.status for one in found] == [403, 403]
        assert found[0] == found[1]
        assert denying.contacts == before
        assert not denying.proxy.recorded("misc.json")
        assert "Traceback" not in denying.proxy.process.log()

    def test_a_bypass_by_no_proxy_alone_is_403_too(self, denying: Denying) -> None:
        """The entry ``localhost:1`` bypasses it; nothing in buffr's own settings names it."""
        found = denying.proxy.refused(b"localhost:1")
        assert found.status == 403


class TestExemptions:
    def test_what_the_settings_name_is_served(self, tmp_path: Path) -> None:
        """Rows of ``hosts``, entries of ``bypass`` and reverse targets, on loopback as beyond."""
        with (
            FakeUpstream(named) as origin,
            FakeUpstream(named) as bypassed,
            FakeUpstream(named) as target,
            forward_proxy(
                tmp_path,
                {
                    "deny_private": True,
                    "hosts": [{"host": "localhost"}],
                    "bypass": [f"127.0.0.1:{bypassed.port}"],
                },
                reverse=[{"target": target.url, "port": 0}],
                listeners=2,
            ) as both,
        ):
            proxy = Proxy(both.process, both.directory, listener=1)
            assert proxy.get(f"http://localhost:{origin.port}/").status == 200
            assert proxy.get(bypassed.url).status == 200
            assert proxy.get(target.url).status == 200
            assert proxy.get(origin.url).status == 403
            assert (len(origin.received), len(target.received)) == (1, 1)

    def test_on_loopback_nothing_is_denied(self, tmp_path: Path) -> None:
        """Whoever uses it may go there anyway."""
        with FakeUpstream(named) as origin, forward_proxy(tmp_path) as proxy:
            assert proxy.get(origin.url).status == 200

    def test_it_can_be_turned_off(self, tmp_path: Path) -> None:
        access = {"allow": "127.0.0.1"}
        with (
            FakeUpstream(named) as origin,
            forward_proxy(
                tmp_path, {"deny_private": False}, listen="0.0.0.0", access=access
            ) as proxy,
        ):
            assert proxy.get(origin.url).status == 200

    def test_a_replay_needs_no_exemption(self, tmp_path: Path) -> None:
        """Nothing is dialled for a recording of a name; where it would lead does not matter."""
        with FakeUpstream(named) as origin, forward_proxy(tmp_path) as proxy:
            url = f"http://localhost:{origin.port}/x"
            assert proxy.get(url).status == 200
        with forward_proxy(tmp_path, {"deny_private": True}) as proxy:
            assert proxy.get(url).status == 200


class TestItself:
    """Seed defect 18: a request to its own port was proxied to itself."""

    @pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0"])
    def test_its_own_port_is_no_destination(self, tmp_path: Path, listen: str) -> None:
        """By any name, in each way to ask, looked into or not; nothing goes round."""
        forward = {"deny_private": False, "bypass": ["127.0.0.1"]}
        access = {"allow": "127.0.0.0/8"}
        with forward_proxy(tmp_path, forward, listen=listen, access=access) as proxy:
            for host in ("localhost", "127.0.0.1"):
                found = proxy.get(f"http://{host}:{proxy.port}/loop")
                assert found.status == 400
                assert b"buffr itself" in found.body
            found = proxy.refused(b"127.0.0.1:%d" % proxy.port)
            assert found.status == 400
            found = proxy.get(f"https://localhost:{proxy.port}/loop")
            assert found.status == 400
            with proxy.opened(b"localhost:%d" % proxy.port) as client:
                client.send(request(b"/loop"))
                assert client.answer().status == 400
            eventually(lambda: len(proxy.lines("/loop")) == 4)
        assert not proxy.files()

    def test_its_reverse_ports_are_none_either(self, tmp_path: Path) -> None:
        with (
            FakeUpstream(named) as origin,
            forward_proxy(
                tmp_path, reverse=[{"target": origin.url, "port": 0}], listeners=2
            ) as both,
        ):
            proxy = Proxy(both.process, both.directory, listener=1)
            reverse = both.process.ports[0]
            assert proxy.get(f"http://127.0.0.1:{reverse}/x").status == 400
            assert not origin.received

    def test_a_parent_proxy_that_is_itself_is_not_used(self, tmp_path: Path) -> None:
        """As after ``export HTTPS_PROXY=...`` for its clients, in the shell that starts buffr."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        env = {"HTTP_PROXY": url, "HTTPS_PROXY": url}
        with forward_proxy(tmp_path, {"port": port}, env=env) as proxy:
            for scheme in ("http", "https"):
                found = proxy.get(f"{scheme}://elsewhere.invalid/loop")
                assert found.status == 502
                assert b"does not resolve" in found.body
            eventually(lambda: len(proxy.lines("/loop")) == 2)
            assert len(proxy.lines("buffr itself", " level=WARN ")) == 2

    def test_a_parent_proxy_that_proves_to_be_itself_is_not_used_either(
        self, tmp_path: Path
    ) -> None:
        """A name of this machine, seen to lead back when it is connected to."""
        name, port = socket.gethostname(), free_port()
        try:
            socket.getaddrinfo(name, port)
        except OSError:
            pytest.skip("this machine's name does not resolve")
        forward = {"port": port, "via": f"http://{name}:{port}", "deny_private": False}
        access = {"allow": "0.0.0.0/0"}
        with forward_proxy(tmp_path, forward, listen="0.0.0.0", access=access) as proxy:
            for scheme in ("http", "https"):
                found = proxy.get(f"{scheme}://elsewhere.invalid/loop")
                assert found.status in (400, 502)
            eventually(lambda: len(proxy.lines("/loop")) == 2)
