"""An upstream that cannot be reached or trusted: the client is told why; nothing is recorded."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from attrs import frozen
from ports import free_port
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, Received, Step, answer, steps


def tls_context(ca: trustme.CA, *names: str, expired: bool = False) -> ssl.SSLContext:
    until = datetime.now(UTC) - timedelta(days=1) if expired else None
    certificate = ca.issue_cert(*names, not_after=until)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def self_signed(directory: Path) -> ssl.SSLContext:
    """A certificate that nobody but its own key vouches for."""
    lonely = trustme.CA(organization_name="localhost")
    chain = directory / "lonely.pem"
    lonely.private_key_pem.write_to_path(str(chain))
    lonely.cert_pem.write_to_path(str(chain), append=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context


@frozen
class Troubled:
    """A buffr with a route for each kind of upstream."""

    process: BuffrProcess
    names: tuple[str, ...]
    directory: Path

    def port(self, name: str) -> int:
        return self.process.ports[self.names.index(name)]

    def host(self, name: str) -> str:
        """The host of a route's upstream."""
        settings = yaml.safe_load((self.directory / "buffr.yaml").read_text())
        target: str = settings["reverse"][self.names.index(name)]["target"]
        return f"({target.partition('://')[2]})"


def _silent_listener(stack: ExitStack) -> int:
    """A port whose queue of connections is full: nobody gets through."""
    listening = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    address = listening.getsockname()
    for _ in range(4):
        waiting = stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(address)
    return int(address[1])


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    directory = tmp_path_factory.mktemp("trouble")
    ours, theirs = trustme.CA(), trustme.CA()
    ours.cert_pem.write_to_path(str(directory / "ca.pem"))
    with ExitStack() as stack:

        def upstream(context: ssl.SSLContext) -> FakeUpstream:
            return stack.enter_context(FakeUpstream(lambda _: answer(b"reached"), tls=context))

        mute = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        good = upstream(tls_context(ours, "localhost")).url
        unknown = upstream(tls_context(theirs, "localhost")).url
        other = upstream(tls_context(ours, "other.test")).url
        old = upstream(tls_context(ours, "localhost", expired=True)).url
        lonely = upstream(self_signed(directory)).url
        by_address = upstream(tls_context(ours, "127.0.0.1")).url
        trust = {"ca_file": "ca.pem"}
        rows: dict[str, dict[str, Any]] = {
            "refused": {"target": f"http://127.0.0.1:{free_port()}"},
            "no such name": {"target": "http://nobody.invalid"},
            "not reachable": {"target": f"http://127.0.0.1:{_silent_listener(stack)}"},
            "mute at TLS": {"target": f"https://127.0.0.1:{mute.getsockname()[1]}"},
            "trusted": {"target": good, **trust},
            "trusted by address": {"target": by_address.replace("localhost", "127.0.0.1"), **trust},
            "untrusted": {"target": unknown},
            "of another CA": {"target": unknown, **trust},
            "self-signed": {"target": lonely, **trust},
            "for another name": {"target": other, **trust},
            "expired": {"target": old, **trust},
            "unverified": {"target": unknown, "verify": False},
            "unverified, expired": {"target": old, "verify": False},
        }
        settings = {
            "limits": {"connect_s": 3},
            "reverse": [{"port": 0, "cassette": "all.json", **row} for row in rows.values()],
        }
        (directory / "buffr.yaml").write_text(yaml.safe_dump(settings))
        process = stack.enter_context(BuffrProcess.run("serve", cwd=directory, listeners=len(rows)))
        yield Troubled(process, tuple(rows), directory)


class TestFailures:
    @pytest.mark.parametrize(
        ("name", "reason"),
        [
            ("refused", "refused the connection"),
            ("no such name", "does not resolve"),
            ("not reachable", "time-out while connecting"),
            ("mute at TLS", "time-out in the upstream's TLS handshake"),
            ("untrusted", "not trusted"),
            ("of another CA", "not trusted"),
            ("self-signed", "self-signed"),
            ("for another name", "not for this host name"),
            ("expired", "has expired"),
        ],
    )
    def test_it_is_502_with_the_reason_and_unrecorded(
        self, troubled: Troubled, name: str, reason: str
    ) -> None:
        """To the client and in the log. It is asked anew each time."""
        target = b"/" + name.replace(" ", "-").encode()
        for body in (None, b"x"):
            method = b"GET" if body is None else b"POST"
            got = ask(troubled.port(name), request(target, method=method, body=body))
            assert got.status == 502
            assert got.line == b"HTTP/1.1 502 Bad Gateway"
            assert reason in got.body.decode()
            line = troubled.process.wait_for(f'"{method.decode()} {target.decode()}"').string
            assert " level=ERROR " in line
            assert " status=502 " in line
            assert reason in line
            for said in (got.body.decode(), line):
                assert troubled.host(name) in said
        if (troubled.directory / "all.json").exists():
            assert target.decode() not in (troubled.directory / "all.json").read_text()
        assert "Traceback" not in troubled.process.log()


class TestTrust:
    @pytest.mark.parametrize(
        "name", ["trusted", "trusted by address", "unverified", "unverified, expired"]
    )
    def test_what_the_settings_trust_is_reached(self, troubled: Troubled, name: str) -> None:
        """By ``ca_file`` beside the system's roots, or with ``verify: false``."""
        got = ask(troubled.port(name), request(b"/" + name.encode().hex().encode()))
        assert (got.status, got.body) == (200, b"reached")

    def test_no_verification_is_said_at_the_start(self, troubled: Troubled) -> None:
        lines = [line for line in troubled.process.output if "not verified" in line]
        assert len(lines) == 2
        assert all(" level=WARN " in line for line in lines)


class TestDeadConnections:
    def test_a_safe_request_on_a_dead_pooled_connection_is_sent_again(self, tmp_path: Path) -> None:
        """An upstream may close an idle connection at any time; the client never notices."""

        def script(_: Received) -> Iterator[Step]:
            return steps(answer(b"ok"), None)

        with FakeUpstream(script) as upstream:
            flags = ("--mode", "passthrough", "--target", upstream.url, "--port", "0")
            with BuffrProcess.run("serve", *flags, cwd=tmp_path) as running:
                for number in range(20):
                    got = ask(running.ports[0], request(b"/%d" % number))
                    assert got.body == b"ok"
            assert len(upstream.received) == 20

    def test_a_restarted_upstream_is_found_again(self, tmp_path: Path) -> None:
        with FakeUpstream(lambda _: answer(b"first")) as upstream:
            flags = ("--mode", "passthrough", "--target", upstream.url, "--port", "0")
            with BuffrProcess.run("serve", *flags, cwd=tmp_path) as running:
                port = running.ports[0]
                assert ask(port, request(b"/")).body == b"first"
                upstream.close()
                assert ask(port, request(b"/")).status == 502
                with FakeUpstream(lambda _: answer(b"second"), port=upstream.port):
                    assert ask(port, request(b"/")).body == b"second"
