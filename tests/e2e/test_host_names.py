"""Names of hosts that resolve and work, although IDNA 2008 does not have them, are reached."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import frozen
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from forward_bench import Proxy, forward_proxy, named
from raw_http import ask, request

from buffr.testing import BuffrProcess, FakeUpstream, answer
from buffr.tls.authority import Authority

NAMES = ("my_svc", "r3---sn-4g5e.test")


def _may_mount() -> bool:
    """Whether this user can have ``/etc/hosts`` of its own."""
    command = ("unshare", "-m", "mount", "--bind", "/dev/null", "/etc/hosts")
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _tls(directory: Path) -> ssl.SSLContext:
    """For an origin of these names, which trustme has no certificates for."""
    now = datetime.now(UTC)
    authority = Authority.load_or_create(directory / "names-ca.pem", directory / "key.pem", now)
    key = authority.issuer.leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pair = directory / "pair.pem"
    pair.write_bytes(key + authority.leaf(NAMES, now).public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    return context


@frozen
class Names:
    """An origin with odd names, and a proxy that reaches it."""

    origin: FakeUpstream
    proxy: Proxy


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Names]:
    directory = tmp_path_factory.mktemp("names")
    rows = [{"host": name, "resolve": "127.0.0.1", "ca_file": "names-ca.pem"} for name in NAMES]
    with (
        FakeUpstream(named, tls=_tls(directory)) as origin,
        forward_proxy(directory, {"hosts": rows}) as proxy,
    ):
        yield Names(origin, proxy)


class TestBehindTheForwardProxy:
    @pytest.mark.parametrize("name", NAMES)
    def test_in_a_tunnel(self, names: Names, name: str) -> None:
        """CONNECT, the certificate for the client, and the one of the origin."""
        authority = f"{name}:{names.origin.port}"
        found = names.proxy.get(f"https://{authority}/x")
        assert (found.status, found.body) == (200, f"GET {authority}/x".encode())


@pytest.mark.skipif(not _may_mount(), reason="needs a mount namespace")
class TestByTheSystemsResolver:
    @pytest.mark.parametrize("name", NAMES)
    def test_an_upstream_is_found(self, tmp_path: Path, name: str) -> None:
        hosts = tmp_path / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {name}\n")
        in_namespace = ("unshare", "-m", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"')
        with (
            FakeUpstream(lambda _: answer(b"reached")) as upstream,
            BuffrProcess.run(
                *("auto", "--target", f"http://{name}:{upstream.port}", "--port", "0"),
                cwd=tmp_path,
                command=(*in_namespace, str(hosts), sys.executable, "-m", "buffr"),
            ) as running,
        ):
            assert ask(running.ports[0], request(b"/a")).body == b"reached"
            host = upstream.received[0].header(b"host")
            assert host == f"{name}:{upstream.port}".encode()
