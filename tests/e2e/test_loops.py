"""Requests that would come back: to buffr's own ports, and by way of other buffrs."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from bench import eventually, interactions
from forward_bench import NO_PARENTS, forward_proxy, named
from ports import free_port
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, answer

FIELD = b"x-buffr-via"
UPGRADE = [
    (b"Connection", b"Upgrade"),
    (b"Upgrade", b"websocket"),
    (b"Sec-WebSocket-Version", b"13"),
    (b"Sec-WebSocket-Key", b"dGhlIHNhbXBsZSBub25jZQ=="),
]


def own_address() -> str | None:
    """An address of this machine that is no loopback one, if it has any."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        found = str(probe.getsockname()[0])
    return None if found.startswith("127.") else found


@contextmanager
def running(
    directory: Path, settings: Mapping[str, Any], listeners: int = 1
) -> Iterator[BuffrProcess]:
    directory.mkdir(exist_ok=True)
    (directory / "buffr.yaml").write_text(json.dumps(settings))
    with BuffrProcess.run("serve", cwd=directory, env=NO_PARENTS, listeners=listeners) as process:
        yield process
        assert "Traceback" not in process.log()


class TestItsOwnPorts:
    @pytest.mark.parametrize("listen", ["127.0.0.1", "0.0.0.0", "::"])
    def test_are_no_destination_in_any_spelling(self, tmp_path: Path, listen: str) -> None:
        """By CONNECT too, looked into or not; what no connection comes of is refused before."""
        if listen == "::" and not socket.has_dualstack_ipv6():
            pytest.skip("this machine has no IPv6")
        hosts = ["127.0.0.1", "localhost", "localhost.", "LOCALHOST", "0.0.0.0"]
        hosts += ["[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:0.0.0.0]"]
        if listen != "127.0.0.1":
            hosts += ["127.0.0.2", "127.255.255.254", *filter(None, [own_address()])]
        if listen == "::":
            hosts += ["[::1]", "[::]", "[0::0]"]
        numbers = ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1"]
        forward = {"deny_private": False, "bypass": ["127.0.0.2", "0.0.0.0"]}
        access = {"allow": ["0.0.0.0/0", "::/0"]}
        with forward_proxy(tmp_path, forward, listen=listen, access=access) as proxy:
            for host in hosts + numbers:
                where = f"{host}:{proxy.port}".encode()
                found = ask(proxy.port, request(b"http://%b/loop" % where))
                assert (host, found.status) == (host, 400)
                assert host in numbers or b"buffr itself" in found.body
                found, client = proxy.connect(where)
                with client:
                    if found.status == 200:
                        client.send(request(b"/loop"))
                        found = client.answer()
                assert (host, found.status) == (host, 400)
            assert len(proxy.lines('"GET http')) <= 2 * len(hosts)

    def test_are_none_for_a_parent_that_a_name_leads_to(self, tmp_path: Path) -> None:
        """Before it is asked for anything: a bypassed host's CONNECT would go round for ever."""
        port = free_port()
        name = socket.gethostname()
        try:
            socket.getaddrinfo(name, port)
        except OSError:
            pytest.skip("this machine's name does not resolve")
        forward = {
            "port": port,
            "via": f"http://{name}:{port}",
            "bypass": "passed.invalid",
            "deny_private": False,
        }
        access = {"allow": ["0.0.0.0/0"]}
        with forward_proxy(tmp_path, forward, listen="0.0.0.0", access=access) as proxy:
            assert proxy.refused(b"passed.invalid:443").status == 400
            assert proxy.get("https://looked-into.invalid/loop").status == 400
            assert proxy.get("http://plain.invalid/loop").status == 400
            assert len(proxy.lines("passed.invalid", "CONNECT")) == 1


def ring(
    directory: Path, stack: ExitStack, size: int, mode: str, **settings: Any
) -> list[BuffrProcess]:
    """So many buffrs, of which each has the next as its target."""
    ports = [free_port() for _ in range(size)]
    made = []
    for number, port in enumerate(ports):
        target = f"http://127.0.0.1:{ports[(number + 1) % size]}"
        row = {"target": target, "port": port, "mode": mode}
        one = {"reverse": [row], **settings}
        made.append(stack.enter_context(running(directory / str(number), one)))
    return made


