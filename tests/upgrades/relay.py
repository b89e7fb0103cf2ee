"""A relay in front of buffr that adds what differs from one run to the next, and keeps count."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Iterator

from attrs import define, field

from buffr.testing import Received, Step, answer, steps

__all__ = ["NoisyRelay"]

_HOPS = frozenset((b"expect", b"connection"))
_RETRY = answer(b"{}", b"503 Service Unavailable", ((b"Retry-After", b"0"),))


def _noise() -> tuple[tuple[bytes, bytes], ...]:
    """What tracing, proxies and retries add, new for each request."""
    token = secrets.token_hex(16).encode()
    return (
        (b"User-Agent", b"another/" + token),
        (b"traceparent", b"00-%b-%b-01" % (token, token[:16])),
        (b"tracestate", b"vendor=" + token),
        (b"baggage", b"run=" + token),
        (b"sentry-trace", token + b"-1"),
        (b"X-Request-Id", token),
        (b"X-Amzn-Trace-Id", b"Root=" + token),
        (b"X-Cloud-Trace-Context", token + b"/1"),
        (b"X-Stainless-Retry-Count", b"2"),
        (b"amz-sdk-request", b"attempt=3; max=5"),
        (b"X-Retry-Count", b"2"),
        (b"Idempotency-Key", token),
        (b"Cache-Control", b"no-cache"),
        (b"Via", b"1.1 corporate"),
        (b"Accept-Encoding", b"gzip, deflate, br, zstd"),
    )


@define
class NoisyRelay:
    """A script for ``FakeUpstream``.

    ``misses`` has each request that buffr had no answer for, and buffr's own
    words, once however often the client tries. With ``retried`` the first
    answer to each request is lost, so that a client that tries again asks
    buffr twice.
    """

    port: int
    retried: bool = False
    misses: dict[tuple[bytes, int], str] = field(factory=dict)
    _lost: set[tuple[bytes, int]] = field(factory=set)

    def __call__(self, received: Received) -> Iterator[Step]:
        noise = _noise()
        replaced = {name.lower() for name, _ in noise} | _HOPS
        kept = [each for each in received.headers if each[0].lower() not in replaced]
        fields = b"".join(b"%b: %b\r\n" % each for each in (*kept, *noise))
        body = received.raw.partition(b"\r\n\r\n")[2]
        head = b"%b\r\n%bConnection: close\r\n\r\n" % (received.line, fields)
        got = self._ask(head + body)
        call = (received.line, len(received.body))  # a multipart boundary may be new each time
        if b"no recorded interaction matches" in got:
            self.misses[call] = got.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
        if self.retried and call not in self._lost:
            self._lost.add(call)
            return steps(_RETRY, None)
        return steps(got, None)

    def _ask(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), 30) as connection:
            connection.sendall(data)
            return b"".join(iter(lambda: connection.recv(65536), b""))
