"""What a connection begins with tells what it speaks."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buffr.isolate.first_bytes import Kind, recognised, server_name_in


def hello(name: str | None) -> bytes:
    """What a TLS client sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


KNOWN = [
    (b"GET / HTTP/1.1\r\n", Kind.HTTP),
    (b"\r\nPOST /a HTTP/1.1\r\n", Kind.HTTP),
    (b"OPTIONS * HTTP/1.1\r\n", Kind.HTTP),
    (b"GET http://a.test/ HTTP/1.1\r\n", Kind.HTTP),
    (b"GET wss://a.test/ HTTP/1.1\r\n", Kind.HTTP),
    (b"CONNECT a.test:443 HTTP/1.1\r\n", Kind.HTTP),
    (b"M-SEARCH /x HTTP/1.1\r\n", Kind.HTTP),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Kind.HTTP2),
    (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", Kind.OTHER),
    (b"*1\r\n$4\r\nPING\r\n", Kind.OTHER),
    (b"PING\r\n", Kind.OTHER),
    (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", Kind.OTHER),
    (b"EHLO me\r\n", Kind.OTHER),
    (b"get key\r\n", Kind.OTHER),
    (b"AMQP\x00\x00\x09\x01", Kind.OTHER),
    (hello("a.test"), Kind.TLS),
]


class TestRecognition:
    @pytest.mark.parametrize(("data", "kind"), KNOWN)
    def test_a_protocol(self, data: bytes, kind: Kind) -> None:
        assert recognised(data) is kind

    @pytest.mark.parametrize(("data", "kind"), KNOWN)
    def test_byte_by_byte(self, data: bytes, kind: Kind) -> None:
        """However the bytes come, nothing else is seen in them before."""
        seen = [recognised(data[:size]) for size in range(1, len(data) + 1)]
        assert set(seen) <= {None, kind}
        assert seen[-1] is kind

    @given(st.binary(min_size=64, max_size=100))
    def test_enough_bytes_always_tell(self, data: bytes) -> None:
        if data.strip(b"\r\n"):
            assert recognised(data.lstrip(b"\r\n").ljust(64, b"\0")) is not None


class TestServerName:
    def test_it_is_read(self) -> None:
        assert server_name_in(hello("API.example.test")) == "api.example.test"

    def test_there_is_none(self) -> None:
        assert server_name_in(hello(None)) is None

    def test_a_hello_that_has_not_come_in_full(self) -> None:
        whole = hello("a.test")
        assert {server_name_in(whole[:size]) for size in range(len(whole))} == {None}

    @given(st.binary(max_size=200))
    def test_hostile_bytes(self, data: bytes) -> None:
        for name in (server_name_in(data), server_name_in(b"\x16\x03\x01\x00\xc0\x01" + data)):
            assert name is None or name