class TestRings:
    @pytest.mark.parametrize(
        ("size", "mode"),
        [(2, "passthrough"), (2, "record"), (2, "auto"), (2, "cache"), (4, "auto")],
    )
    def test_are_508(self, tmp_path: Path, size: int, mode: str) -> None:
        """Within a round or two: no call waits for itself, and nobody runs out of anything."""
        with ExitStack() as stack:
            made = ring(tmp_path, stack, size, mode)
            for method in (b"GET", b"POST"):
                found = ask(made[0].ports[0], request(b"/round", method=method))
                assert (found.status, found.header(b"x-should-retry")) == (508, b"false")
                assert b"has come back to this buffr" in found.body
            eventually(lambda: all("status=508" in one.log() for one in made))
            assert all(one.log().count("GET /round") <= 2 for one in made)
        if mode == "auto":
            assert not any(interactions(path) for path in tmp_path.glob("*/*.json"))

    def test_of_websockets_too(self, tmp_path: Path) -> None:
        with ExitStack() as stack:
            made = ring(tmp_path, stack, 2, "auto")
            found = ask(made[0].ports[0], request(b"/round", headers=UPGRADE))
            assert found.status == 508

    def test_where_each_round_changes_the_target(self, tmp_path: Path) -> None:
        """A base path grows: then their number tells."""
        ports = [free_port(), free_port()]
        with ExitStack() as stack:
            for number, port in enumerate(ports):
                row = {"target": f"http://127.0.0.1:{ports[1 - number]}/base", "port": port}
                settings = {"reverse": [{**row, "mode": "passthrough"}]}
                process = stack.enter_context(running(tmp_path / str(number), settings))
            assert ask(ports[0], request(b"/round")).status == 508
            assert process.log().count("/round") <= 12

    def test_of_parent_proxies(self, tmp_path: Path) -> None:
        """By CONNECT, looked into or not, and by plain requests."""
        ports = [free_port(), free_port()]
        with ExitStack() as stack:
            proxies = []
            for number, port in enumerate(ports):
                via = f"http://127.0.0.1:{ports[1 - number]}"
                directory = tmp_path / str(number)
                directory.mkdir()
                forward = {"port": port, "via": via, "mode": "passthrough"}
                forward["bypass"] = "passed.invalid"
                forward["hosts"] = [{"host": "unverified.invalid", "verify": False}]
                proxies.append(stack.enter_context(forward_proxy(directory, forward)))
            first = proxies[0]
            assert first.get("http://plain.invalid/round").status == 508
            assert first.refused(b"passed.invalid:443").status == 508
            assert first.get("https://unverified.invalid/round").status == 508
            for proxy in proxies:
                assert len(proxy.lines("plain.invalid/round")) <= 2

    @pytest.mark.parametrize("mode", ["passthrough", "auto", "cache"])
    def test_by_a_way_that_knows_nothing_of_it(self, tmp_path: Path, mode: str) -> None:
        """Between two buffrs a server that passes all fields on, such as nginx.

        It gets no field at first, so that the second round looks like another client's.
        """
        ports = [free_port(), free_port()]

        def onward(received: Received) -> bytes:
            fields = [field for field in received.headers if field[0].lower() != b"host"]
            found = ask(ports[1], request(received.target, headers=fields))
            return answer(found.body, b"%d Whatever" % found.status)

        with ExitStack() as stack:
            between = stack.enter_context(FakeUpstream(onward))
            for number, target in enumerate((between.url, f"http://127.0.0.1:{ports[0]}")):
                row = {"target": target, "port": ports[number], "mode": mode}
                stack.enter_context(running(tmp_path / str(number), {"reverse": [row]}))
            assert ask(ports[0], request(b"/round")).status == 508
            assert len(between.received) <= 3


class TestTheField:
    def test_goes_to_no_server_on_this_machine_that_is_no_buffr(self, tmp_path: Path) -> None:
        with FakeUpstream(named) as origin:
            row = {"target": origin.url, "port": 0, "mode": "passthrough"}
            with running(tmp_path, {"reverse": [row]}) as process:
                assert ask(process.ports[0], request(b"/x")).status == 200
            assert origin.received[0].header(FIELD) is None

    def test_goes_to_a_private_address_unless_it_is_switched_off(self, tmp_path: Path) -> None:
        host = own_address()
        if host is None:
            pytest.skip("this machine has no other address")
        for switch in (True, False):
            with FakeUpstream(named, host=host) as origin:
                row = {"target": f"http://{host}:{origin.port}", "port": 0, "mode": "passthrough"}
                settings = {"reverse": [row], "upstream": {"detect_loops": switch}}
                with running(tmp_path, settings) as process:
                    assert ask(process.ports[0], request(b"/x")).status == 200
                assert (origin.received[0].header(FIELD) is not None) is switch

    def test_is_no_part_of_a_request(self, tmp_path: Path) -> None:
        """It is not recorded, not in the key, and reaches a server only where it came along."""
        with FakeUpstream(named) as origin:
            row = {"target": origin.url, "port": 0, "mode": "auto"}
            with running(tmp_path, {"reverse": [row]}) as process:
                for hop in (b"0123456789abcdef", b"fedcba9876543210, 0123456789abcdef"):
                    fields = [(b"X-Buffr-Via", hop)]
                    assert ask(process.ports[0], request(b"/x", headers=fields)).status == 200
            (received,) = origin.received
            via = received.header(FIELD)
            assert via is not None
            assert via.startswith(b"0123456789abcdef, ")
            (cassette,) = tmp_path.glob("*.json")
            assert "via" not in cassette.read_text().lower()

    def test_does_not_keep_a_program_from_being_between_two_ports_of_one_buffr(
        self, tmp_path: Path
    ) -> None:
        """Even one that passes all fields on: it is not the same request."""
        ports = [free_port(), free_port()]

        def program(received: Received) -> bytes:
            if received.target == b"/api":
                return answer(b"api")
            fields = [field for field in received.headers if field[0].lower() != b"host"]
            fields.append((b"X-Buffr-Via", b"0123456789abcdef"))
            found = ask(ports[1], request(b"/api", headers=fields))
            return answer(b"program and " + found.body)

        with FakeUpstream(program) as origin:
            rows = [{"target": origin.url, "port": port, "mode": "passthrough"} for port in ports]
            with running(tmp_path, {"reverse": rows}, listeners=2):
                fields = [(b"X-Buffr-Via", b"0123456789abcdef")]
                found = ask(ports[0], request(b"/", headers=fields))
                assert found.body == b"program and api"
