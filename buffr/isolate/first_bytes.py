"""What a connection begins with: TLS, HTTP, or something that buffr cannot record.

Nothing is decided from silence: a client may take its time, and a protocol in
which the server speaks first is known by its port alone.
"""

from __future__ import annotations

import re
from enum import Enum, auto

__all__ = ["SERVER_FIRST", "Kind", "recognised", "server_name_in"]

SERVER_FIRST = {
    21: "FTP",
    22: "SSH",
    23: "Telnet",
    25: "SMTP",
    110: "POP3",
    119: "NNTP",
    143: "IMAP",
    389: "LDAP",
    445: "SMB",
    465: "SMTP",
    587: "SMTP",
    636: "LDAP",
    853: "DNS over TLS",
    873: "rsync",
    993: "IMAP",
    995: "POP3",
    1433: "SQL Server",
    1521: "Oracle",
    1883: "MQTT",
    2049: "NFS",
    3306: "MySQL",
    3389: "RDP",
    5222: "XMPP",
    5432: "PostgreSQL",
    5671: "AMQP",
    5672: "AMQP",
    6379: "Redis",
    6667: "IRC",
    8883: "MQTT",
    9042: "Cassandra",
    9092: "Kafka",
    11211: "memcached",
    27017: "MongoDB",
    33060: "MySQL",
}
"""Ports of protocols that are not HTTP, and in many of which the client waits for the server."""

_HELLO = 0x16
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,32}")
_TARGETS = (b"/", b"*", b"http://", b"https://", b"ws://", b"wss://")


class Kind(Enum):
    """The protocol that a client speaks."""

    TLS = auto()
    HTTP = auto()
    HTTP2 = auto()
    """HTTP/2 without TLS, by prior knowledge (RFC 9113 3.3)."""
    OTHER = auto()


def recognised(data: bytes) -> Kind | None:
    """The protocol of a connection's first bytes; ``None`` if these are too few to tell."""
    if data[0] == _HELLO:
        return Kind.TLS
    if data.startswith(_PREFACE):
        return Kind.HTTP2
    if _PREFACE.startswith(data):
        return None
    # RFC 9112 2.2: a server should ignore an empty line before a request.
    return _request_line(data.lstrip(b"\r\n"))


def _request_line(data: bytes) -> Kind | None:
    method = _METHOD.match(data)
    if method is None:
        return Kind.OTHER if data else None
    rest = data[method.end() :]
    if not rest:
        return None if len(data) < 32 else Kind.OTHER
    target = rest[1:9].lower()
    if rest[:1] != b" ":
        return Kind.OTHER
    if method[0] == b"CONNECT" or target.startswith(_TARGETS):
        return Kind.HTTP
    return None if any(one.startswith(target) for one in _TARGETS) else Kind.OTHER


def server_name_in(hello: bytes) -> str | None:
    """The server name in a TLS hello (RFC 6066 3), from its first record.

    ``None`` if there is none, or if the record has not come in full.
    """
    try:
        return _server_name(hello)
    except (IndexError, ValueError):
        return None


def _server_name(hello: bytes) -> str | None:
    length = _uint(hello, 3, 2)
    body = hello[5 : 5 + length]
    if len(body) < length or body[0] != 1:
        return None
    at = 4 + 2 + 32
    at += 1 + body[at]  # session
    at += 2 + _uint(body, at, 2)  # cipher suites
    at += 1 + body[at]  # compression
    end = at + 2 + _uint(body, at, 2)
    at += 2
    while at + 4 <= end:
        kind, size = _uint(body, at, 2), _uint(body, at + 2, 2)
        if kind == 0:
            name = body[at + 9 : at + 9 + _uint(body, at + 7, 2)]
            return name.decode("ascii").lower() or None
        at += 4 + size
    return None


def _uint(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + size])
