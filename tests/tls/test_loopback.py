"""Real clients on a loopback port: the ssl module, curl and openssl."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import frozen
from handshakes import new_authority, trusting

from buffr.tls.authority import Authority


@frozen
class Server:
    """A server in a process of its own, for which clients without SNI want 127.0.0.1."""

    port: int
    authority: Authority
    ca_file: Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("loopback")
    authority = new_authority(directory)
    cert, key = directory / "buffr-ca.pem", directory / "buffr-ca.key"
    script = Path(__file__).with_name("loopback_server.py")
    with subprocess.Popen(
        [sys.executable, "-W", "error", script, cert, key, "127.0.0.1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdin is not None
        yield Server(int(process.stdout.readline()), authority, cert)
        process.stdin.close()
        assert process.stderr.read() == b""


def _get(server: Server, client: ssl.SSLContext, host: str) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", server.port), 5) as plain,
        client.wrap_socket(plain, server_hostname=host) as connection,
    ):
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while data := connection.recv(65536):
            answer += data
        return answer


def _run(*command: str) -> tuple[int, str]:
    done = subprocess.run(
        command,
        input=b"",
        capture_output=True,
        timeout=120,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    return done.returncode, (done.stdout + done.stderr).decode()


class TestTheSslModule:
    @pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
    @pytest.mark.parametrize("host", ["api.example.com", "localhost", "127.0.0.1"])
    def test_gets_an_answer(self, server: Server, version: ssl.TLSVersion, host: str) -> None:
        """With a name, and with an address without SNI."""
        client = trusting(server.authority, version=version, offering=["h2", "http/1.1"])
        assert _get(server, client, host).endswith(b"ok")

    def test_refuses_another_address(self, server: Server) -> None:
        """It verifies what it wants, and the CONNECT said something else."""
        with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
            _get(server, trusting(server.authority), "127.0.0.2")

    def test_refuses_without_trust(self, server: Server) -> None:
        """A client that was told nothing is safe from buffr."""
        with pytest.raises(ssl.SSLCertVerificationError):
            _get(server, ssl.create_default_context(), "api.example.com")


class TestOtherClients:
    @pytest.mark.parametrize("host", ["api.example.com", "my_service.example", "127.0.0.1"])
    @pytest.mark.parametrize("version", [("--tlsv1.2", "--tls-max", "1.2"), ("--tlsv1.3",)])
    def test_curl_gets_an_answer(self, server: Server, host: str, version: tuple[str, ...]) -> None:
        """Names resolve to the loopback by its own option."""
        resolve = f"{host}:{server.port}:127.0.0.1"
        trust = ("--cacert", str(server.ca_file), "--resolve", resolve)
        url = f"https://{host}:{server.port}/"
        assert _run("curl", "-sS", "--noproxy", "*", *trust, *version, url) == (0, "ok")

    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    def test_openssl_verifies_the_chain(self, server: Server, version: str) -> None:
        """``s_client`` with a name; strict, and with HTTP/1.1 chosen."""
        code, output = _run(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", version),
            *("-servername", "api.example.com", "-verify_hostname", "api.example.com"),
            *("-CAfile", str(server.ca_file), "-x509_strict", "-verify_return_error"),
            *("-alpn", "h2,http/1.1"),
        )
        assert code == 0
        assert "Verify return code: 0 (ok)" in output
        assert "ALPN protocol: http/1.1" in output

    def test_openssl_gets_no_wildcard(self, server: Server) -> None:
        """An odd name is answered with an alert, and with no certificate."""
        code, output = _run(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{server.port}"),
            *("-servername", "*.example.com"),
        )
        assert code == 1
        assert "handshake failure" in output
        assert "no peer certificate available" in output
