"""An origin whose authentication belongs to a connection, and the messages of its handshake."""

from __future__ import annotations

import base64
import ssl
import struct
from collections.abc import Iterator

from attrs import define, field

from buffr.testing import FakeUpstream, Received, Step, answer, steps

__all__ = ["TYPE1", "NTLMOrigin", "first", "third"]

_SIGNATURE = b"NTLMSSP\0"
_FLAGS = 0x00088201
"""Unicode, NTLM, always sign, extended session security: what curl and others answer."""


def _encoded(message: bytes) -> bytes:
    return base64.b64encode(_SIGNATURE + message)


TYPE1 = _encoded(struct.pack("<II", 1, _FLAGS) + bytes(16))
_TYPE2 = _encoded(
    struct.pack("<IHHIIQQ", 2, 0, 0, 48, _FLAGS, 0x0123456789ABCDEF, 0)
    + struct.pack("<HHI", 0, 0, 48)
)


def first(scheme: bytes = b"NTLM") -> tuple[bytes, bytes]:
    """The field that begins a handshake."""
    return b"Authorization", scheme + b" " + TYPE1


def third(user: str, scheme: bytes = b"NTLM") -> tuple[bytes, bytes]:
    """The field that answers the challenge (MS-NLMP 2.2.1.3)."""
    name = user.encode("utf-16-le")
    empty = struct.pack("<HHI", 0, 0, 64)
    user_field = struct.pack("<HHI", len(name), len(name), 64)
    message = struct.pack("<I", 3) + empty * 3 + user_field + empty * 2 + struct.pack("<I", _FLAGS)
    return b"Authorization", scheme + b" " + _encoded(message + name)


def _user(message: bytes) -> bytes:
    length, _, offset = struct.unpack_from("<HHI", message, 36)
    return message[offset : offset + length].decode("utf-16-le").encode()


@define(eq=False)
class NTLMOrigin:
    """Serves a connection as the user who has authenticated on it, and others not at all.

    ``users`` are those by connection. A third message on a connection that got
    no challenge is ``astray``. ``fields`` go with each answer, and after
    ``closes_at`` with that status the connection is closed.
    """

    users: dict[int, bytes] = field(factory=dict)
    challenged: set[int] = field(factory=set)
    astray: int = 0
    fields: tuple[tuple[bytes, bytes], ...] = ()
    closes_at: bytes = b""

    def __call__(self, received: Received) -> Iterator[Step]:
        scheme, _, token = (received.header(b"authorization") or b"").partition(b" ")
        connection = received.connection
        if token:
            message = base64.b64decode(token)
            if message[8:12] == b"\1\0\0\0":
                self.challenged.add(connection)
                return self._refusal(scheme + b" " + _TYPE2, b"401 Challenge")
            if connection in self.challenged:
                self.users[connection] = _user(message)
            else:
                self.astray += 1
        user = self.users.get(connection)
        if user is None:
            return self._refusal(b"NTLM", b"401 Unauthorized")
        return self._answer(b"200 OK", b"%b for %b" % (received.target, user))

    def _refusal(self, challenge: bytes, status: bytes) -> Iterator[Step]:
        return self._answer(status, b"", (b"WWW-Authenticate", challenge))

    def _answer(self, status: bytes, body: bytes, *more: tuple[bytes, bytes]) -> Iterator[Step]:
        if status == self.closes_at:
            closing = (b"Connection", b"close")
            return steps(answer(body, status, (*self.fields, *more, closing)), None)
        return steps(answer(body, status, (*self.fields, *more)))

    def serving(self, tls: ssl.SSLContext | None = None) -> FakeUpstream:
        return FakeUpstream(self, tls=tls)
